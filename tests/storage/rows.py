"""Rows for the tests of the stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from openaq_pipeline.model import Measurement
from tests.measurements import measurement

START = datetime(2026, 10, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ALL = datetime(1, 1, 1, tzinfo=UTC)
ID = 7


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def row(number: float, sensors_id: int = 1, value: float | None = 1.5, location_id: int = ID) -> Measurement:
    return measurement(value, hour(number), first_seen=NOW, sensors_id=sensors_id, location_id=location_id)


def grid(hours: int, sensors: int = 3) -> list[Measurement]:
    """Return a row of each sensor for each hour, in file order."""
    return [row(number, sensors_id) for number in range(hours) for sensors_id in range(1, sensors + 1)]


def as_file(rows: list[Measurement]) -> bytes:
    """Return rows in the form of our files."""
    return b"[\n" + b",\n".join(msgspec.json.encode(row) for row in rows) + b"\n]\n"


def names(folder: Path) -> set[str]:
    """Return the names of the files in a folder, without those of locks."""
    return {path.name for path in folder.iterdir() if path.name not in {".locks", ".lock"}}
