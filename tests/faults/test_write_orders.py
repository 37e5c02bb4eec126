"""Writes that reach the disk in another order, or in part (scenario 5): every state that a power cut can leave."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults import replay
from tests.faults.conftest import Tally, Times
from tests.faults.replay import Op
from tests.faults.stage import Stage
from tests.faults.test_syscalls import ALL, some
from tests.faults.tracing import needs_strace
from tests.faults.works import WORKS

LEFT_TO_SQLITE = {"budget"}
"""It writes through shared memory, which no trace shows, and is tested by others for just this."""

MOVES_FOLDERS = {"restore"}
"""The replay knows no folder that is renamed: a disk loses its power in `test_restores.py`."""


@pytest.mark.parametrize("name", sorted(WORKS.keys() - LEFT_TO_SQLITE - MOVES_FOLDERS))
def test_every_order_of_writes_that_a_disk_may_choose_is_recovered_from(
    name: str, tmp_path: Path, chance: random.Random, times: Times, tally: Tally
) -> None:
    needs_strace()
    stage = Stage(WORKS[name], tmp_path)
    found = some(stage.cuts(), times(4, ALL), chance)
    for cut in found:
        stage.cut(cut)
    tally(5, "replay of the trace: every state that a power cut can leave", len(found))


def states(folder: Path, *ops: Op) -> set[tuple[tuple[str, bytes], ...]]:
    """Return what a power cut behind the last of some calls can leave."""
    disk = replay.Disk(folder)
    for op in ops:
        disk.apply(op)
    return {tuple(sorted((path, body) for path, (body, _) in tree.items())) for tree in disk.states()}


OLD, NEW, HALF, ZEROS = b"old", b"newnew", b"new", bytes(6)
REPLACING = [
    Op("create", ".file.tmp"),
    Op("write", ".file.tmp", NEW),
    Op("sync", ".file.tmp"),
    Op("rename", ".file.tmp", to="file"),
    Op("sync", ""),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(OLD)
    return tmp_path


def contents(found: set[tuple[tuple[str, bytes], ...]]) -> set[bytes]:
    return {dict(tree)["file"] for tree in found}


def test_what_is_synced_and_moved_and_synced_again_is_certain(folder: Path) -> None:
    assert contents(states(folder, *REPLACING)) == {NEW}


def test_a_move_whose_folder_is_not_synced_may_not_have_been(folder: Path) -> None:
    assert contents(states(folder, *REPLACING[:-1])) == {OLD, NEW}


def test_a_file_that_is_not_synced_may_be_empty_torn_or_zeros_under_its_new_name(folder: Path) -> None:
    ops = [op for op in REPLACING if op != Op("sync", ".file.tmp")]
    assert contents(states(folder, *ops)) == {b"", HALF, ZEROS, NEW}


def test_a_file_written_in_place_may_be_torn(folder: Path) -> None:
    ops = [Op("truncate", "file"), Op("write", "file", NEW)]
    assert {OLD, HALF, ZEROS, NEW} <= contents(states(folder, *ops))


def test_what_is_in_a_folder_that_is_not_certain_may_go_with_it(folder: Path) -> None:
    inside = [op._replace(path=f"new/{op.path}".rstrip("/"), to=f"new/{op.to}") for op in REPLACING]
    found = states(folder, Op("mkdir", "new"), *inside)
    assert {"new/file" in dict(tree) for tree in found} == {True, False}
    assert {"new/file" in dict(tree) for tree in states(folder, Op("mkdir", "new"), Op("sync", ""), *inside)} == {True}


def test_folders_keep_their_own_order_and_not_that_of_others(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    found = states(folder, Op("create", "a/1"), Op("create", "b/1"), Op("create", "a/2"))
    kept = {tuple(path for path, _ in tree if path[-1].isdigit()) for tree in found}
    assert kept == {(), ("a/1",), ("b/1",), ("a/1", "b/1"), ("a/1", "a/2"), ("a/1", "a/2", "b/1")}
