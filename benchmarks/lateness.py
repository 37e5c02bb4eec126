"""Which share of late rows each look-back finds, and what it costs in requests: hourly polls on a virtual clock.

What plans, reads, merges and stores is the program's own; the stores are in memory, and OpenAQ is a list of rows with
the time from which each can be seen. Chance is seeded: the same table each time.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from openaq_pipeline.ingest import ingest
from openaq_pipeline.model import (
    FileMark,
    Key,
    Latest,
    LatestPage,
    Location,
    LocationState,
    Measurement,
    Page,
    Sensor,
    Window,
)
from openaq_pipeline.monitoring.tally import Tally
from openaq_pipeline.order import Order, Parts, Visit
from openaq_pipeline.poll import Poll
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import ApiSettings, DataSettings, SeriesTests, Settings, ValidationSettings
from tests.measurements import described
from tests.memory import MemoryMetadata, MemoryRejects, MemoryRows, MemoryState

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LOCATIONS, SENSORS = 2, 12
WARM_UP, MEASURED = 8 * DAY, 30 * DAY
"""First loads and learning, and then what counts."""

POLL_MINUTE = 45
ON_TIME_MINUTES = (5.0, 40.0)
"""Minutes from the stamp of a row to when it can be seen, if it is on time: for the next poll."""

FIXED_HOURS = (6, 12, 24, 48, 72)
SWEEP_HOURS = 72
USUAL_HOURS = 24
TIGHT_ROOM = 4
"""Requests a poll where they are short: a list for each location, and of each sensor's series two a day."""

NO_TESTS = ValidationSettings(series_tests=SeriesTests(flat_line_hours={}, spike={}, rate_of_change={}))
"""Values are made up here and of no interest."""

Delays = Callable[[random.Random], float]
"""Draws by how many hours a row comes later than on time."""

DELAYS: dict[str, Delays] = {
    "all on time": lambda _: 0.0,
    "exponential, mean 3 h": lambda chance: chance.expovariate(1 / 3),
    "2 % about 30 h": lambda chance: max(2.0, chance.gauss(30, 4)) if chance.random() < 0.02 else 0.0,
    "5 % up to 10 days": lambda chance: math.exp(chance.uniform(0, math.log(240))) if chance.random() < 0.05 else 0.0,
}


class Row(NamedTuple):
    """A row of OpenAQ's: its stamp, and from when on it can be seen."""

    stamp: datetime
    visible: datetime


class Setting(NamedTuple):
    """How far back each poll looks, in hours (None: as learnt), and whether it looks wider once a day.

    `plans` False: it asks for every sensor, be there a hole or not. `room` is how many requests a poll has
    once learning is over; None: any.
    """

    look_back_hours: int | None
    sweeps: bool
    plans: bool = True
    room: int | None = None

    def __str__(self) -> str:
        look_back = "learnt" if self.look_back_hours is None else f"{self.look_back_hours} h"
        if self.room is not None:
            return f"{look_back}, {self.room} requests a poll"
        return look_back if self.plans else f"{look_back}, all asked"

    @property
    def data(self) -> DataSettings:
        """Return it as the pipeline's settings. All rows stay in the location file."""
        hours = USUAL_HOURS if self.look_back_hours is None else self.look_back_hours
        return DataSettings(
            initial_days=3, lookback_hours=hours, sweep_hours=SWEEP_HOURS if self.sweeps else 0, live_days=3650
        )


SETTINGS = (
    *(Setting(hours, sweeps=True) for hours in FIXED_HOURS),
    Setting(None, sweeps=True),
    Setting(None, sweeps=True, room=TIGHT_ROOM),
    Setting(USUAL_HOURS, sweeps=True, plans=False),
)


class Found(NamedTuple):
    """Late rows, how many were found, how many within 3 and 24 hours; requests and rows sent, by sensor and day."""

    late: int
    in_3_hours: int
    in_a_day: int
    ever: int
    requests: float
    sent: float


