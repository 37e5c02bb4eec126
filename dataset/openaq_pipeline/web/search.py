"""Searching locations by words, on the page and by the API alike."""

from __future__ import annotations

from collections.abc import Sequence

from openaq_pipeline.model import Location
from openaq_pipeline.reports import LocationHealth


def words_of(query: str) -> Sequence[str]:
    """Return what is searched for; nothing: everything is meant."""
    return query.casefold().split()


def is_meant(words: Sequence[str], place: LocationHealth, known: Location | None) -> bool:
    """Say whether each word is somewhere in what is known of a location: id, name, place, country, provider."""
    if not words:
        return True
    more = (known.locality, known.country_code, known.country_name, known.provider) if known else ()
    text = "\n".join(filter(None, (str(place.location_id), place.name, *more))).casefold()
    return all(word in text for word in words)
