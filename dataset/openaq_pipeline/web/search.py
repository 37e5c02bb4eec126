"""Searching locations by words, on the page and by the API alike."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import normalize

from openaq_pipeline.model import Location
from openaq_pipeline.reports import LocationHealth


def words_of(query: str) -> Sequence[str]:
    """Return what is searched for; nothing: everything is meant."""
    return _alike(query).split()


def is_meant(words: Sequence[str], place: LocationHealth, known: Location | None) -> bool:
    """Say whether each word is somewhere in what is known of a location: id, name, place, country, provider."""
    if not words:
        return True
    more = (known.locality, known.country_code, known.country_name, known.provider) if known else ()
    text = _alike("\n".join(filter(None, (str(place.location_id), place.name, *more))))
    return all(word in text for word in words)


def _alike(text: str) -> str:
    """Return a text without the case of its letters, and one with a mark as one character, however it was stored."""
    return normalize("NFC", text.casefold())
