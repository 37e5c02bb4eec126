"""What the tests of the readers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from openaq_pipeline.model import Measurement
from tests.reading.folders import at, describe, location, series, store, terms, write_terms


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty data folder, whose name is full of what patterns and SQL take for their own."""
    place = tmp_path / "it's [my] data?"
    place.mkdir()
    return place


@pytest.fixture
def rows(folder: Path) -> list[Measurement]:
    """Three locations in the data folder: with history and live rows, only live, only history; all rows in order."""
    found = store(folder, 5, series(5, at("2024-12-20"), 24 * 60, step=6), at("2025-02-01"))
    found += store(folder, 7, series(7, at("2025-02-03"), 48), None)
    found += store(folder, 11, series(11, at("2024-12-01"), 24 * 40, step=12), at("2025-02-01"))
    describe(folder, location(5), location(7), location(11))
    write_terms(folder, terms(41, redistribution=True))
    return found
