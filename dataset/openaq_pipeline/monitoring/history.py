"""`metrics.json`: the figures of the last 100 runs, oldest first, for the monitor, the schedule and scripts.

The runs of 25,000 locations would be gigabytes. Beyond `MOST_ENTRIES` details go, those of the oldest runs first:
sensors that were ok or waited, then locations that were ok, then those that were not, then what is left of sensors. The
last report of each location stays: how it is depends on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from openaq_pipeline.bounded import BOOK_BYTES, whole
from openaq_pipeline.files import replacing, set_aside, storage_error
from openaq_pipeline.model import UNREADABLE
from openaq_pipeline.monitoring.metrics import LocationMetrics, RunMetrics, SensorMetrics, Totals

NAME = "metrics.json"
KEPT_RUNS = 100
MOST_ENTRIES = 50_000
"""So many locations and sensors stay in all runs together: 10 MB, and every run of up to 100 stations in full."""

UNEVENTFUL = frozenset({"ok", "deferred"})


class History(msgspec.Struct, frozen=True):
    """The runs, oldest first; empty without a file. `warning` says in a sentence what is wrong with the file.

    `totals` are what all runs came to since they are counted; None: nothing was counted yet.
    """

    runs: tuple[RunMetrics, ...] = ()
    warning: str | None = None
    totals: Totals | None = None


class _Document(msgspec.Struct, frozen=True):
    runs: tuple[RunMetrics, ...]
    totals: Totals | None = None


def read(folder: Path) -> History:
    """Return the runs on file, without changing anything. Raises `StorageError` if the file can't be read."""
    path = folder / NAME
    try:
        found = _decode(whole(path, BOOK_BYTES))
    except FileNotFoundError:
        return History()
    except OSError as error:
        raise storage_error(error, path) from error
    except UNREADABLE:
        return History(warning=f"{NAME} is damaged; the next run sets it aside and begins a new one")
    return History(found.runs, totals=found.totals)


def append(folder: Path, run: RunMetrics, now: datetime) -> str | None:
    """Add a run and drop the oldest beyond 100; return what had to be done about a damaged file, None if nothing.

    Wants the data folder's lock. Raises `StorageError` when the disk refuses; the file is as before then.
    """
    before, warning = read(folder), None
    if before.warning:
        place = set_aside(folder / NAME, now)
        warning = f"{NAME} was damaged and set aside as {place.name}; the history of runs begins anew"
    totals = (before.totals or Totals(run.started)).and_of(run)
    runs = bounded((*before.runs, run)[-KEPT_RUNS:], MOST_ENTRIES)
    with replacing(folder / NAME) as file:
        file.write(b'{"runs": [\n' + b",\n".join(map(msgspec.json.encode, runs)) + b"\n],\n")
        file.write(b'"totals": ' + msgspec.json.encode(totals) + b"}\n")
    return warning


def bounded(runs: Sequence[RunMetrics], most: int) -> tuple[RunMetrics, ...]:
    """Return the runs, oldest first, with no more locations and sensors than `most`, or as few as there can be."""
    kept, total = list(runs), sum(map(_entries, runs))
    last = {place.location_id: number for number, run in enumerate(runs) for place in run.locations}
    for step in (_without_good_sensors, _unless_good, _unless_told_later, _without_sensors):
        for number, run in enumerate(kept):
            if total <= most:
                return tuple(kept)
            thinner = (step(place, is_last=last[place.location_id] == number) for place in run.locations)
            kept[number] = msgspec.structs.replace(run, locations=tuple(place for place in thinner if place))
            total -= _entries(run) - _entries(kept[number])
    return tuple(kept)


def _entries(run: RunMetrics) -> int:
    return len(run.locations) + sum(len(place.sensors) for place in run.locations)


def _without_good_sensors(place: LocationMetrics, *, is_last: bool) -> LocationMetrics | None:
    del is_last
    return _with(place, tuple(sensor for sensor in place.sensors if sensor.outcome not in UNEVENTFUL))


def _unless_good(place: LocationMetrics, *, is_last: bool) -> LocationMetrics | None:
    return place if is_last or place.outcome != "ok" else None


def _unless_told_later(place: LocationMetrics, *, is_last: bool) -> LocationMetrics | None:
    return place if is_last else None


def _without_sensors(place: LocationMetrics, *, is_last: bool) -> LocationMetrics | None:
    del is_last
    return _with(place, ())


def _with(place: LocationMetrics, sensors: tuple[SensorMetrics, ...]) -> LocationMetrics:
    return place if len(sensors) == len(place.sensors) else msgspec.structs.replace(place, sensors=sensors)


def _decode(body: bytes) -> _Document:
    """Return what is in the file.

    Raises one of `UNREADABLE`, also for a time without a zone, which compares with no other.
    """
    found = msgspec.json.decode(body, type=_Document)
    stamps = [run.started for run in found.runs]
    stamps += [found.totals.since] if found.totals else []
    stamps += [
        sensor.watermark
        for run in found.runs
        for place in run.locations
        for sensor in place.sensors
        if sensor.watermark
    ]
    if any(stamp.tzinfo is None for stamp in stamps):
        raise msgspec.ValidationError("times must end in Z or in an offset from UTC")
    return found
