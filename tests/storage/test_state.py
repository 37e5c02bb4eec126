"""What is remembered between runs, on disk and in the twin in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openaq_pipeline.errors import FatalError, StorageError
from openaq_pipeline.model import FileMark, LocationState, SensorState
from openaq_pipeline.ports import StateStore
from openaq_pipeline.storage.pace import BYTES_PER_SECOND, SHARE, Pace
from openaq_pipeline.storage.state import SAVE_EVERY_SECONDS, StateFile
from tests.memory import MemoryState
from tests.often import examples
from tests.storage.rows import ID, NOW, hour, names

FULL = LocationState(
    last_fetch_time=NOW,
    last_successful_run=hour(3),
    file=FileMark(12345, 1_793_000_000_123_456_789),
    sensors={
        1: SensorState(watermark=hour(5), failures=3, parked_until=hour(9), last_error='a "quoted" µ\n', swept=hour(1)),
        2**31 - 1: SensorState(),
    },
)


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    return StateFile(tmp_path) if request.param == "disk" else MemoryState()


def test_nothing_is_remembered_of_an_unknown_location(store: StateStore) -> None:
    assert store.get(ID) == LocationState()


def test_what_was_put_is_remembered(store: StateStore) -> None:
    store.put(ID, FULL)
    store.put(8, LocationState(last_fetch_time=NOW))
    assert store.get(ID) == FULL
    assert store.get(8) == LocationState(last_fetch_time=NOW)


def test_the_last_one_put_counts(store: StateStore) -> None:
    store.put(ID, FULL)
    store.put(ID, LocationState())
    assert store.get(ID) == LocationState()


# --- on disk only ---


def restarted(folder: Path) -> StateFile:
    store = StateFile(folder)
    assert store.load(NOW) is None
    return store


def test_a_new_start_remembers_all_of_it(tmp_path: Path) -> None:
    store = StateFile(tmp_path)
    store.put(ID, FULL)
    assert store.count_run(failed=True) == 1
    store.save()
    again = restarted(tmp_path)
    assert again.get(ID) == FULL
    assert again.count_run(failed=True) == 2
    assert names(tmp_path) == {".state.json"}


def test_the_file_is_versioned_json(tmp_path: Path) -> None:
    store = StateFile(tmp_path)
    store.put(ID, FULL)
    document = json.loads((tmp_path / ".state.json").read_bytes())
    assert document["version"] == 1
    assert document["locations"]["7"]["last_successful_run"] == "2026-10-01T03:00:00Z"
    assert document["locations"]["7"]["sensors"]["1"]["watermark"] == "2026-10-01T05:00:00Z"


def test_failures_in_a_row_end_with_a_run_that_did_not_fail(tmp_path: Path) -> None:
    store = StateFile(tmp_path)
    assert [store.count_run(failed=failed) for failed in (True, True, False, True)] == [1, 2, 0, 1]


def test_saves_are_throttled_and_the_last_word_is_saved(tmp_path: Path) -> None:
    clock = Clock()
    store = StateFile(tmp_path, clock=clock)

    def on_disk() -> set[str]:
        return set(json.loads((tmp_path / ".state.json").read_bytes())["locations"])

    store.put(1, FULL)
    assert on_disk() == {"1"}, "the first is written at once"
    store.put(2, FULL)
    clock.seconds += SAVE_EVERY_SECONDS / 2
    store.put(3, FULL)
    assert on_disk() == {"1"}
    clock.seconds += SAVE_EVERY_SECONDS / 2
    store.put(4, FULL)
    assert on_disk() == {"1", "2", "3", "4"}, "with all that came in between"
    store.put(5, FULL)
    store.save()
    assert on_disk() == {"1", "2", "3", "4", "5"}


def test_a_slow_disk_and_a_large_file_are_written_more_seldom(tmp_path: Path) -> None:
    clock = Clock()

    def slow() -> float:
        clock.seconds += 1.0  # each look takes a second, and so does each write between two looks
        return clock.seconds

    store = StateFile(tmp_path, clock=slow)
    versions = set()
    for number in range(1, 101):
        store.put(number, FULL)
        versions.add((tmp_path / ".state.json").read_bytes())
    assert 2 <= len(versions) <= 100 / SHARE

    pace = Pace(clock, least_seconds=2.0)
    pace.begin()
    pace.wrote(30 * BYTES_PER_SECOND)
    clock.seconds += 29.0
    assert not pace.is_due()
    clock.seconds += 1.0
    assert pace.is_due()


def test_a_location_is_a_line_and_files_of_before_are_read_as_well(tmp_path: Path) -> None:
    store = StateFile(tmp_path)
    store.put(8, LocationState())
    store.put(ID, FULL)
    store.save()
    path = tmp_path / ".state.json"
    lines = path.read_text().splitlines()
    assert [line.split(":")[0] for line in lines[1:-1]] == ['"7"', '"8"']
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    assert restarted(tmp_path).get(ID) == FULL


def test_saving_what_has_not_changed_writes_nothing(tmp_path: Path) -> None:
    store = StateFile(tmp_path)
    store.save()
    assert names(tmp_path) == set()
    store.put(ID, FULL)
    before = (tmp_path / ".state.json").stat()
    store.save()
    assert (tmp_path / ".state.json").stat() == before


def test_a_save_that_failed_is_made_up_for(tmp_path: Path) -> None:
    store = StateFile(tmp_path / "folder")
    with pytest.raises(StorageError):
        store.put(ID, FULL)
    (tmp_path / "folder").mkdir()
    store.save()
    assert restarted(tmp_path / "folder").get(ID) == FULL


def test_threads_may_put_at_once(tmp_path: Path) -> None:
    # Ten seconds from put to put and none while a file is written, which looks three times: every put is a save.
    store = StateFile(tmp_path, clock=(10.0 * (look // 3) for look in count()).__next__)

    def put(first: int) -> None:
        for number in range(10):
            store.put(first + number, FULL)

    threads = [threading.Thread(target=put, args=(1 + 10 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = restarted(tmp_path)
    assert all(again.get(location_id) == FULL for location_id in range(1, 41))


def good() -> dict[str, Any]:
    return {
        "version": 1,
        "locations": {"7": {"sensors": {"1": {"watermark": "2026-10-01T05:00:00Z"}}}},
        "consecutive_failures": 2,
    }


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = good()
    change(document)
    return json.dumps(document).encode()


def sensor(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["locations"]["7"]["sensors"]["1"]
    return found


BAD = {
    "empty": b"",
    "half": json.dumps(good()).encode()[:60],
    "NULs": b"\0" * 512,
    "a list": b"[]",
    "null": b"null",
    "an empty object": b"{}",
    "no UTF-8": json.dumps(good()).encode().replace(b"version", b"versi\xffn"),
    "no UTF-8 in a value": changed(lambda d: sensor(d).update(last_error="x")).replace(b'"x"', b'"\xff"'),
    "nested without end": b'{"version": 1, "x": ' + b"[" * 100_000,
    "without a version": changed(lambda d: d.pop("version")),
    "a version in words": changed(lambda d: d.update(version="1")),
    "a version that never was": changed(lambda d: d.update(version=0)),
    "without locations": changed(lambda d: d.pop("locations")),
    "a list of locations": changed(lambda d: d.update(locations=[])),
    "a location that is no number": changed(lambda d: d.update(locations={"seven": {}})),
    "a watermark that is a number": changed(lambda d: sensor(d).update(watermark=5)),
    "a watermark that is no time": changed(lambda d: sensor(d).update(watermark="soon")),
    "a watermark without a zone": changed(lambda d: sensor(d).update(watermark="2026-10-01T05:00:00")),
    "parked without a zone": changed(lambda d: sensor(d).update(parked_until="2026-10-01T05:00:00")),
    "swept without a zone": changed(lambda d: sensor(d).update(swept="2026-10-01T05:00:00")),
    "a run without a zone": changed(lambda d: d["locations"]["7"].update(last_successful_run="2026-10-01T05:00:00")),
    "failures in words": changed(lambda d: sensor(d).update(failures="many")),
}


def test_the_example_that_the_bad_ones_are_made_of_is_good(tmp_path: Path) -> None:
    (tmp_path / ".state.json").write_bytes(json.dumps(good()).encode())
    assert restarted(tmp_path).get(ID).sensors[1].watermark == hour(5)


def test_a_missing_state_is_an_empty_one(tmp_path: Path) -> None:
    assert restarted(tmp_path).get(ID) == LocationState()


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_state_is_set_aside_and_counts_as_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / ".state.json"
    path.write_bytes(BAD[name])
    store = StateFile(tmp_path)
    assert "was damaged and set aside as .state.json.damaged-20261101T120000Z" in (store.load(NOW) or "")
    assert store.get(ID) == LocationState()
    assert store.count_run(failed=True) == 1
    assert (tmp_path / ".state.json.damaged-20261101T120000Z").read_bytes() == BAD[name]
    assert not path.exists()
    store.put(ID, FULL)
    assert restarted(tmp_path).get(ID) == FULL


@pytest.mark.parametrize("name", BAD)
def test_one_who_only_looks_moves_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / ".state.json").write_bytes(BAD[name])
    (tmp_path / "..state.json.tmp").write_bytes(b"somebody is writing")
    assert "is damaged" in (StateFile(tmp_path).load(NOW, repair=False) or "")
    assert names(tmp_path) == {".state.json", "..state.json.tmp"}
    assert (tmp_path / ".state.json").read_bytes() == BAD[name]


@pytest.mark.parametrize("repair", [True, False])
def test_a_state_of_a_newer_version_stops_the_run_and_stays_as_it_is(tmp_path: Path, *, repair: bool) -> None:
    body = json.dumps({"version": 2, "locations": "something new"}).encode()
    (tmp_path / ".state.json").write_bytes(body)
    with pytest.raises(FatalError, match="newer version") as caught:
        StateFile(tmp_path).load(NOW, repair=repair)
    assert "Update" in caught.value.hint
    assert (tmp_path / ".state.json").read_bytes() == body
    assert names(tmp_path) == {".state.json"}


def test_a_start_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    (tmp_path / "..state.json.tmp").write_bytes(b"half")
    restarted(tmp_path)
    assert names(tmp_path) == set()


def test_what_the_disk_refuses_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / ".state.json").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        StateFile(tmp_path).load(NOW)


times = st.none() | st.integers(-10_000, 10_000).map(hour)
sensors = st.builds(
    SensorState, watermark=times, failures=st.integers(0, 99), parked_until=times, last_error=st.none() | st.text(),
    swept=times,
)  # fmt: skip
states = st.builds(
    LocationState,
    last_fetch_time=times,
    last_successful_run=times,
    file=st.none() | st.builds(FileMark, st.integers(0, 2**60), st.integers(0, 2**62)),
    sensors=st.dictionaries(st.integers(1, 2**31 - 1), sensors, max_size=3),
)


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=st.dictionaries(st.integers(1, 2**31 - 1), states, max_size=4))
def test_any_state_survives_a_start(tmp_path: Path, known: dict[int, LocationState]) -> None:
    store = StateFile(tmp_path)
    for location_id, state in known.items():
        store.put(location_id, state)
    store.save()
    again = restarted(tmp_path)
    for location_id, state in known.items():
        assert again.get(location_id) == state
