"""`/sensors/{id}/measurements`: a page of raw rows, encoded from text fragments."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping

import msgspec

from openaq_pipeline.simulator.answers import Crash, found_on_page, wrapped
from openaq_pipeline.simulator.query import paging
from openaq_pipeline.simulator.times import printed, window_us
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.model import SECOND_US, Row, Sensor, Station

CACHED_BYTES = 32_000_000


class PageCache:
    """Encoded rows of recent pages, the longest unused dropped first when they exceed `limit_bytes`."""

    def __init__(self, limit_bytes: int = CACHED_BYTES) -> None:
        self._pages: OrderedDict[Hashable, tuple[bytes, int]] = OrderedDict()
        self._limit_bytes = limit_bytes
        self._bytes = 0

    def get(self, name: Hashable) -> tuple[bytes, int] | None:
        """Return the page of this name and its number of rows, None if it is not here."""
        if name in self._pages:
            self._pages.move_to_end(name)
            return self._pages[name]
        return None

    def put(self, name: Hashable, body: bytes, rows: int) -> None:
        """Keep a page."""
        self._pages[name] = body, rows
        self._bytes += len(body)
        while self._bytes > self._limit_bytes:
            _, (dropped, _) = self._pages.popitem(last=False)
            self._bytes -= len(dropped)


class Series:
    """Answers for raw series; `nulls_crash` makes a row without a value a 500, as before 2026-05-12."""

    def __init__(self, world: World, *, nulls_crash: bool = False) -> None:
        self._world = world
        self._nulls_crash = nulls_crash
        self._cache = PageCache()

    def measurements(self, sensors_id: int, query: Mapping[str, str], now_us: int) -> bytes:
        """Return the body for one page; an unknown sensor is an empty list, as upstream."""
        wanted = paging(query)
        known = self._world.sensors_by_id.get(sensors_id)
        after_us, until_us = window_us(query, known[0].timezone if known else "UTC")
        if known is None:
            return wrapped(b"", 0, page=wanted.page, limit=wanted.limit)
        station, sensor = known
        if sensor.always_fails:
            raise Crash
        window = (after_us, until_us, now_us)
        body, count = self._page(station, sensor, window, wanted.offset, wanted.limit)
        return wrapped(body, found_on_page(count, wanted.limit), page=wanted.page, limit=wanted.limit)

    def _page(
        self, station: Station, sensor: Sensor, window: tuple[int, int, int], offset: int, limit: int
    ) -> tuple[bytes, int]:
        token = self._world.page_token(sensor, *window, offset=offset, limit=limit)
        if token is not None and (cached := self._cache.get((sensor.id, token))):
            return cached
        rows = self._world.page(sensor, *window, offset=offset, limit=limit)
        self._crash_like_upstream(sensor, rows)
        body = encoded(station, sensor, rows)
        if token is not None:
            self._cache.put((sensor.id, token), body, len(rows))
        return body, len(rows)

    def _crash_like_upstream(self, sensor: Sensor, rows: list[Row]) -> None:
        if sensor.poison_us and any(row.stamp_us in sensor.poison_us for row in rows):
            raise Crash
        if self._nulls_crash and any(row.value is None for row in rows):
            raise Crash


def encoded(station: Station, sensor: Sensor, rows: Iterable[Row]) -> bytes:
    """Return raw rows as JSON, joined by commas, fields in OpenAQ's order."""
    zone, interval = station.timezone, sensor.interval_us
    length = clock_face(interval)
    period = f'"period":{{"label":"raw","interval":"{length}","datetimeFrom":'
    middle = f',"parameter":{parameter_text(sensor)},{period}'
    between = (
        '},"coordinates":null,"summary":null,"coverage":{"expectedCount":1,'
        f'"expectedInterval":"{length}","observedCount":1,"observedInterval":"{length}",'
        '"percentComplete":100.0,"percentCoverage":100.0,"datetimeFrom":'
    )
    flagged = flags_of(station, sensor)
    made = []
    for stamp, value in rows:
        start, end = printed(stamp - interval, zone), printed(stamp, zone)
        flags = "true" if flagged and any(a <= stamp and b >= stamp - interval for a, b in flagged) else "false"
        made.append(
            f'{{"value":{"null" if value is None else repr(value)},"flagInfo":{{"hasFlags":{flags}}}'
            f'{middle}{start},"datetimeTo":{end}{between}{start},"datetimeTo":{end}}}}}'
        )
    return ",".join(made).encode()


def parameter_text(sensor: Sensor) -> str:
    """Return the parameter as JSON; inside rows its display name is always null (OPENAQ section 2.2)."""
    parameter = sensor.parameter
    shown = {"id": parameter.id, "name": parameter.name, "units": parameter.units, "displayName": None}
    return msgspec.json.encode(shown).decode()


def flags_of(station: Station, sensor: Sensor) -> list[tuple[int, int]]:
    """Return the spans `hasFlags` counts: of the whole location, or of exactly this sensor (section 3.8)."""
    return [
        (flag.start_us, flag.end_us) for flag in station.flags if not flag.sensor_ids or flag.sensor_ids == (sensor.id,)
    ]


def clock_face(length_us: int) -> str:
    """Return a length of time as `HH:MM:SS`, with as many hour digits as it takes."""
    seconds = length_us // SECOND_US
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
