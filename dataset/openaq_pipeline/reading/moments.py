"""From what people give as a range of time to a `Window`: dates, times, texts, with and without a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.model import Window

When = date | datetime | str
"""A `datetime` is itself; a `date`, or a text that is one, is the whole day."""

EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
DATE_CHARACTERS = len("2025-01-31")


def zone(name: str | None) -> tzinfo:
    """Return a time zone by its name such as `Asia/Kathmandu`; None: UTC. Raises `ConfigError` for an unknown one."""
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError) as error:  # a name such as `..` or `America` is no KeyError
        hint = "Take a name such as Asia/Kathmandu or Europe/Oslo."
        raise ConfigError(f"There is no time zone {name!r}", hint=hint) from error


def window(start: When | None, end: When | None, clock: tzinfo = UTC) -> Window:
    """Return the span (start, end] of period ends; None leaves a side open. What names no zone is read on `clock`.

    A day as `start` is its beginning, as `end` its end: one and the same day for both holds the periods of that day.
    Raises `ConfigError` for what is no time, and for an end before the start.
    """
    begins = EARLIEST if start is None else _moment(start, clock, closing=False)
    ends = LATEST if end is None else _moment(end, clock, closing=True)
    if ends < begins:
        raise ConfigError(f"The range ends ({ends:%Y-%m-%d %H:%M}Z) before it begins ({begins:%Y-%m-%d %H:%M}Z)")
    return Window(begins, ends)


def _moment(given: When, clock: tzinfo, *, closing: bool) -> datetime:
    found = _parsed(given) if isinstance(given, str) else given
    if not isinstance(found, date):
        raise ConfigError(f"{given!r} is no date, time or text")
    try:
        if isinstance(found, datetime):
            return (found if found.tzinfo else found.replace(tzinfo=clock)).astimezone(UTC)
        day = found + timedelta(days=1) if closing else found
        return datetime.combine(day, time(tzinfo=clock)).astimezone(UTC)
    except OverflowError:  # the ends of the calendar
        return LATEST if found.year > 1 else EARLIEST


def _parsed(text: str) -> date | datetime:
    try:
        return date.fromisoformat(text) if len(text) == DATE_CHARACTERS else datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a time such as 2025-01-31 or 2025-01-31T12:00Z") from None
