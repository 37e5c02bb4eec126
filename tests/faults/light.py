"""The program's own way from pages to disk, without HTTP: it starts fast, so that it can be killed thousands of times.

    python -m tests.faults.light FOLDER FIRST LAST

stores what a made-up OpenAQ shows in the rounds FIRST to LAST (12 hours each, two locations) by the real `ingest` and
the real stores, and prints a line as soon as something is acknowledged:

    stored ROUND LOCATION     all rows that this location shows in this round are durable
    done ROUND                so are the state and the descriptions

It exits 0, 9 when an ingest or a store failed (the reason goes to stderr), or 3 when another has the folder. Where a
fresh start is too slow, `forked` does the same in a child of this process. A round may be done again at any time.
Round 12 is the first to move rows (of March) to the history; the next is round 72.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from openaq_pipeline import locks
from openaq_pipeline.errors import LockHeld, PipelineError
from openaq_pipeline.ingest import ingest
from openaq_pipeline.model import Location, Measurement, Page, Reject, Sensor, Window
from openaq_pipeline.monitoring.tally import Tally
from openaq_pipeline.order import Order, Parts
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import DataSettings, ValidationSettings
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.rejects import Rejects
from openaq_pipeline.storage.state import StateFile
from tests.measurements import described, measurement

BEGINNING = datetime(2026, 3, 28, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS_PER_ROUND = 12
INITIAL_DAYS, LIVE_DAYS = 3, 2
LOCATIONS = (7, 8)
FAILED, LOCKED = 9, 3
FIRST_MOVE = 12
"""The first round that moves rows to the history."""

Acknowledge = Callable[[str], None]


def moment(round_number: int) -> datetime:
    """Return what time it is in a round."""
    return BEGINNING + round_number * HOURS_PER_ROUND * HOUR


def sensors(location_id: int) -> tuple[Sensor, ...]:
    """Return a location's sensors: one is punctual, one has late rows, one has rows that are none."""
    first = location_id * 10
    return (
        Sensor(first + 1, 2, "pm25", "µg/m³"),
        Sensor(first + 2, 10, "o3", "ppm"),
        Sensor(first + 3, 100, "temperature", "c"),
    )


