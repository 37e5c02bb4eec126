"""What every world can do: show the rows of a sensor as they are visible at a moment."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from functools import cached_property
from itertools import islice

from openaq_pipeline.simulator.worlds.additions import Additions
from openaq_pipeline.simulator.worlds.mercator import metres
from openaq_pipeline.simulator.worlds.model import (
    DAY_US,
    HOUR_US,
    Country,
    Instrument,
    Latest,
    License,
    Parameter,
    Profile,
    Provider,
    Row,
    Sensor,
    Station,
)

PROFILE_DAYS = 7


class World(ABC):
    """Stations, their series, and the lists of reference.

    `stations` is in the order of the tables upstream, which lists without an ORDER BY show.
    `stations_by_id` and `sensors_by_id` find one.
    """

    def __init__(
        self,
        stations: tuple[Station, ...],
        *,
        parameters: tuple[Parameter, ...],
        licenses: tuple[License, ...] = (),
    ) -> None:
        self.stations = stations
        self.parameters = parameters
        self.licenses = licenses
        self.stations_by_id = {station.id: station for station in stations}
        self.sensors_by_id = {sensor.id: (station, sensor) for station in stations for sensor in station.sensors}
        self.additions = Additions()

    @abstractmethod
    def own_rows(self, sensor: Sensor, after_us: int, until_us: int, now_us: int) -> Iterator[Row]:
        """Yield the rows with `after < stamp <= until` that are visible at `now`, oldest first."""

    @abstractmethod
    def own_span_us(self, sensor: Sensor, now_us: int) -> tuple[int, int] | None:
        """Return bounds within which all own rows visible at `now` lie (inclusive), None without rows."""

    def span_us(self, sensor: Sensor, now_us: int) -> tuple[int, int] | None:
        """Return bounds of the sensor's rows, added ones included; None for a sensor without rows."""
        own = self.own_span_us(sensor, now_us)
        added = self.additions.bounds_us(sensor.id, now_us)
        if own is None or added is None:
            return own or added
        return min(own[0], added[0]), max(own[1], added[1])

    def rows(self, sensor: Sensor, after_us: int, until_us: int, now_us: int) -> Iterator[Row]:
        """Yield own rows and those added by hand as one series, oldest first."""
        own = self.own_rows(sensor, after_us, until_us, now_us)
        if sensor.id not in self.additions:
            return own
        return self.additions.merged(sensor.id, own, after_us, until_us, now_us)

    def page(self, sensor: Sensor, after_us: int, until_us: int, now_us: int, *, offset: int, limit: int) -> list[Row]:
        """Return `limit` rows of the window after skipping `offset`; fewer, down to none, at its end."""
        return list(islice(self.rows(sensor, after_us, until_us, now_us), offset, offset + limit))

    def page_token(
        self, sensor: Sensor, after_us: int, until_us: int, now_us: int, *, offset: int, limit: int
    ) -> Hashable | None:
        """Return a name for the page's content (equal names, equal pages), None if it may still change."""
        del sensor, after_us, until_us, now_us, offset, limit
        return None

    def latest(self, sensor: Sensor, now_us: int) -> Latest | None:
        """Return the row with the highest stamp that has a value, None if there is none.

        A row with coordinates of its own shows them in Web-Mercator metres, as OpenAQ does (section 9).
        """
        row = self._last_row(sensor, now_us)
        if row is None or row.value is None:
            return None
        station = self.sensors_by_id[sensor.id][0]
        place = self.additions.coordinates(sensor.id, row.stamp_us)
        latitude, longitude = metres(*place) if place else (station.latitude, station.longitude)
        return Latest(row.stamp_us, row.value, latitude, longitude)

    def latest_us(self, sensor: Sensor, now_us: int) -> int | None:
        """Return the stamp of what `latest` returns, which is all a list needs of the sensors on its other pages."""
        latest = self.latest(sensor, now_us)
        return latest.stamp_us if latest else None

    @cached_property
    def sensors_by_parameter(self) -> dict[int, list[tuple[Station, Sensor]]]:
        """Return the sensors of each parameter's id, in the order of the stations."""
        found: dict[int, list[tuple[Station, Sensor]]] = {}
        for station, sensor in self.sensors_by_id.values():
            found.setdefault(sensor.parameter.id, []).append((station, sensor))
        return found

    def profile(self, sensor: Sensor, now_us: int) -> Profile | None:
        """Return first and last stamp, and count, extremes and mean, None for a sensor without rows.

        Computed from the last week and extrapolated: upstream these figures are unreliable too, and reading
        years of rows for each metadata request would be slow.
        """
        span, last = self.span_us(sensor, now_us), self._last_row(sensor, now_us)
        if span is None or last is None:
            return None
        recent = list(self.rows(sensor, last.stamp_us - PROFILE_DAYS * DAY_US, last.stamp_us, now_us))
        values = [row.value for row in recent if row.value is not None]
        first = next(self.rows(sensor, span[0] - 1, span[1], now_us)).stamp_us
        week = max(last.stamp_us - recent[0].stamp_us + sensor.interval_us, 1)
        return Profile(
            first_us=first,
            last_us=last.stamp_us,
            rows=round(len(recent) * (last.stamp_us - first + sensor.interval_us) / week),
            minimum=min(values),
            maximum=max(values),
            average=statistics.fmean(values),
            deviation=statistics.stdev(values) if len(values) > 1 else None,
        )

    def station_span_us(self, station: Station, now_us: int) -> tuple[int, int] | None:
        """Return the first and last stamp of all its sensors, None if none ever reported."""
        firsts, lasts = [], []
        for sensor in station.sensors:
            span, last = self.span_us(sensor, now_us), self._last_row(sensor, now_us)
            if span and last:
                firsts.append(span[0])
                lasts.append(last.stamp_us)
        return (min(firsts), max(lasts)) if firsts else None

    def _last_row(self, sensor: Sensor, now_us: int) -> Row | None:
        span = self.span_us(sensor, now_us)
        reach = 12 * HOUR_US
        # The newest rows may be late or missing: look back in growing steps, not over the whole series.
        while span:
            found = [row for row in self.rows(sensor, span[1] - reach, span[1], now_us) if row.value is not None]
            if found:
                return found[-1]
            span = None if span[1] - reach < span[0] else span
            reach *= 4
        return None

    @property
    def countries(self) -> tuple[Country, ...]:
        """Return the countries with a public station, by id."""
        found = {station.country.id: station.country for station in self.stations if not station.is_private}
        return tuple(found[key] for key in sorted(found))

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Return the providers of public stations, by name without regard to case."""
        found = {station.provider.id: station.provider for station in self.stations if not station.is_private}
        return tuple(sorted(found.values(), key=lambda provider: provider.name.lower()))

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """Return the kinds of devices in use, by id."""
        found = {device.id: device for station in self.stations for device in station.instruments}
        return tuple(found[key] for key in sorted(found))