class OpenAQ:
    """An OpenAQ of hourly sensors; `now` is its clock. Counts what is asked for (locations aside) and the rows sent."""

    def __init__(self, delays: Delays) -> None:
        chance = random.Random(5)
        self.now = BEGINNING
        self.requests = self.sent = 0
        self.locations = {
            location_id: tuple(Sensor(10 * location_id + number, 2, "pm25", "µg/m³") for number in range(SENSORS))
            for location_id in range(1, LOCATIONS + 1)
        }
        self.settings = Settings(
            data_dir=Path(), locations=list(self.locations), api=ApiSettings(max_workers=1), validation=NO_TESTS
        )
        hours = (WARM_UP + MEASURED) // HOUR
        self.series = {
            sensor.id: [_row(BEGINNING + (number + 1) * HOUR, delays, chance) for number in range(hours)]
            for sensors in self.locations.values()
            for sensor in sensors
        }
        self._stamps = {key: [row.stamp for row in rows] for key, rows in self.series.items()}

    def location(self, location_id: int) -> Location:
        """Return a location; what that costs is the same for all settings."""
        return described(location_id, name=None, fetched=self.now, sensors=self.locations[location_id])

    def measurements(self, location_id: int, sensors_id: int, window: Window, *, attempts: int | None = None) -> Page:
        """Return the rows of a window that can be seen by now."""
        del attempts
        stamps = self._stamps[sensors_id]
        there = self.series[sensors_id][bisect_right(stamps, window.start) : bisect_right(stamps, window.end)]
        rows = [self._measurement(location_id, sensors_id, row) for row in there if row.visible <= self.now]
        self.requests += 1
        self.sent += len(rows)
        return Page(rows, [])

    def location_latest(self, location_id: int) -> LatestPage:
        """Return the last row of each sensor of a location that can be seen by now."""
        self.requests += 1
        found = [(sensor.id, self._last(sensor.id)) for sensor in self.locations[location_id]]
        rows = [
            Latest(location_id, sensors_id, row.stamp, "", float(row.stamp.hour))
            for sensors_id, row in found
            if row is not None
        ]
        return LatestPage(rows, len(rows))

    def parameter_latest(self, parameters_id: int, since: datetime, page: int) -> LatestPage:
        """Return the last row of each sensor there is."""
        raise NotImplementedError  # it pays for selections far larger than this one

    def _last(self, sensors_id: int) -> Row | None:
        end = bisect_right(self._stamps[sensors_id], self.now)
        rows = (self.series[sensors_id][place] for place in range(end - 1, -1, -1))
        return next((row for row in rows if row.visible <= self.now), None)

    def _measurement(self, location_id: int, sensors_id: int, row: Row) -> Measurement:
        value = float(row.stamp.hour)
        return Measurement(
            *(location_id, sensors_id, 2, "pm25", "µg/m³", value, row.stamp, "", 3600, False, (), "api", self.now)
        )


class Rows(MemoryRows):
    """The twin of the location files, quick: it trusts that what is put into it is sorted, and seals nothing."""

    def tail(self, location_id: int, since: datetime, until: datetime | None = None) -> list[Measurement]:
        """Return the rows from `since` on."""
        rows = self.rows.get(location_id, [])
        end = None if until is None else bisect_left(rows, until, key=_stamp)
        return rows[bisect_left(rows, since, key=_stamp) : end]

    def replace_tail(self, location_id: int, since: datetime, rows: Sequence[Measurement]) -> FileMark:
        """Put `rows` in the place of all from `since` on."""
        stored = self.rows.setdefault(location_id, [])
        stored[bisect_left(stored, since, key=_stamp) :] = rows
        self._versions[location_id] = self._versions.get(location_id, 0) + 1
        return FileMark(len(stored), self._versions[location_id])

    def oldest(self, location_id: int) -> datetime | None:
        """Return the stamp of the first row."""
        return next((row.datetime for row in self.rows.get(location_id, [])), None)


class Unlearnt(MemoryState):
    """A state that forgets how late rows came, so that the look-back stays as it was set."""

    def put(self, location_id: int, state: LocationState) -> None:
        """Remember all but that."""
        sensors = {
            key: msgspec.structs.replace(sensor, rhythm=msgspec.structs.replace(sensor.rhythm, lateness=()))
            for key, sensor in state.sensors.items()
        }
        super().put(location_id, msgspec.structs.replace(state, sensors=sensors))


