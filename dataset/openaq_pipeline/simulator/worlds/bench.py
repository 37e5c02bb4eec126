"""Worlds for measuring clients: next to no work per row, and what is late or silent a function of hashes alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import NamedTuple

from openaq_pipeline.simulator.worlds import catalogue
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.model import DAY_US, HOUR_US, Grant, Row, Sensor, Station
from openaq_pipeline.simulator.worlds.weather import mix, value_at

FIRST_LOCATION = 1_000_001
FIRST_SENSOR = 2_000_001
PARAMETER_IDS = (2, 1, 10, 7, 100, 98, 9, 8)
TABLE_ROWS = 1021
"""Values repeat after so many rows; a prime, so that neither days nor weeks line up."""

SALT = 6
LEAST_LATE_US = 3 * HOUR_US
MOST_LATE_US = 10 * DAY_US
TAIL = -0.8
"""A late row comes 3 hours x u ** -0.8 after the others, u evenly spread within (0, 1]; 10 days at most.

So half of the late rows are later than 5 hours, 7 % than a day, 2 % than three.
"""


class Habit(NamedTuple):
    """How a sensor reports: a row with stamp t shows from t + lag on, the late ones of its rows later.

    `ends_us` is its last possible stamp (None: still alive), `silent` that it never reports.
    """

    lag_us: int = 0
    late_share: float = 0.0
    ends_us: int | None = None
    silent: bool = False


class BenchWorld(World):
    """Stations whose sensors report at each multiple of their interval since `begins_us`.

    `usual` is the habit of every sensor that has none of its own.
    """

    def __init__(
        self,
        stations: tuple[Station, ...],
        *,
        begins_us: int,
        usual: Habit | None = None,
        habits: Mapping[int, Habit] | None = None,
    ) -> None:
        super().__init__(stations, parameters=tuple(catalogue.PARAMETERS.values()), licenses=catalogue.LICENSES)
        self.begins_us = begins_us
        self._usual = usual or Habit()
        self._habits = habits or {}
        self._tables: dict[int, list[float]] = {}

    def habit(self, sensor: Sensor) -> Habit:
        """Return how a sensor reports."""
        return self._habits.get(sensor.id, self._usual)

    def own_rows(self, sensor: Sensor, after_us: int, until_us: int, now_us: int) -> Iterator[Row]:
        """Yield one row for each period of the window whose row has come by now."""
        yield from self._made(sensor, self._numbers(sensor, after_us, until_us, now_us))

    def own_span_us(self, sensor: Sensor, now_us: int) -> tuple[int, int] | None:
        """Return the first period and the last that may have a row."""
        first, last = self._bounds(sensor, self.begins_us - 1, now_us, now_us)
        return (first * sensor.interval_us, last * sensor.interval_us) if last >= first else None

    def page(self, sensor: Sensor, after_us: int, until_us: int, now_us: int, *, offset: int, limit: int) -> list[Row]:
        """Return the page by arithmetic: skipping rows costs nothing here."""
        if sensor.id in self.additions:
            return super().page(sensor, after_us, until_us, now_us, offset=offset, limit=limit)
        return self._made(sensor, self._numbers(sensor, after_us, until_us, now_us)[offset : offset + limit])

    def page_token(
        self, sensor: Sensor, after_us: int, until_us: int, now_us: int, *, offset: int, limit: int
    ) -> Hashable | None:
        """Return the page's first and last period, which say all there is to say of it if no row is still late."""
        numbers = self._numbers(sensor, after_us, until_us, now_us)
        if sensor.id in self.additions or not isinstance(numbers, range):
            return None
        page = numbers[offset : offset + limit]
        return page.start, page.stop

    def latest_us(self, sensor: Sensor, now_us: int) -> int | None:
        """Return the highest stamp without making the row."""
        if sensor.id in self.additions:
            return super().latest_us(sensor, now_us)
        last = self._last_number(sensor, now_us)
        return None if last is None else last * sensor.interval_us

    def _last_row(self, sensor: Sensor, now_us: int) -> Row | None:
        if sensor.id in self.additions:
            return super()._last_row(sensor, now_us)
        last = self._last_number(sensor, now_us)
        return None if last is None else self._made(sensor, [last])[0]

    def _last_number(self, sensor: Sensor, now_us: int) -> int | None:
        """Return the number of the last period whose row has come, None without any."""
        first, last = self._bounds(sensor, self.begins_us - 1, now_us, now_us)
        while last >= first and self.comes_us(sensor, last * sensor.interval_us) > now_us:
            last -= 1
        return last if last >= first else None

    def _bounds(self, sensor: Sensor, after_us: int, until_us: int, now_us: int) -> tuple[int, int]:
        """Return the numbers of the first and the last period of a window, as far as rows may have come."""
        habit, step = self.habit(sensor), sensor.interval_us
        if habit.silent:
            return 1, 0
        last_us = min(until_us, now_us - habit.lag_us)
        if habit.ends_us is not None:
            last_us = min(last_us, habit.ends_us)
        return max(after_us, self.begins_us - 1) // step + 1, last_us // step

    def _numbers(self, sensor: Sensor, after_us: int, until_us: int, now_us: int) -> Sequence[int]:
        """Return the numbers of the periods of a window whose rows have come: a range if all have."""
        first, last = self._bounds(sensor, after_us, until_us, now_us)
        habit, step = self.habit(sensor), sensor.interval_us
        settled = (now_us - habit.lag_us - MOST_LATE_US) // step
        if not habit.late_share or last <= settled:
            return range(first, max(first, last + 1))
        recent = range(max(first, settled + 1), last + 1)
        return [*range(first, settled + 1), *(n for n in recent if self.comes_us(sensor, n * step) <= now_us)]

    def comes_us(self, sensor: Sensor, stamp_us: int) -> int:
        """Return from when on the row of a stamp shows."""
        habit = self.habit(sensor)
        late_us = lateness_us(sensor.id, stamp_us // sensor.interval_us, habit.late_share) if habit.late_share else 0
        return stamp_us + habit.lag_us + late_us

    def _made(self, sensor: Sensor, numbers: Sequence[int]) -> list[Row]:
        step, shift, table = sensor.interval_us, sensor.id * 37, self._table(sensor)
        return [Row(number * step, table[(number + shift) % TABLE_ROWS]) for number in numbers]

    def _table(self, sensor: Sensor) -> list[float]:
        kind = sensor.parameter
        if kind.id not in self._tables:
            start = 20_000 * DAY_US
            self._tables[kind.id] = [
                value_at(1, Sensor(kind.id, kind), start + hour * HOUR_US, 0) for hour in range(TABLE_ROWS)
            ]
        return self._tables[kind.id]


def lateness_us(sensors_id: int, number: int, share: float) -> int:
    """Return how much later than its sensor's usual lag a row comes: 0 for all but a share of the rows."""
    bits = mix(SALT, sensors_id, number)
    if (bits & 0xFFFFFFFF) >= share * 2**32:
        return 0
    evenly = ((bits >> 32) + 1) / 2**32
    return min(int(LEAST_LATE_US * evenly**TAIL), MOST_LATE_US)


def bench(locations: int, sensors: int, *, begins_us: int, late_share: float = 0.0) -> BenchWorld:
    """Return `locations` x `sensors` hourly series, each row visible at its stamp but for a share of late ones."""
    stations = tuple(_station(index, sensors) for index in range(locations))
    return BenchWorld(stations, begins_us=begins_us, usual=Habit(late_share=late_share))


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
