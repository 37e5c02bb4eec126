"""Rows that are no measurements: kept, each once, on disk and in the twin in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from openaq_pipeline.errors import StorageError
from openaq_pipeline.model import Reject
from openaq_pipeline.ports import RejectStore
from openaq_pipeline.storage.rejects import Rejects
from tests.memory import MemoryRejects
from tests.storage.rows import ID, hour, names

ODD = '{"value": "<script>\\n\\u0000 µ"}\n\r\n second line\x85\u2028'


class Store(NamedTuple):
    """A store, and a way to look into it."""

    add: Callable[[int, list[Reject]], None]
    kept: Callable[[int], list[Reject]]


def reject(row: str = "{}", sensors_id: int = 1, reason: str = "no value", seen: float = 0) -> Reject:
    return Reject(ID, sensors_id, reason, row, hour(seen))


def read(folder: Path, location_id: int = ID) -> list[Reject]:
    path = Rejects(folder).path(location_id)
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    assert lines.pop() == b"", "every line ends"
    return [msgspec.json.decode(line, type=Reject) for line in lines]


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        memory = MemoryRejects()
        return Store(memory.add, lambda location_id: memory.rejects.get(location_id, []))
    real: RejectStore = Rejects(tmp_path)
    return Store(real.add, lambda location_id: read(tmp_path, location_id))


def test_a_rejected_row_is_kept_as_it_came_with_its_reason(store: Store) -> None:
    store.add(ID, [reject(ODD, reason="broken\nin two")])
    assert store.kept(ID) == [reject(ODD, reason="broken\nin two")]


def test_rows_are_added_behind_those_there(store: Store) -> None:
    store.add(ID, [reject("1"), reject("2")])
    store.add(ID, [reject("3")])
    assert [kept.row for kept in store.kept(ID)] == ["1", "2", "3"]


def test_the_same_row_seen_again_is_kept_once_as_first_seen(store: Store) -> None:
    store.add(ID, [reject(ODD), reject(ODD, seen=1)])
    store.add(ID, [reject(ODD, seen=2)])
    assert store.kept(ID) == [reject(ODD)]


def test_another_sensor_reason_or_row_makes_another_reject(store: Store) -> None:
    rejects = [reject(), reject("{ }"), reject(sensors_id=2), reject(reason="no time")]
    store.add(ID, rejects)
    assert store.kept(ID) == rejects


def test_locations_are_kept_apart(store: Store) -> None:
    store.add(ID, [reject("1")])
    store.add(8, [reject("1")])
    assert (len(store.kept(ID)), len(store.kept(8))) == (1, 1)


def test_nothing_to_add_is_no_harm(store: Store) -> None:
    store.add(ID, [])
    assert store.kept(ID) == []


# --- on disk only ---


def test_a_new_start_knows_what_is_there(tmp_path: Path) -> None:
    Rejects(tmp_path).add(ID, [reject()])
    Rejects(tmp_path).add(ID, [reject(seen=9)])
    assert read(tmp_path) == [reject()]
    assert names(tmp_path / "rejects") == {"location_7.jsonl"}


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    store = Rejects(tmp_path)
    store.add(ID, [reject()])
    before = store.path(ID).stat()
    store.add(ID, [reject(seen=1)])
    after = store.path(ID).stat()  # whose time of access moves with reading
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("left", [b"half a li", b"\xff\xfe\n", b"{}\n", b"\0" * 50, b"[" * 100_000, b"\n\n"])
def test_what_stands_there_and_can_not_be_read_stays_on_its_own_line(tmp_path: Path, left: bytes) -> None:
    store = Rejects(tmp_path)
    store.path(ID).parent.mkdir()
    store.path(ID).write_bytes(left)
    store.add(ID, [reject()])
    store.add(ID, [reject(seen=1)])
    head = left if left.endswith(b"\n") else left + b"\n"
    assert store.path(ID).read_bytes() == head + msgspec.json.encode(reject()) + b"\n"


def test_threads_of_many_locations_may_make_the_folder_at_once(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        store, gate, errors = Rejects(folder), threading.Barrier(4), list[BaseException]()

        def add(
            location_id: int,
            store: Rejects = store,
            gate: threading.Barrier = gate,
            errors: list[BaseException] = errors,
        ) -> None:
            gate.wait()
            try:
                store.add(location_id, [reject()])
            except StorageError as error:
                errors.append(error)

        threads = [threading.Thread(target=add, args=(location_id,)) for location_id in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []


def test_what_the_disk_refuses_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "rejects").write_text("in the way")
    with pytest.raises(StorageError, match="rejects"):
        Rejects(tmp_path).add(ID, [reject()])
    assert (tmp_path / "rejects").read_text() == "in the way"
