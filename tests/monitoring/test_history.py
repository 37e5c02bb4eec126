"""`metrics.json`: the last hundred runs, whatever happened to the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.errors import StorageError
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.metrics import LocationMetrics, RunMetrics, SensorMetrics
from openaq_pipeline.reports import Outcome
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


# --- many locations ---


def at(hour: int, *places: LocationMetrics) -> RunMetrics:
    return run(NOW + timedelta(hours=hour), *places)


def place(location_id: int, outcome: Outcome = "ok", sensors: Sequence[str] = ("ok", "ok")) -> LocationMetrics:
    found = [
        SensorMetrics(10 * location_id + number, "pm25", "µg/m³", sensor, 1, 0, 0, 0, NOW, None)
        for number, sensor in enumerate(sensors)
    ]
    return msgspec.structs.replace(location(location_id, outcome), sensors=tuple(found))


def seen(runs: Sequence[RunMetrics]) -> list[dict[int, list[str]]]:
    """Return for each run its locations with the outcomes of their sensors."""
    return [{one.location_id: [sensor.outcome for sensor in one.sensors] for one in run.locations} for run in runs]


def test_what_is_few_enough_stays_as_it_is() -> None:
    runs = (at(0, place(1), place(2, "partial")), at(1, place(1)))
    assert history.bounded(runs, 9) == runs


@pytest.mark.parametrize(
    ("most", "kept"),
    [
        (13, [{1: [], 2: ["failed"], 3: []}, {1: ["ok", "ok"], 2: ["ok", "ok"]}]),
        (8, [{1: [], 2: ["failed"], 3: []}, {1: [], 2: []}]),
        (5, [{2: ["failed"], 3: []}, {1: [], 2: []}]),
        (3, [{3: []}, {1: [], 2: []}]),
        (0, [{3: []}, {1: [], 2: []}]),
    ],
    ids=["good sensors of old runs", "of all runs", "good locations told later", "bad ones told later", "no more"],
)
def test_of_too_many_what_is_least_missed_goes_first(most: int, kept: list[dict[int, list[str]]]) -> None:
    old = at(0, place(1), place(2, "partial", ["failed", "ok"]), place(3))
    assert seen(history.bounded([old, at(1, place(1), place(2))], most)) == kept


def test_sensors_that_failed_go_last_of_all() -> None:
    runs = [at(0, place(1, "failed", ["failed"] * 3)), at(1, place(2, "failed", ["failed"] * 3))]
    assert seen(history.bounded(runs, 5)) == [{1: []}, {2: ["failed"] * 3}]
    assert seen(history.bounded(runs, 2)) == [{1: []}, {2: []}]


outcomes = st.sampled_from(["ok", "partial", "failed"])
places = st.builds(place, st.integers(1, 9), outcomes, st.lists(st.sampled_from(["ok", "failed"]), max_size=3))
histories = st.lists(
    st.lists(places, max_size=6, unique_by=lambda one: one.location_id), max_size=6
).map(lambda all_runs: [at(hour, *found) for hour, found in enumerate(all_runs)])  # fmt: skip


@given(histories, st.integers(0, 80))
def test_however_few_may_stay_the_last_report_of_each_location_does(runs: list[RunMetrics], most: int) -> None:
    def last(runs: Sequence[RunMetrics]) -> dict[int, LocationMetrics]:
        found = {one.location_id: one for run in runs for one in run.locations}
        return {key: msgspec.structs.replace(one, sensors=()) for key, one in found.items()}

    kept = history.bounded(runs, most)
    assert last(kept) == last(runs)
    assert [msgspec.structs.replace(one, locations=()) for one in kept] == [
        msgspec.structs.replace(one, locations=()) for one in runs
    ]
    entries = sum(1 + len(one.sensors) for run in kept for one in run.locations)
    assert entries <= max(most, len(last(runs)))


def test_the_file_of_many_locations_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_ENTRIES", 20)
    for hour in range(30):
        history.append(tmp_path, at(hour, *map(place, range(1, 11))), NOW)
    kept = history.read(tmp_path).runs
    assert [len(one.locations) for one in kept] == [0] * 28 + [10, 10]
    assert all(one.total_locations_processed == 10 for one in kept)


# --- a file that is not as it should be ---


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


def test_totals_grow_with_each_run_and_outlive_the_runs(tmp_path: Path) -> None:
    one = msgspec.structs.replace(run(NOW, location(1), location(2, "failed")), requests_by_status={"200": 2, "429": 1})
    for _ in range(history.KEPT_RUNS + 5):
        history.append(tmp_path, one, NOW)
    totals = history.read(tmp_path).totals
    assert totals is not None
    assert totals.since == NOW
    assert totals.runs == {"partial": 105}
    assert totals.rows == {"new": 210, "revised": 0, "identical": 420, "rejected": 0}
    assert totals.requests == {"200": 210, "429": 105}


def test_a_file_of_an_earlier_version_is_read_and_counted_from_then_on(tmp_path: Path) -> None:
    history.append(tmp_path, run(NOW, location(1)), NOW)
    path = tmp_path / history.NAME
    old = json.loads(path.read_text())
    del old["totals"]
    for each in old["runs"]:
        del each["requests_by_status"]
        for place in each["locations"]:
            del place["quality_score"]
    path.write_text(json.dumps(old))
    found = history.read(tmp_path)
    assert (found.warning, found.totals) == (None, None)
    assert found.runs[0].requests_by_status == {}
    later = NOW + timedelta(hours=1)
    history.append(tmp_path, run(later, location(1)), NOW)
    totals = history.read(tmp_path).totals
    assert totals is not None
    assert (totals.since, totals.runs) == (later, {"complete": 1})
