"""The span of time that a location's page shows: the last day, week, month or year, all, or a span by its ends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.model import Window
from openaq_pipeline.reading import moments
from openaq_pipeline.web.addresses import time_in

SPANS: dict[str, timedelta | None] = {
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
    "all": None,
}
USUAL = "week"
MINUTE = timedelta(minutes=1)


class Range(NamedTuple):
    """A span and how it was asked for; `name` is None for one from a time to another."""

    name: str | None
    window: Window


def asked_range(given: Mapping[str, str], clock: tzinfo, newest: datetime) -> Range:
    """Return the span that `range`, `datetime_from` and `datetime_to` ask for; times without a zone are the station's.

    A named span ends with the minute of the newest row: the page's fields know whole minutes, and asked again by them
    it must be the same span. Raises `ConfigError` for what is no time or ends before it begins.
    """
    begins, ends = (time_in(given.get(name, "")) for name in ("datetime_from", "datetime_to"))
    if begins or ends:
        return Range(None, moments.window(begins or None, ends or None, clock))
    name = given.get("range", USUAL)
    if name not in SPANS:
        raise ConfigError(f"There is no range {name[:20]!r}", hint=f"Ask for one of {', '.join(SPANS)}.")
    length, end = SPANS[name], minute_from(newest)
    return Range(name, Window(moments.EARLIEST if length is None else end - length, end))


def minute_from(moment: datetime) -> datetime:
    """Return the first whole minute that is not before a moment."""
    return minute_before(moment + MINUTE)


def minute_before(moment: datetime) -> datetime:
    """Return the last whole minute before a moment: a span that begins then has what ends at the moment."""
    return (moment - moment.resolution).replace(second=0, microsecond=0)
