"""What may be handed on: the licences of each location, what they allow, and whom to name. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import msgspec

from openaq_pipeline.model import License, LicenseTerms, Location, Window


class Permission(msgspec.Struct, frozen=True):
    """Whether the data of a location may be handed on; `reason` says why not, None: they may.

    `licenses` are those that hold in the exported span, each with its terms, None: not on file.
    """

    location_id: int
    location: Location | None
    licenses: tuple[tuple[License, LicenseTerms | None], ...]
    reason: str | None


def permission(
    location_id: int, location: Location | None, terms: Mapping[int, LicenseTerms], window: Window
) -> Permission:
    """Return whether a location's rows of a window may be handed on: only if every licence of that time says so."""
    given = location.licenses if location else ()
    licenses = tuple((each, terms.get(each.id)) for each in given if _holds_in(each, window))
    return Permission(location_id, location, licenses, _reason(location, licenses))


def refused(permissions: Sequence[Permission]) -> list[Permission]:
    """Return those that may not be handed on."""
    return [each for each in permissions if each.reason is not None]


def _reason(location: Location | None, licenses: tuple[tuple[License, LicenseTerms | None], ...]) -> str | None:
    if location is None:
        return "its licence is unknown: nothing is known of this location"
    if not licenses:
        return "its licence is unknown: OpenAQ names none" + (" for this time" if location.licenses else "")
    for licence, terms in licenses:
        if terms is None:
            return f"the terms of its licence {licence.name!r} ({licence.id}) are not known yet"
        if terms.redistribution_allowed is None:
            return f"OpenAQ does not say whether its licence {licence.name!r} allows redistribution"
        if not terms.redistribution_allowed:
            return f"its licence {licence.name!r} allows no redistribution"
    return None


def _holds_in(licence: License, window: Window) -> bool:
    """Say whether a licence holds at some time of a window; its dates are local, so that a day more counts as well."""
    begins, ends = _day(licence.date_from, date.min), _day(licence.date_to, date.max)
    day = timedelta(days=1)
    after = window.start.date() > ends and window.start.date() - ends > day
    before = window.end.date() < begins and begins - window.end.date() > day
    return not (after or before)


def _day(text: str | None, otherwise: date) -> date:
    """Return a licence's date; one that can't be read leaves the side open, so that the licence counts."""
    try:
        return date.fromisoformat(text) if text else otherwise
    except ValueError:
        return otherwise
