"""Polls of any rhythm, over lists that are stale or cut short, with crashes anywhere: every row is stored, once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from openaq_pipeline.errors import RetriableError
from openaq_pipeline.ingest import ingest
from openaq_pipeline.model import Key, Latest, LatestPage, Location, Measurement, Page, Sensor, Window
from openaq_pipeline.monitoring.tally import Tally
from openaq_pipeline.order import Order, Parts
from openaq_pipeline.poll import Poll
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import DataSettings, Settings, ValidationSettings
from tests.measurements import described
from tests.memory import MemoryMetadata, MemoryRejects, MemoryRows, MemoryState
from tests.often import examples

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
INTERVALS = {11: HOUR, 12: HOUR / 4, 13: 3 * HOUR, 14: None, 21: HOUR, 22: HOUR, 31: HOUR}
BEGINNING = START - 10 * HOUR
SPAN = 20 * HOUR
"""With the day at the end it is less than a sweep: whatever has come by then is to be found."""


class Crash(Exception):
    """The process is gone."""


class Row(NamedTuple):
    """A row of OpenAQ's: its stamp, from when on it can be seen, and its value."""

    stamp: datetime
    visible: datetime
    value: float


class OpenAQ:
    """An OpenAQ whose lists lie now and then: they may be old, leave sensors out, or not come at all."""

    def __init__(self, chance: random.Random) -> None:
        self.now = START
        self.chance = chance
        self.failing = True
        self.series = {key: _series(interval, chance) for key, interval in INTERVALS.items()}

    def location(self, location_id: int) -> Location:
        sensors = tuple(Sensor(key, 2 + key % 2, "pm25", "ppm") for key in INTERVALS if key // 10 == location_id)
        return described(location_id, name=None, fetched=self.now, sensors=sensors)

    def measurements(self, location_id: int, sensors_id: int, window: Window, *, attempts: int | None = None) -> Page:
        del attempts
        if self.failing and self.chance.random() < 0.03:
            raise RetriableError("504")
        inside = [row for row in self.seen(sensors_id, self.now) if window.start < row.stamp <= window.end]
        return Page([_measurement(location_id, sensors_id, row, self.now) for row in inside][:1000], [])

    def seen(self, sensors_id: int, now: datetime) -> list[Row]:
        """Return what can be seen of a sensor."""
        return [row for row in self.series[sensors_id] if row.visible <= now]

    def location_latest(self, location_id: int) -> LatestPage:
        return self._list([key for key in INTERVALS if key // 10 == location_id])

    def parameter_latest(self, parameters_id: int, since: datetime, page: int) -> LatestPage:
        del since, page
        return self._list([key for key in INTERVALS if 2 + key % 2 == parameters_id])

    def _list(self, sensors: list[int]) -> LatestPage:
        if self.chance.random() < 0.1:
            raise RetriableError("504")
        then = self.now - self.chance.choice([timedelta(0), HOUR / 4, 2 * HOUR])
        found = [(key, max(self.seen(key, then), default=None)) for key in sensors]
        rows = [
            Latest(key // 10, key, row.stamp, "", row.value)
            for key, row in found
            if row is not None and self.chance.random() > 0.1
        ]
        self.chance.shuffle(rows)
        return LatestPage(rows, len(rows))


def _series(interval: timedelta | None, chance: random.Random) -> list[Row]:
    """Return the rows of a sensor: most on time, some late, some missing, one of the future."""
    rows, stamp = [], BEGINNING
    lag = timedelta(minutes=chance.choice([0, 5, 80]))
    while stamp < START + SPAN + 30 * HOUR:
        stamp += interval or timedelta(minutes=chance.randint(1, 200))
        late = timedelta(hours=chance.uniform(0, 30)) if chance.random() < 0.1 else timedelta(0)
        if chance.random() > 0.05:
            rows.append(Row(stamp, stamp + lag + late, chance.random()))
    if chance.random() < 0.3:
        odd = chance.choice(rows)
        rows[rows.index(odd)] = odd._replace(visible=odd.stamp - 20 * HOUR)
    return rows


def _measurement(location_id: int, sensors_id: int, row: Row, now: datetime) -> Measurement:
    return Measurement(
        *(location_id, sensors_id, 2 + sensors_id % 2, "pm25", "ppm", row.value, row.stamp, "", None, False),
        *((), "api", now),
    )


class World:
    """Polls on in-memory stores; a crash ends one at a store's operation, and the next goes on from what is stored."""

    def __init__(self, chance: random.Random) -> None:
        self.crash_after: int | None = None
        self.openaq = OpenAQ(chance)
        self.rows, validation = MemoryRows(self._operation, self._operation), ValidationSettings()
        self.settings = Settings(locations=[1, 2, 3], data_dir="unused")  # type: ignore[arg-type]
        self.parts = Parts(
            source=self.openaq,
            rows=self.rows,
            rejects=MemoryRejects(),
            state=MemoryState(self._operation, self._operation),
            metadata=MemoryMetadata(),
            judge=Judge(validation),
            required=Required(validation.required_fields),
            data=DataSettings(initial_days=4),
            tally=Tally(),
        )

    def _operation(self, _name: str) -> None:
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                raise Crash

    def poll(self, room: int | None, crash_after: int | None) -> None:
        """Poll; after so many operations of the stores the process is gone, None: it comes to its end."""
        self.crash_after = crash_after
        try:
            order = Order(self.openaq.now)
            poll = Poll(self.parts, order, self.settings, room)
            for visit in poll.round(poll.listen(self.openaq)).visits:
                ingest(self.parts, visit.location_id, order, visit)
        except Crash:
            pass
        finally:
            self.crash_after = None
        self.check()

    def check(self) -> None:
        """See that nothing is stored that OpenAQ has not shown, and that no watermark is ahead."""
        stored = self.stored()
        shown = {Key(key, row.stamp): row.value for key in INTERVALS for row in self.openaq.seen(key, self.openaq.now)}
        assert stored.items() <= shown.items()
        for location_id in self.settings.locations:
            for sensors_id, state in self.parts.state.get(location_id).sensors.items():
                if state.watermark is not None:
                    assert state.watermark <= self.openaq.now
                    newest = max(stamp for key, stamp in stored if key == sensors_id)
                    assert state.watermark <= newest

    def stored(self) -> dict[Key, float | None]:
        """Return every stored row's value; the twin of the files sees to it that none is there twice."""
        return {row.key: row.value for key in self.settings.locations for row in self.rows.all(key)}


polls = st.lists(
    st.tuples(
        st.sampled_from([5, 20, 60, 60, 60, 61, 120, 700]),
        st.none() | st.integers(0, 9),
        st.none() | st.integers(0, 60),
    ),
    max_size=30,
)


@hypothesis(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32), polls)
def test_whatever_happens_in_between_every_row_that_came_is_stored_once(
    seed: int, steps: list[tuple[int, int | None, int | None]]
) -> None:
    world = World(random.Random(seed))
    for minutes, room, crash_after in steps:
        if world.openaq.now < START + SPAN:
            world.openaq.now += timedelta(minutes=minutes)
            world.poll(room, crash_after)
    world.openaq.now += 25 * HOUR
    now = world.openaq.now
    due = {Key(key, row.stamp) for key in INTERVALS for row in world.openaq.seen(key, now) if row.stamp <= now}
    world.openaq.failing = False  # three failures in a row would park a sensor beyond the end of the test
    world.poll(None, None)
    assert due <= world.stored().keys()