def simulate(delays: Delays, setting: Setting) -> Found:
    """Poll every hour and return what was found in the time that counts."""
    openaq, rows = OpenAQ(delays), Rows()
    parts = Parts(
        source=openaq,
        rows=rows,
        rejects=MemoryRejects(),
        state=MemoryState() if setting.look_back_hours is None else Unlearnt(),
        metadata=MemoryMetadata(),
        judge=Judge(NO_TESTS),
        required=Required(NO_TESTS.required_fields),
        data=setting.data,
        tally=Tally(),
    )
    asked = sent = 0
    begins = timedelta(0) if setting.look_back_hours is None else WARM_UP - 2 * DAY
    for number in range(begins // HOUR + 1, (WARM_UP + MEASURED) // HOUR):
        openaq.now = BEGINNING + number * HOUR + timedelta(minutes=POLL_MINUTE)
        if openaq.now - BEGINNING < WARM_UP:
            asked, sent = openaq.requests, openaq.sent
        poll_once(parts, openaq, setting)
    seen = {row.key: row.first_seen for location_id in openaq.locations for row in rows.rows[location_id]}
    late = list(_late_rows(openaq))
    waits = [seen[key] - row.visible for key, row in late if key in seen]
    sensor_days = LOCATIONS * SENSORS * (MEASURED / DAY)
    return Found(
        late=len(late),
        in_3_hours=sum(wait <= 3 * HOUR for wait in waits),
        in_a_day=sum(wait <= DAY for wait in waits),
        ever=len(waits),
        requests=(openaq.requests - asked) / sensor_days,
        sent=(openaq.sent - sent) / sensor_days,
    )


def poll_once(parts: Parts, openaq: OpenAQ, setting: Setting) -> None:
    """Run one poll of all locations."""
    order = Order(openaq.now)
    room = setting.room if openaq.now > BEGINNING + WARM_UP else None
    visits = [Visit(location_id) for location_id in openaq.locations]
    if setting.plans:
        poll = Poll(parts, order, openaq.settings, room)
        visits = poll.round(poll.listen(openaq)).visits
    for visit in visits:
        report = ingest(parts, visit.location_id, order, visit).report
        if report.error:
            raise SystemExit(f"location {visit.location_id}: {report.error}")


def _late_rows(openaq: OpenAQ) -> Iterator[tuple[Key, Row]]:
    """Yield the rows that the poll after their stamp could not see, if they had a day at least to be found."""
    for sensors_id, series in openaq.series.items():
        for row in series:
            late = row.visible - row.stamp > HOUR
            if late and row.stamp > BEGINNING + WARM_UP and row.visible <= BEGINNING + WARM_UP + MEASURED - DAY:
                yield Key(sensors_id, row.stamp), row


def _stamp(row: Measurement) -> datetime:
    return row.datetime


def _row(stamp: datetime, delays: Delays, chance: random.Random) -> Row:
    on_time = timedelta(minutes=chance.uniform(*ON_TIME_MINUTES))
    return Row(stamp, stamp + on_time + timedelta(hours=delays(chance)))


def main() -> None:
    """Run the simulation and print the table."""
    argparse.ArgumentParser(prog="python -m benchmarks.lateness", description=__doc__).parse_args()
    began = time.process_time()
    days = f"{MEASURED.days} days after {WARM_UP.days} of learning"
    print(f"{LOCATIONS} locations x {SENSORS} hourly sensors, {days}, {datetime.now(UTC):%Y-%m-%d}\n")
    print("| rows come | look-back " + "| in 3 h | in 24 h | ever | requests | rows " * 2 + "|")
    print("| --- | --- | " + " | ".join(["---:"] * 10) + " |")
    for name, delays in DELAYS.items():
        for setting in SETTINGS:
            swept = simulate(delays, setting)
            aside = not swept.late or not setting.plans or setting.room is not None
            # A sweep that reaches no further than the look-back makes no difference.
            same = setting.look_back_hours == SWEEP_HOURS
            plain = None if aside else swept if same else simulate(delays, setting._replace(sweeps=False))
            title = f"{name} ({swept.late:,} late)" if swept.late else name
            print(f"| {title} | {setting} | {_cells(swept)} | {_cells(plain) if plain else ' | ' * 4} |", flush=True)
    print(f"\n{time.process_time() - began:.0f} CPU seconds.")


def _cells(found: Found) -> str:
    shares = (f"{part / found.late:.1%}" if found.late else "" for part in found[1:4])
    return " | ".join((*shares, f"{found.requests:.1f}", f"{found.sent:,.0f}"))


if __name__ == "__main__":
    main()
