"""The folder's lock in the hands of a daemon and of the run it started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openaq_pipeline import locks
from openaq_pipeline.errors import LockHeld


def test_an_heir_of_the_lock_holds_the_folder_together_with_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = locks.take_folder(tmp_path)
    monkeypatch.setenv(locks.LOCK_VARIABLE, str(lock))
    with locks.hold_folder(tmp_path):
        pass
    monkeypatch.delenv(locks.LOCK_VARIABLE)
    with pytest.raises(LockHeld):
        locks.take_folder(tmp_path)  # the heir's end has not unlocked it
    os.close(lock)
    with locks.hold_folder(tmp_path):
        pass


def test_a_number_that_is_not_this_folders_lock_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    ours.mkdir()
    other.mkdir()
    lock, held = locks.take_folder(other), locks.take_folder(ours)
    for number in (str(lock), "0", "99999", "9" * 30, "-1", "x", "", "٣"):
        monkeypatch.setenv(locks.LOCK_VARIABLE, number)
        with pytest.raises(LockHeld):
            locks.take_folder(ours)
    os.close(held)
    with locks.hold_folder(ours):
        pass
    os.close(lock)


def test_a_lock_file_that_was_only_opened_gives_nobody_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = locks.take_folder(tmp_path)
    opened = os.open(tmp_path / locks.LOCK_FILE, os.O_RDWR)
    monkeypatch.setenv(locks.LOCK_VARIABLE, str(opened))
    with pytest.raises(LockHeld):
        locks.take_folder(tmp_path)
    os.close(opened)
    os.close(held)


def test_the_lock_is_not_handed_to_other_programs_that_are_started(tmp_path: Path) -> None:
    lock = locks.take_folder(tmp_path)
    assert not os.get_inheritable(lock)
    os.close(lock)
