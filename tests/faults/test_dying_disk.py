"""Disks that give out under the whole program: syncs that fail, a file system gone read-only, sectors that are lost."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alerts.parts import receiver, status
from tests.daemon.conftest import change
from tests.faults import disks, oracle
from tests.faults.conftest import Tally
from tests.faults.whole import Whole, whole


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Whole]:
    """Give a program that has run once, on a disk of its own."""
    with whole(tmp_path) as found:
        yield found


def fill(path: Path) -> None:
    """Write more to a file than the device has room for, a megabyte and a sync at a time."""
    with path.open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(disks.MEGABYTE))
            file.flush()
            os.fsync(file.fileno())


def test_a_sync_that_fails_is_told_and_not_believed_the_second_time_and_after_the_repair_nothing_is_missing(
    tmp_path: Path, program: Whole, tally: Tally
) -> None:
    with disks.thin(tmp_path, 64 * disks.MEGABYTE, 24 * disks.MEGABYTE) as disk, receiver(status(200)) as hook:
        webhook = {"enabled": True, "url": hook.url(), "allow_private": True}
        change(program.program, notifications={"enabled": True, "webhook": webhook})
        program.move_to(disk.folder)
        assert program.program.load().code == 0
        held = oracle.content(program.data)
        with pytest.raises(OSError, match=r"Input/output|Read-only"):
            fill(disk.folder / "other")
        program.hours_pass()
        for _ in range(2):  # the second run finds a file system that is read-only by now
            failed = program.program.load()
            assert failed.code == 1, failed.err
            assert "Input/output error" in failed.err or "Read-only" in failed.err
            assert "Traceback" not in failed.err
        assert "cannot_work" in {one.json["key"] for one in hook.received}
        oracle.check(program.data, held=held)
        disk.give(256 * disks.MEGABYTE)
        disk.unmount()
        disks.run("e2fsck", "-f", "-y", str(disk.image), fine=(0, 1))
        disk.mount()
        oracle.check(program.data, held=held)
        (disk.folder / "other").unlink()
        program.comes_through(held)
    tally(6, "ext4 on a thin device: fsync fails with EIO, then read-only", 1)


def test_a_file_that_the_disk_cannot_read_costs_its_location_and_no_other(
    tmp_path: Path, program: Whole, tally: Tally
) -> None:
    assert program.program.load().code == 0
    bad, good = program.ids
    with disks.ext4(tmp_path, "-O", "^has_journal") as disk:
        place = disk.folder / "file.json"
        shutil.move(program.data / f"location_{bad}.json", place)
        (program.data / f"location_{bad}.json").symlink_to(place)
        assert program.program.load().code == 0
        held = oracle.content(program.data)
        program.hours_pass()
        with disk.ending_in(place):
            failed = program.program.load()
            assert failed.code == 1, f"{failed.code}: {failed.err}"
            assert re.search(f"Location {bad} failed: .*can't be read or written: Input/output error", failed.err), (
                failed.err
            )
            assert f"location {good}: ok, 2 new" in failed.err
        program.comes_through(held)
    tally(6, "sectors under a location's file that can't be read", 1)
