"""When the last run began, as the data folder remembers it."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from openaq_pipeline.bounded import BOOK_BYTES, whole
from openaq_pipeline.model import UNREADABLE
from openaq_pipeline.reports import STOPPED

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Run(msgspec.Struct):
    started: datetime
    error: str | None = None


class _Metrics(msgspec.Struct):
    runs: list[_Run]


class _Location(msgspec.Struct):
    last_fetch_time: datetime | None = None


class _State(msgspec.Struct):
    locations: dict[str, _Location]


def last_start(folder: Path) -> datetime | None:
    """Return when the last run began that was not stopped; None: none is known.

    Read from `metrics.json`, or from `.state.json` where that can't be read: others repair it. Without `metrics.json`
    no run has come to its end: one that was killed is made up at once, not an interval after its first location.
    """
    if not os.path.lexists(folder / "metrics.json"):  # not `Path.exists`, which raises where the disk can't tell
        return None
    metrics = _read(folder / "metrics.json", _Metrics)
    if metrics is not None and metrics.runs:
        return next((_aware(run.started) for run in reversed(metrics.runs) if run.error != STOPPED), None)
    state = _read(folder / ".state.json", _State)
    times = [location.last_fetch_time for location in state.locations.values()] if state else []
    return max((_aware(time) for time in times if time is not None), default=None)


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(whole(path, BOOK_BYTES), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE) as error:
        log.warning("%s can't be read (%s); the next run is planned without it", path.name, type(error).__name__)
        return None
