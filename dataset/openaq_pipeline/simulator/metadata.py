"""Answers about locations and sensors: lists, single ones, latest values, flags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from openaq_pipeline.simulator import shapes
from openaq_pipeline.simulator.answers import Crash, envelope, found_on_page, not_found
from openaq_pipeline.simulator.query import Paging, paging
from openaq_pipeline.simulator.selection import selected
from openaq_pipeline.simulator.times import FOREVER_US, moment, placed_us, window_us, zone
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.model import Flag, Sensor, Station


class Metadata:
    """Bodies of the metadata endpoints for one world; each takes the present as `now_us`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def locations(self, query: Mapping[str, str], now_us: int) -> bytes:
        """Return a page of the public locations that the filters select."""
        wanted = paging(query)
        found = selected(self._world.stations, query)[wanted.offset : wanted.offset + wanted.limit]
        results = [
            shapes.location(station, self._world.station_span_us(station, now_us), distance)
            for station, distance in found
        ]
        return envelope(results, found_on_page(len(results), wanted.limit), page=wanted.page, limit=wanted.limit)

    def location(self, locations_id: int, now_us: int) -> bytes:
        """Return one location; a private one is unknown."""
        station = self._public(locations_id)
        if station is None:
            raise not_found("Location")
        return envelope([shapes.location(station, self._world.station_span_us(station, now_us), None)], 1)

    def location_sensors(self, locations_id: int, now_us: int) -> bytes:
        """Return all sensors of a location; of an unknown or private one, none."""
        station = self._public(locations_id)
        sensors = station.sensors if station else ()
        results = [self._detail(station, sensor, now_us) for sensor in sensors if station]
        return envelope(results, found_on_page(len(results), 100))

    def sensor(self, sensors_id: int, now_us: int) -> bytes:
        """Return one sensor; that of a private location is unknown."""
        known = self._world.sensors_by_id.get(sensors_id)
        if known is None or known[0].is_private:
            raise not_found("Sensor")
        return envelope([self._detail(*known, now_us)], 1)

    def location_latest(self, locations_id: int, query: Mapping[str, str], now_us: int) -> bytes:
        """Return the last row of each sensor of a location, a private one too."""
        wanted = paging(query)
        station = self._world.stations_by_id.get(locations_id)
        pairs = [(station, sensor) for sensor in station.sensors] if station else []
        page, found = self._latest(pairs, query, wanted, now_us)
        if not page and self._public(locations_id) is None:
            raise not_found("Location")
        return envelope(page, found if page else 0, page=wanted.page, limit=wanted.limit)

    def parameter_latest(self, parameters_id: int, query: Mapping[str, str], now_us: int) -> bytes:
        """Return the last row of each sensor of a parameter; past the end it is `Parameter not found`."""
        wanted = paging(query)
        pairs = self._world.sensors_by_parameter.get(parameters_id, [])
        page, found = self._latest(pairs, query, wanted, now_us)
        if page:
            return envelope(page, found, page=wanted.page, limit=wanted.limit)
        least = moment(query, "datetime_min")
        if least is not None and least.tzinfo is None:
            raise Crash  # upstream looks again with a query that lacks the zone (OPENAQ section 3.6)
        raise not_found("Parameter")

    def location_flags(self, locations_id: int, query: Mapping[str, str]) -> bytes:
        """Return a location's flags that touch the window; `limit` and `page` are read but not applied."""
        station = self._world.stations_by_id.get(locations_id)
        return self._flags(station, station.flags if station else (), query)

    def sensor_flags(self, sensors_id: int, query: Mapping[str, str]) -> bytes:
        """Return the flags that name exactly this sensor; those of a whole location don't show here."""
        station = self._world.sensors_by_id.get(sensors_id, (None, None))[0]
        flags = [flag for flag in station.flags if flag.sensor_ids == (sensors_id,)] if station else []
        return self._flags(station, flags, query)

    def _flags(self, station: Station | None, flags: Iterable[Flag], query: Mapping[str, str]) -> bytes:
        wanted = paging(query)
        after, until = window_us(query, station.timezone if station else "UTC")
        touching = [flag for flag in flags if flag.start_us <= until and flag.end_us >= after]
        results = [shapes.flag(station, flag) for flag in touching if station]
        return envelope(results, found_on_page(len(results), wanted.limit), page=wanted.page, limit=wanted.limit)

    def _latest(
        self, pairs: Iterable[tuple[Station, Sensor]], query: Mapping[str, str], wanted: Paging, now_us: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Return a page of last rows, and how many sensors have one that the query wants."""
        world, after_us = self._world, _after(moment(query, "datetime_min"))
        # Rows are made for the page alone: of 25,000 sensors the stamps suffice to count.
        found = [
            (station, sensor)
            for station, sensor in pairs
            if (stamp := world.latest_us(sensor, now_us)) is not None and stamp > after_us(station)
        ]
        page = found[wanted.offset : wanted.offset + wanted.limit]
        latest = [(station, sensor, world.latest(sensor, now_us)) for station, sensor in page]
        return [shapes.latest_row(station, sensor, last) for station, sensor, last in latest if last], len(found)

    def _detail(self, station: Station, sensor: Sensor, now_us: int) -> dict[str, Any]:
        profile, latest = self._world.profile(sensor, now_us), self._world.latest(sensor, now_us)
        return shapes.sensor_detail(station, sensor, profile, latest)

    def _public(self, locations_id: int) -> Station | None:
        station = self._world.stations_by_id.get(locations_id)
        return None if station is None or station.is_private else station


def _after(least: datetime | None) -> Callable[[Station], int]:
    """Return what tells after which moment a row of a station is wanted; a naive bound is the station's local time."""
    if least is None:
        return lambda _station: -FOREVER_US
    if least.tzinfo is None:
        return lambda station: placed_us(least, zone(station.timezone))
    after_us = placed_us(least, UTC)
    return lambda _station: after_us
