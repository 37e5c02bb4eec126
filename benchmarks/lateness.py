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
from typing import NamedTuple

import msgspec

from openaq_pipeline.ingest import ingest
from openaq_pipeline.model import FileMark, Key, Location, LocationState, Measurement, Page, Sensor, Window
from openaq_pipeline.monitoring.tally import Tally
from openaq_pipeline.order import Order, Parts
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import DataSettings, SeriesTests, ValidationSettings
from tests.measurements import described
from tests.memory import MemoryMetadata, MemoryRejects, MemoryRows, MemoryState

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LOCATIONS, SENSORS = 6, 4
WARM_UP, MEASURED = 14 * DAY, 30 * DAY
"""First loads and learning, and then what counts."""

POLL_MINUTE = 45
ON_TIME_MINUTES = (5.0, 40.0)
"""Minutes from the stamp of a row to when it can be seen, if it is on time: for the next poll."""

FIXED_HOURS = (6, 12, 24, 48, 72)
SWEEP_HOURS = 72
USUAL_HOURS = 24

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
    """How far back each poll looks, in hours (None: as learnt), and whether it looks wider once a day."""

    look_back_hours: int | None
    sweeps: bool

    @property
    def data(self) -> DataSettings:
        """Return it as the pipeline's settings. All rows stay in the location file."""
        hours = USUAL_HOURS if self.look_back_hours is None else self.look_back_hours
        return DataSettings(
            initial_days=3, lookback_hours=hours, sweep_hours=SWEEP_HOURS if self.sweeps else 0, live_days=3650
        )


class Found(NamedTuple):
    """Late rows, how many were found and how many within 24 h; requests and rows sent, each for a sensor and day."""

    late: int
    soon: int
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
    begins = timedelta(0) if setting.look_back_hours is None else WARM_UP - 4 * DAY
    for number in range(begins // HOUR + 1, (WARM_UP + MEASURED) // HOUR):
        openaq.now = BEGINNING + number * HOUR + timedelta(minutes=POLL_MINUTE)
        if openaq.now - BEGINNING < WARM_UP:
            asked, sent = openaq.requests, openaq.sent
        poll(parts, openaq)
    seen = {row.key: row.first_seen for location_id in openaq.locations for row in rows.rows[location_id]}
    waits = [seen[key] - row.visible if key in seen else None for key, row in _late_rows(openaq)]
    sensor_days = LOCATIONS * SENSORS * (MEASURED / DAY)
    return Found(
        late=len(waits),
        soon=sum(wait is not None and wait <= DAY for wait in waits),
        ever=sum(wait is not None for wait in waits),
        requests=(openaq.requests - asked) / sensor_days,
        sent=(openaq.sent - sent) / sensor_days,
    )


def poll(parts: Parts, openaq: OpenAQ) -> None:
    """Run one poll of all locations."""
    for location_id in openaq.locations:
        report = ingest(parts, location_id, Order(openaq.now)).report
        if report.error:
            raise SystemExit(f"location {location_id}: {report.error}")


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
    print("| rows come | look-back | late rows " + "| in 24 h | ever | requests | rows " * 2 + "|")
    print("| --- | --- | " + " | ".join(["---:"] * 9) + " |")
    for name, delays in DELAYS.items():
        for hours in (*FIXED_HOURS, None):
            look_back = "learnt" if hours is None else f"{hours} h"
            swept, plain = (simulate(delays, Setting(hours, sweeps)) for sweeps in (True, False))
            print(f"| {name} | {look_back} | {swept.late:,} | {_cells(swept)} | {_cells(plain)} |", flush=True)
    print(f"\n{time.process_time() - began:.0f} CPU seconds.")


def _cells(found: Found) -> str:
    shares = (f"{part / found.late:.1%}" if found.late else "" for part in (found.soon, found.ever))
    return " | ".join((*shares, f"{found.requests:.1f}", f"{found.sent:,.0f}"))


if __name__ == "__main__":
    main()
