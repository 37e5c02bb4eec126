"""`metrics.json`: the last hundred runs, whatever happened to the file."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openaq_pipeline.errors import StorageError
from openaq_pipeline.monitoring import history
from tests.monitoring.runs import location, run

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

DAMAGED = {
    "empty": b"",
    "half": b'{"runs": [{"started": "2026-11-23T1',
    "not JSON": b"runs: none",
    "NULs": bytes(64),
    "a list": b"[]",
    "wrong types": b'{"runs": [{"started": 5}]}',
    "no zone": b"",  # written by the test
    "not UTF-8": b'{"runs": "\xff"}',
    "deep": b"[" * 100_000,
}


def test_a_folder_without_a_file_has_no_runs_and_no_warning(tmp_path: Path) -> None:
    assert history.read(tmp_path) == history.History()
    assert not list(tmp_path.iterdir())


def test_what_is_appended_is_read_back_oldest_first(tmp_path: Path) -> None:
    runs = [run(NOW + timedelta(hours=hour), location(1)) for hour in range(3)]
    assert [history.append(tmp_path, one, NOW) for one in runs] == [None, None, None]
    assert history.read(tmp_path).runs == tuple(runs)


def test_scripts_find_the_names_of_the_contract(tmp_path: Path) -> None:
    history.append(tmp_path, run(NOW, location(1)), NOW)
    (found,) = json.loads((tmp_path / "metrics.json").read_text())["runs"]
    assert found.keys() >= {
        *("total_records_fetched", "total_records_deduplicated", "total_locations_processed"),
        *("successful_locations", "failed_locations", "duration_seconds", "consecutive_failures"),
        *("requests", "slowest_response_seconds", "quality_score", "locations"),
    }


def test_only_the_last_hundred_runs_are_kept(tmp_path: Path) -> None:
    for minute in range(103):
        history.append(tmp_path, run(NOW + timedelta(minutes=minute), location(1)), NOW)
    kept = history.read(tmp_path).runs
    assert len(kept) == 100
    assert (kept[0].started, kept[-1].started) == (NOW + timedelta(minutes=3), NOW + timedelta(minutes=102))


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_set_aside_whole_and_a_new_one_begun(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "metrics.json"
    body = DAMAGED[kind]
    if kind == "no zone":
        history.append(tmp_path, run(NOW, location(1)), NOW)
        body = path.read_bytes().replace(b"12:00:00Z", b"12:00:00")
    path.write_bytes(body)
    looked = history.read(tmp_path)
    assert looked.runs == ()
    assert looked.warning is not None
    assert path.read_bytes() == body, "a look changes nothing"
    warning = history.append(tmp_path, run(NOW, location(1)), NOW)
    assert warning is not None
    assert "set aside" in warning
    (aside,) = tmp_path.glob("metrics.json.damaged-*")
    assert aside.read_bytes() == body
    assert len(history.read(tmp_path).runs) == 1


def test_names_added_by_a_newer_version_do_not_make_a_file_damaged(tmp_path: Path) -> None:
    history.append(tmp_path, run(NOW, location(1)), NOW)
    path = tmp_path / "metrics.json"
    path.write_bytes(path.read_bytes().replace(b'{"started"', b'{"later": 1, "started"'))
    assert history.read(tmp_path).warning is None


def test_a_file_that_cannot_be_read_is_an_error_and_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(StorageError):
        history.append(tmp_path, run(NOW, location(1)), NOW)
    assert (tmp_path / "metrics.json").is_dir()
