"""What killed writers have left of a location's files goes when it is next worked on, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from openaq_pipeline.storage import leftovers
from openaq_pipeline.storage.locations import LocationFiles

LEFT = [
    ".location_7.json.tmp",
    ".location_7.loss.tmp",
    ".sealed/.location_7.json.tmp",
    ".backfill/.location_7.json.tmp",
    ".repair/.location_7.json.tmp",
    "rejects/.location_7.jsonl.tmp",
]
OTHERS = ["location_7.json", ".location_8.json.tmp", "rejects/.location_77.jsonl.tmp", ".state.json.tmp", ".tmp"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*LEFT, *OTHERS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def there(folder: Path, names: list[str]) -> list[str]:
    return [name for name in names if (folder / name).exists()]


def test_who_holds_a_location_clears_what_was_left_of_it_and_leaves_all_else(folder: Path) -> None:
    with LocationFiles(folder).lock(7):
        assert there(folder, LEFT) == []
    assert there(folder, OTHERS) == OTHERS


def test_a_new_data_folder_has_none(tmp_path: Path) -> None:
    assert leftovers.find(tmp_path) == {}


def test_what_is_written_while_another_looks_is_not_touched(folder: Path) -> None:
    files = LocationFiles(folder)
    with files.lock(8):  # it has looked by now
        pass
    new = folder / ".location_8.json.tmp"
    new.touch()
    with files.lock(7):
        assert new.exists()
