"""A served data folder for the tests of the page and its API: two stations, live rows and history, runs and alerts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import requests

from openaq_pipeline.model import LocationState, Measurement, SensorState
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.alerts import Book, OpenCondition, PastCondition
from openaq_pipeline.reports import Condition
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.state import StateFile
from openaq_pipeline.web.server import running
from tests.monitoring.runs import location as outcome
from tests.monitoring.runs import run
from tests.reading import folders

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
SEALED = NOW.replace(day=1, hour=0) - timedelta(days=40)
HOURS = 24 * 100


def lay_out(
    folder: Path, rows: Mapping[int, Sequence[Measurement]], sealed_to: datetime | None = None
) -> dict[int, list[Measurement]]:
    """Lay out stations of two sensors each, read up to their newest row; return what is stored of them."""
    stored = {}
    state, metadata = StateFile(folder), Metadata(folder)
    for location_id, some in rows.items():
        stored[location_id] = folders.store(folder, location_id, some, sealed_to)
        metadata.put(folders.location(location_id))
        newest = max(row.datetime for row in some)
        sensors = {location_id * 10 + place: SensorState(watermark=newest) for place in (1, 2)}
        state.put(location_id, LocationState(NOW, newest, None, sensors))
    metadata.save()
    state.save()
    return stored


def fill(folder: Path) -> dict[int, list[Measurement]]:
    """Lay out two stations with a hundred days of hourly rows each; return the rows by station."""
    first = NOW - timedelta(hours=HOURS - 1)
    rows = lay_out(folder, {number: folders.series(number, first, HOURS) for number in (1, 2)}, SEALED)
    for hours in (3, 2, 1):
        place = outcome(1), outcome(2, "partial" if hours == 2 else "ok", "it answers 500" if hours == 2 else None)
        history.append(folder, run(NOW - timedelta(hours=hours), *place), NOW)
    (folder / ".alerts.json").write_bytes(msgspec.json.encode(book()))
    return rows


def book() -> Book:
    silent = Condition("silent:1", "warning", "Station 1 is silent", "No row since noon", "Look at it")
    slow = Condition("slow", "warning", "OpenAQ is slow", "It took 61 s")
    return Book(
        UUID(int=1),
        open={silent.key: OpenCondition(silent, NOW - timedelta(hours=5), "warning")},
        past=(PastCondition(slow, NOW - timedelta(hours=9), NOW - timedelta(hours=8), told=False),),
    )


def settings(folder: Path) -> Settings:
    return Settings(locations=[1, 2, 3], data_dir=folder)


class Served:
    """A page that answers, and what is in its folder."""

    def __init__(self, folder: Path, address: str, rows: dict[int, list[Measurement]]) -> None:
        self.folder, self.address, self.rows = folder, address, rows

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(self.address + path, headers=headers, timeout=20)

    def json(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    rows = fill(folder)
    with running(settings(folder)) as address:
        yield Served(folder, address, rows)