class MadeUp:
    """A source whose rows are a function of sensor, hour and the time it is asked at: late, revised and broken ones."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.asked: list[tuple[int, Window]] = []

    def location(self, location_id: int) -> Location:
        """Return a location."""
        return described(location_id, name=f"No. {location_id}", fetched=self.now, sensors=sensors(location_id))

    def measurements(self, location_id: int, sensors_id: int, window: Window, *, attempts: int | None = None) -> Page:
        """Return all that is shown of a window."""
        del attempts
        self.asked.append((sensors_id, window))
        sensor = next(each for each in sensors(location_id) if each.id == sensors_id)
        rows, rejects = [], []
        for stamp in _hours(window.start, min(window.end, self.now)):
            hour = _hour(stamp)
            if not self.shows(sensors_id, hour):
                continue
            if self.is_broken(sensors_id, hour):
                rejects.append(Reject(location_id, sensors_id, "no value", stamp.isoformat(), self.now))
            else:
                rows.append(self._row(location_id, sensor, stamp))
        return Page(rows, rejects)

    def shows(self, sensors_id: int, hour: int) -> bool:
        """Say whether a row is there by now: every seventh of each second sensor comes five hours late."""
        late = 5 if sensors_id % 10 == 2 and hour % 7 == 0 else 0
        return hour + late <= _hour(self.now)

    @staticmethod
    def is_broken(sensors_id: int, hour: int) -> bool:
        """Say whether a row is no measurement."""
        return sensors_id % 10 == 3 and hour % 11 == 0

    def _row(self, location_id: int, sensor: Sensor, stamp: datetime) -> Measurement:
        hour = _hour(stamp)
        revised = sensor.id % 10 == 1 and hour % 13 == 0 and hour + 4 <= _hour(self.now)
        return measurement(
            float((hour * 37 + sensor.id * 11) % 40) + 0.5 * revised,
            stamp,
            first_seen=self.now,
            location_id=location_id,
            sensors_id=sensor.id,
            parameters_id=sensor.parameters_id,
            parameter=sensor.parameter,
            units=sensor.units,
        )


def _hours(start: datetime, end: datetime) -> Iterator[datetime]:
    stamp = start.replace(minute=0, second=0, microsecond=0) + HOUR
    while stamp <= end:
        yield stamp
        stamp += HOUR


def _hour(stamp: datetime) -> int:
    return int(stamp.timestamp()) // 3600


@lru_cache
def _judge() -> Judge:
    return Judge(ValidationSettings())


class Light:
    """The stores of a folder, loaded as a run loads them, and rounds of polls into them."""

    def __init__(self, folder: Path) -> None:
        self.state, self.metadata = StateFile(folder), Metadata(folder)
        self.files, self.rejects = LocationFiles(folder), Rejects(folder)

    def round(self, number: int, acknowledge: Acknowledge) -> MadeUp:
        """Do one poll of all locations, and return the source that was asked.

        Raises `PipelineError` for what kept it from being whole.
        """
        now = moment(number)
        self.begin(now)
        source = MadeUp(now)
        parts = self.parts(source)
        for location_id in LOCATIONS:
            report = ingest(parts, location_id, Order(now)).report
            if report.error or report.outcome != "ok":
                raise PipelineError(f"location {location_id} {report.outcome}: {report.error}")
            acknowledge(f"stored {number} {location_id}")
        self.end()
        acknowledge(f"done {number}")
        return source

    def begin(self, now: datetime) -> None:
        """Read what is remembered."""
        self.state.load(now, repair=True)
        self.metadata.load(now, repair=True)

    def end(self) -> None:
        """Remember what was learnt."""
        self.state.save()
        self.metadata.save()
        for location_id in LOCATIONS:
            self.files.vouch(location_id, self.state.get(location_id).file)

    def parts(self, source: MadeUp) -> Parts:
        """Return what an ingest works with."""
        return Parts(
            source=source,
            rows=self.files,
            rejects=self.rejects,
            state=self.state,
            metadata=self.metadata,
            judge=_judge(),
            required=Required(ValidationSettings().required_fields),
            data=DataSettings(initial_days=INITIAL_DAYS, live_days=LIVE_DAYS),
            tally=Tally(),
        )


def held(location_id: int, round_number: int) -> set[tuple[int, int, datetime]]:
    """Return the places of all rows that a `stored` line acknowledges, if the rounds began with 0."""
    source = MadeUp(moment(round_number))
    window = Window(BEGINNING - timedelta(days=INITIAL_DAYS), source.now)
    return {
        (location_id, row.sensors_id, row.datetime)
        for sensor in sensors(location_id)
        for row in source.measurements(location_id, sensor.id, window).rows
    }


def acknowledged(lines: str) -> set[tuple[int, int, datetime]]:
    """Return the places of all rows that some printed lines acknowledge; one cut short says nothing."""
    found: set[tuple[int, int, datetime]] = set()
    for line in lines.splitlines(keepends=True):
        if line.startswith("stored ") and line.endswith("\n"):
            _, number, location_id = line.split()
            found |= held(int(location_id), int(number))
    return found


def store(folder: Path, first: int, last: int, acknowledge: Acknowledge) -> int:
    """Do the rounds from first to last and return the exit code."""
    try:
        locks.make_folder(folder)
        with locks.hold_folder(folder):
            for number in range(first, last + 1):
                Light(folder).round(number, acknowledge)
    except LockHeld as error:
        sys.stderr.write(f"{error}\n")
        return LOCKED
    except PipelineError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    return 0


def forked(folder: Path, first: int, last: int, acknowledge_to: int, prepare: Callable[[], None] | None = None) -> int:
    """Do the rounds in a child process, which writes its lines to an open file, and return its process id.

    `prepare` is called in the child before anything else. The caller waits for the child.
    """
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        if prepare:
            prepare()
        code = store(folder, first, last, to_descriptor(acknowledge_to))
    finally:
        os._exit(code)


def to_descriptor(descriptor: int) -> Acknowledge:
    """Return what writes a line to an open file at once."""

    def acknowledge(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    return acknowledge


if __name__ == "__main__":
    sys.exit(store(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), to_descriptor(1)))
