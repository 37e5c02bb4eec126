"""Times in and out: bounds of windows as the official server reads them, stamps as it prints them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from openaq_pipeline.simulator.answers import Crash, sentence, unparsed
from openaq_pipeline.simulator.clock import to_us
from openaq_pipeline.simulator.query import problem

SECOND_US = 1_000_000
FOREVER_US = 2**62
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T t_]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?\s*(Z|z|[+-]\d\d(:?\d\d)?)?)?",
)
MILLISECONDS_FROM = 2e10
"""The official server's validator reads larger numbers as milliseconds."""


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return an IANA zone, read once."""
    return ZoneInfo(name)


@lru_cache(maxsize=65536)
def printed(moment_us: int, zone_name: str) -> str:
    """Return a stamp as JSON, `{"utc": …, "local": …}`, truncated to seconds as OpenAQ does (section 3.3)."""
    moment = datetime.fromtimestamp(moment_us // SECOND_US, UTC)
    local = moment.astimezone(zone(zone_name)).isoformat()
    if local.endswith("+00:00"):
        local = local[:-6] + "Z"
    return f'{{"utc":"{moment.isoformat()[:19]}Z","local":"{local}"}}'


def spoken(moment_us: int, zone_name: str) -> dict[str, str]:
    """Return a stamp as an object, for answers that are not built from text."""
    utc, local = printed(moment_us, zone_name).split('"')[3::4]
    return {"utc": utc, "local": local}


def bare(moment_us: int) -> str:
    """Return a stamp as reference lists print it: UTC, with microseconds if there are any."""
    return (
        datetime.fromtimestamp(moment_us // SECOND_US, UTC)
        .replace(microsecond=moment_us % SECOND_US)
        .isoformat()
        .replace("+00:00", "Z")
    )


def window_us(query: Mapping[str, str], zone_name: str, prefix: str = "datetime") -> tuple[int, int]:
    """Return the bounds (from, to] that `{prefix}_from` and `{prefix}_to` name; naive ones are station-local.

    An absent bound is as far away as can be.
    """
    start = moment(query, f"{prefix}_from")
    end = moment(query, f"{prefix}_to")
    if start is not None and end is not None:
        if (start.tzinfo is None) != (end.tzinfo is None):
            raise Crash  # Python can't compare them, and upstream does not catch it
        if start >= end:
            raise sentence(f"Date/time from must be older than the date/time to. User passed {start} - {end}")
    local = zone(zone_name)
    return (
        -FOREVER_US if start is None else placed_us(start, local),
        FOREVER_US if end is None else placed_us(end, local),
    )


def days(query: Mapping[str, str]) -> tuple[date, date]:
    """Return the days that `date_from` and `date_to` name, both inclusive; absent: as far as can be."""
    window_us(query, "UTC", "date")
    start, end = moment(query, "date_from"), moment(query, "date_to")
    return start.date() if start else date.min, end.date() if end else date.max


def placed_us(instant: datetime, local: tzinfo) -> int:
    """Return the moment of an aware time, or of a naive one read as local."""
    try:
        return to_us(instant if instant.tzinfo else instant.replace(tzinfo=local))
    except OverflowError:  # the first or last day of the calendar, shifted out of it by its offset
        return FOREVER_US if instant.year > 1 else -FOREVER_US


def moment(query: Mapping[str, str], name: str) -> datetime | None:
    """Return a date or time parameter (naive without an offset), None if absent; 422 if unreadable."""
    raw = query.get(name)
    if raw is None:
        return None
    try:
        if NUMBER.fullmatch(raw):
            return _from_epoch(float(raw))
        if ISO.fullmatch(raw):
            return datetime.fromisoformat(raw.replace("z", "Z").replace("_", "T").replace(",", "."))
    except (ValueError, OverflowError):
        pass
    raise unparsed(_complaints(raw, name))


def _from_epoch(number: float) -> datetime:
    seconds = number / 1000 if abs(number) > MILLISECONDS_FROM else number
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def _complaints(raw: str, name: str) -> list[dict[str, object]]:
    reason = "input is too short" if len(raw) < 10 else "invalid character in year"
    if re.match(r"\d{4}", raw) and len(raw) >= 10:
        reason = "invalid date separator, expected `-`" if raw[4] != "-" else "unexpected extra characters"
    as_time = problem(
        "datetime_from_date_parsing",
        ("query", name, "datetime"),
        f"Input should be a valid datetime or date, {reason}",
        raw,
    )
    as_date = problem(
        "date_from_datetime_parsing",
        ("query", name, "date"),
        f"Input should be a valid date or datetime, {reason}",
        raw,
    )
    return [{**complaint, "ctx": {"error": reason}} for complaint in (as_time, as_date)]
