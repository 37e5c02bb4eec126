"""Made-up worlds: which rows exist, when each can be seen and what it says, all functions of the stamp."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import msgspec

from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.catalogue import LICENSES, PARAMETERS
from openaq_pipeline.simulator.worlds.model import DAY_US, HOUR_US, SECOND_US, Row, Sensor, Station
from openaq_pipeline.simulator.worlds.weather import chance, mix, value_at

EARLY_US = 8 * DAY_US
SETTLED_US = 2 * DAY_US
MINUS_999 = -999.0


class Habits(msgspec.Struct, frozen=True):
    """How a sensor reports, its quirks included; shares are of its rows.

    A row with stamp t can be seen from t + lateness on: between the two bounds of `late_minutes` usually, and
    between 6 and 40 hours for `straggler_share` of the rows. `gap_share` of all six-hour blocks are missing,
    and `missing_share` of single rows. `fraction_us` is added to every stamp. `dated_ahead` shows the row of
    Sunday noon UTC eight days early. `ends_us` is the last stamp (None: still alive).
    """

    late_minutes: tuple[float, float] = (8, 50)
    straggler_share: float = 0.0
    gap_share: float = 0.0
    missing_share: float = 0.0
    null_share: float = 0.0
    sentinel_share: float = 0.0
    fraction_us: int = 0
    dated_ahead: bool = False
    ends_us: int | None = None


class MadeUpWorld(World):
    """Stations with made-up air since `begins_us`; a sensor without an entry in `habits` reports nothing."""

    def __init__(self, stations: tuple[Station, ...], habits: dict[int, Habits], *, seed: int, begins_us: int) -> None:
        super().__init__(stations, parameters=tuple(PARAMETERS.values()), licenses=LICENSES)
        self.habits = habits
        self.seed = seed
        self.begins_us = begins_us
        self._zones = {station.id: ZoneInfo(station.timezone) for station in stations}

    def own_rows(self, sensor: Sensor, after_us: int, until_us: int, now_us: int) -> Iterator[Row]:
        """Yield the rows of the window whose lateness has passed at `now`."""
        for stamp in self._stamps(sensor, after_us, until_us, now_us):
            yield Row(stamp, self.value(sensor, stamp))

    def page(self, sensor: Sensor, after_us: int, until_us: int, now_us: int, *, offset: int, limit: int) -> list[Row]:
        """Return the page without making up the values of the rows before it."""
        if sensor.id in self.additions:
            return super().page(sensor, after_us, until_us, now_us, offset=offset, limit=limit)
        stamps = islice(self._stamps(sensor, after_us, until_us, now_us), offset, offset + limit)
        return [Row(stamp, self.value(sensor, stamp)) for stamp in stamps]

    def _stamps(self, sensor: Sensor, after_us: int, until_us: int, now_us: int) -> Iterator[int]:
        habits, span = self.habits.get(sensor.id), self.own_span_us(sensor, now_us)
        if habits is None or span is None:
            return
        step, fraction = sensor.interval_us, habits.fraction_us
        first = max((after_us - fraction) // step + 1, -((fraction - span[0]) // step))
        last = (min(until_us, span[1]) - fraction) // step
        for index in range(first, last + 1):
            stamp = index * step + fraction
            if self.exists(sensor, habits, stamp) and self.visible_us(sensor, habits, stamp) <= now_us:
                yield stamp

    def own_span_us(self, sensor: Sensor, now_us: int) -> tuple[int, int] | None:
        """Return the world's beginning and the last stamp that may be visible at `now`."""
        habits = self.habits.get(sensor.id)
        if habits is None:
            return None
        last = now_us + (EARLY_US if habits.dated_ahead else 0)
        last = last if habits.ends_us is None else min(last, habits.ends_us)
        return (self.begins_us, last) if last >= self.begins_us else None

    def page_token(
        self, sensor: Sensor, after_us: int, until_us: int, now_us: int, *, offset: int, limit: int
    ) -> Hashable | None:
        """Return a token for windows so old that no row of theirs can still be late."""
        if sensor.id in self.additions or until_us > now_us - SETTLED_US:
            return None
        return after_us, until_us, offset, limit

    def exists(self, sensor: Sensor, habits: Habits, stamp_us: int) -> bool:
        """Return whether the sensor ever delivers this row."""
        if habits.gap_share and chance(self.seed, sensor.id, 1, stamp_us // (6 * HOUR_US)) < habits.gap_share:
            return False
        return not habits.missing_share or chance(self.seed, sensor.id, 2, stamp_us) >= habits.missing_share

    def visible_us(self, sensor: Sensor, habits: Habits, stamp_us: int) -> int:
        """Return the moment from which a row can be seen; before its own stamp only if it is dated ahead."""
        if habits.dated_ahead and (stamp_us // HOUR_US) % 168 == 84:
            return stamp_us - EARLY_US
        share = chance(self.seed, sensor.id, 3, stamp_us)
        if habits.straggler_share and share < habits.straggler_share:
            return stamp_us + int((6 + 34 * share / habits.straggler_share) * HOUR_US)
        least, most = habits.late_minutes
        return stamp_us + int((least + (most - least) * share) * 60 * SECOND_US)

    def value(self, sensor: Sensor, stamp_us: int) -> float | None:
        """Return what the row says: the made-up air, or now and then nothing, or the sentinel of a fault."""
        habits = self.habits[sensor.id]
        share = chance(self.seed, sensor.id, 4, stamp_us)
        if share < habits.null_share:
            return None
        if share < habits.null_share + habits.sentinel_share:
            return MINUS_999
        station = self.sensors_by_id[sensor.id][0]
        weather = mix(self.seed, station.id)
        return value_at(weather, sensor, stamp_us, self._offset_us(station, stamp_us))

    def _offset_us(self, station: Station, stamp_us: int) -> int:
        moment = datetime.fromtimestamp(stamp_us / SECOND_US, UTC).astimezone(self._zones[station.id])
        offset = moment.utcoffset()
        return int(offset.total_seconds()) * SECOND_US if offset else 0
