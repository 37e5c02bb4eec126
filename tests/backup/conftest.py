"""Data folders to be backed up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backup.archives import lay_out
from tests.faults.works import a_folder
from tests.verify.conftest import kept, made  # noqa: F401 - a folder with everything in it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a small data folder of a location with a history, and of each other kind of file at least one."""
    a_folder(tmp_path)
    others = (
        ".location_7.loss",
        ".repair/location_7.json",
        ".backfill/location_7.json",
        ".audit/location_7.json",
        "rejects/location_7.jsonl",
        "licenses.json",
        ".selections.json",
        ".alerts.json",
        "location_7.json.damaged-20261128T120000Z-2",
        "damaged/location_7.2024.measurements.parquet.damaged-20261128T120000Z",
    )
    return lay_out(tmp_path / "data", {name: f"{name}\n".encode() for name in others})
