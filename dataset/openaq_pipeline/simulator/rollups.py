"""The endpoints that serve aggregates: which of them groups how, pages how, and counts how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from openaq_pipeline.simulator.aggregates import Bucket, Grouping, buckets, told
from openaq_pipeline.simulator.answers import Crash, envelope, found_on_page
from openaq_pipeline.simulator.clock import from_us, to_us
from openaq_pipeline.simulator.query import Paging, paging
from openaq_pipeline.simulator.times import FOREVER_US, days, window_us, zone
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.model import DAY_US, Sensor, Station

BY_TIME = {
    "hours": Grouping("hour", "1hour", "01:00:00"),
    "hours/daily": Grouping("day", "1 day", "24:00:00"),
    "hours/monthly": Grouping("month", "1 month", "1month"),
    "hours/yearly": Grouping("year", "1 year", "1year"),
    "measurements/hourly": Grouping("hour", "1 hour", "01:00:00"),
    "measurements/daily": Grouping("day", "1 day", "24:00:00"),
}
BY_DATE = {
    "days": Grouping("day", "1day", "24:00:00", precomputed=True),
    "days/monthly": Grouping("month", "1 month", "1 month", precomputed=True),
    "days/yearly": Grouping("year", "1 year", "1year", precomputed=True),
    "years": Grouping("year", "1year", "1 year", precomputed=True),
}
COUNTED_BY_PAGE = {"hours", "days", "years"}
"""These report `found` as `/measurements` does; all others count exactly (OPENAQ section 2.1)."""


class Rollups:
    """Answers for aggregates; `nulls_crash` as in `Series`, felt only by raw series grouped on the fly."""

    def __init__(self, world: World, *, nulls_crash: bool = False) -> None:
        self._world = world
        self._nulls_crash = nulls_crash

    def answer(self, endpoint: str, sensors_id: int, query: Mapping[str, str], now_us: int) -> bytes:
        """Return the body for one page of an endpoint of `BY_TIME` or `BY_DATE`."""
        wanted = paging(query)
        known = self._world.sensors_by_id.get(sensors_id)
        made = (
            self._by_time(endpoint, known, query, now_us)
            if endpoint in BY_TIME
            else self._by_date(endpoint, known, query, now_us)
        )
        if endpoint in COUNTED_BY_PAGE:
            page = list(islice(made, wanted.offset, wanted.offset + wanted.limit))
            found: int | str = found_on_page(len(page), wanted.limit)
        else:
            page, found = _counted(list(made), wanted)
        grouping = BY_TIME.get(endpoint) or BY_DATE[endpoint]
        results = [told(bucket, grouping, *known) for bucket in page] if known else []
        return envelope(results, found, page=wanted.page, limit=wanted.limit)

    def _by_time(
        self, endpoint: str, known: tuple[Station, Sensor] | None, query: Mapping[str, str], now_us: int
    ) -> Iterator[Bucket]:
        after, until = window_us(query, known[0].timezone if known else "UTC")
        if known is None:
            return iter(())
        station, sensor = known
        if sensor.always_fails:
            raise Crash
        if endpoint.startswith("measurements") and self._nulls_crash:
            self._crash_on_null(sensor, after, until, now_us)
        rows = self._world.rows(sensor, after, until, now_us)
        return buckets(rows, BY_TIME[endpoint].unit, station.timezone)

    def _by_date(
        self, endpoint: str, known: tuple[Station, Sensor] | None, query: Mapping[str, str], now_us: int
    ) -> Iterator[Bucket]:
        first, last = days(query)
        if known is None:
            return iter(())
        station, sensor = known
        unit = BY_DATE[endpoint].unit
        local = zone(station.timezone)
        after = -FOREVER_US if first == date.min else _midnight_us(first, local)
        # A year may begin on the last day that is asked for.
        until = now_us if last == date.max else min(now_us, _midnight_us(last, local) + 367 * DAY_US)
        rows = self._world.rows(sensor, after, until, now_us)
        # Days are rolled up once they are over; the year that runs shows only when its own row was made.
        return (
            bucket
            for bucket in buckets(rows, unit, station.timezone)
            if first <= _day(bucket.start_us, station) <= last and bucket.end_us <= now_us
        )

    def _crash_on_null(self, sensor: Sensor, after: int, until: int, now_us: int) -> None:
        if any(row.value is None for row in self._world.rows(sensor, after, until, now_us)):
            raise Crash


def _counted(made: list[Any], wanted: Paging) -> tuple[list[Any], int]:
    page = made[wanted.offset : wanted.offset + wanted.limit]
    return page, len(made) if page else 0


def _midnight_us(day: date, local: ZoneInfo) -> int:
    return to_us(datetime.combine(day, time.min, local))


def _day(moment_us: int, station: Station) -> date:
    return from_us(moment_us).astimezone(zone(station.timezone)).date()
