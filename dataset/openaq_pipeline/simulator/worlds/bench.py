"""A world for measuring clients: hourly sensors without quirks or lateness, next to no work per row."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import cycle, islice

from openaq_pipeline.simulator.worlds import catalogue
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.model import DAY_US, HOUR_US, Grant, Row, Sensor, Station
from openaq_pipeline.simulator.worlds.weather import value_at

FIRST_LOCATION = 1_000_001
FIRST_SENSOR = 2_000_001
PARAMETER_IDS = (2, 1, 10, 7, 100, 98, 9, 8)
TABLE_HOURS = 1021
"""Values repeat after this many hours; a prime, so that neither days nor weeks line up."""


class BenchWorld(World):
    """`locations` x `sensors` hourly series from `begins_us` until now, each hour visible at its stamp."""

    def __init__(self, locations: int, sensors: int, *, begins_us: int) -> None:
        stations = tuple(_station(index, sensors) for index in range(locations))
        super().__init__(stations, parameters=tuple(catalogue.PARAMETERS.values()), licenses=catalogue.LICENSES)
        self.first_hour = begins_us // HOUR_US
        self._tables = {parameters_id: _table(parameters_id) for parameters_id in PARAMETER_IDS}

    def own_rows(self, sensor: Sensor, after_us: int, until_us: int, now_us: int) -> Iterator[Row]:
        """Yield one row for each full hour of the window up to now."""
        first, last = self._hours(after_us, until_us, now_us)
        yield from self._made(sensor, first, last + 1)

    def own_span_us(self, sensor: Sensor, now_us: int) -> tuple[int, int] | None:
        """Return the first hour and the latest full one."""
        del sensor
        last = now_us // HOUR_US
        return (self.first_hour * HOUR_US, last * HOUR_US) if last >= self.first_hour else None

    def page(self, sensor: Sensor, after_us: int, until_us: int, now_us: int, *, offset: int, limit: int) -> list[Row]:
        """Return the page by arithmetic: skipping rows costs nothing here."""
        if sensor.id in self.additions:
            return super().page(sensor, after_us, until_us, now_us, offset=offset, limit=limit)
        first, last = self._hours(after_us, until_us, now_us)
        return self._made(sensor, first + offset, min(first + offset + limit, last + 1))

    def page_token(
        self, sensor: Sensor, after_us: int, until_us: int, now_us: int, *, offset: int, limit: int
    ) -> Hashable | None:
        """Return the page's first and last hour, which say all there is to say of it."""
        if sensor.id in self.additions:
            return None
        first, last = self._hours(after_us, until_us, now_us)
        return first + offset, min(first + offset + limit, last + 1)

    def _hours(self, after_us: int, until_us: int, now_us: int) -> tuple[int, int]:
        return max(after_us // HOUR_US + 1, self.first_hour), min(until_us, now_us) // HOUR_US

    def _made(self, sensor: Sensor, first: int, end: int) -> list[Row]:
        table = self._tables[sensor.parameter.id]
        shift = sensor.id * 37
        return [Row(hour * HOUR_US, table[(hour + shift) % TABLE_HOURS]) for hour in range(first, end)]


def _station(index: int, sensors: int) -> Station:
    first = FIRST_SENSOR + index * sensors
    parameters = islice(cycle(PARAMETER_IDS), sensors)
    return Station(
        id=FIRST_LOCATION + index,
        name=f"Bench {index + 1}",
        timezone="Asia/Kathmandu",
        country=catalogue.NEPAL,
        owner=catalogue.GOVERNMENT,
        provider=catalogue.AIRNOW,
        instruments=(catalogue.REFERENCE,),
        latitude=27.6 + index * 0.001,
        longitude=85.3,
        licenses=(Grant(33, "US Public Domain", "Unknown Governmental Organization"),),
        sensors=tuple(
            Sensor(first + number, catalogue.PARAMETERS[parameters_id])
            for number, parameters_id in enumerate(parameters)
        ),
    )


def _table(parameters_id: int) -> list[float]:
    sensor = Sensor(parameters_id, catalogue.PARAMETERS[parameters_id])
    start = 20_000 * DAY_US
    return [value_at(1, sensor, start + hour * HOUR_US, 0) for hour in range(TABLE_HOURS)]
