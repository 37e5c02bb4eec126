"""`metrics.json`: the figures of the last 100 runs, oldest first, for the monitor, the schedule and scripts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from openaq_pipeline.files import replacing, set_aside, storage_error
from openaq_pipeline.model import UNREADABLE
from openaq_pipeline.monitoring.metrics import RunMetrics

NAME = "metrics.json"
KEPT_RUNS = 100


class History(msgspec.Struct, frozen=True):
    """The runs, oldest first; empty without a file. `warning` says in a sentence what is wrong with the file."""

    runs: tuple[RunMetrics, ...] = ()
    warning: str | None = None


class _Document(msgspec.Struct, frozen=True):
    runs: tuple[RunMetrics, ...]


def read(folder: Path) -> History:
    """Return the runs on file, without changing anything. Raises `StorageError` if the file can't be read."""
    path = folder / NAME
    try:
        return History(_decode(path.read_bytes()))
    except FileNotFoundError:
        return History()
    except OSError as error:
        raise storage_error(error, path) from error
    except UNREADABLE:
        return History(warning=f"{NAME} is damaged; the next run sets it aside and begins a new one")


def append(folder: Path, run: RunMetrics, now: datetime) -> str | None:
    """Add a run and drop the oldest beyond 100; return what had to be done about a damaged file, None if nothing.

    Wants the data folder's lock. Raises `StorageError` when the disk refuses; the file is as before then.
    """
    before, warning = read(folder), None
    if before.warning:
        place = set_aside(folder / NAME, now)
        warning = f"{NAME} was damaged and set aside as {place.name}; the history of runs begins anew"
    runs = (*before.runs, run)[-KEPT_RUNS:]
    with replacing(folder / NAME) as file:
        file.write(b'{"runs": [\n' + b",\n".join(map(msgspec.json.encode, runs)) + b"\n]}\n")
    return warning


def _decode(body: bytes) -> tuple[RunMetrics, ...]:
    """Return the runs; raises one of `UNREADABLE`, also for a time without a zone, which compares with no other."""
    runs = msgspec.json.decode(body, type=_Document).runs
    stamps = [run.started for run in runs]
    stamps += [
        sensor.watermark for run in runs for place in run.locations for sensor in place.sensors if sensor.watermark
    ]
    if any(stamp.tzinfo is None for stamp in stamps):
        raise msgspec.ValidationError("times must end in Z or in an offset from UTC")
    return runs
