"""The folder's lock in the hands of a daemon and of the run it started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openaq_pipeline import files
from openaq_pipeline.errors import LockHeld


def test_an_heir_of_the_lock_holds_the_folder_together_with_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = files.take_folder(tmp_path)
    monkeypatch.setenv(files.LOCK_VARIABLE, str(lock))
    with files.hold_folder(tmp_path):
        pass
    monkeypatch.delenv(files.LOCK_VARIABLE)
    with pytest.raises(LockHeld):
        files.take_folder(tmp_path)  # the heir's end has not unlocked it
    os.close(lock)
    with files.hold_folder(tmp_path):
        pass


def test_a_number_that_is_not_this_folders_lock_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    ours.mkdir()
    other.mkdir()
    lock, held = files.take_folder(other), files.take_folder(ours)
    for number in (str(lock), "0", "99999", "9" * 30, "-1", "x", "", "٣"):
        monkeypatch.setenv(files.LOCK_VARIABLE, number)
        with pytest.raises(LockHeld):
            files.take_folder(ours)
    os.close(held)
    with files.hold_folder(ours):
        pass
    os.close(lock)


def test_a_lock_file_that_was_only_opened_gives_nobody_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = files.take_folder(tmp_path)
    opened = os.open(tmp_path / files.LOCK_FILE, os.O_RDWR)
    monkeypatch.setenv(files.LOCK_VARIABLE, str(opened))
    with pytest.raises(LockHeld):
        files.take_folder(tmp_path)
    os.close(opened)
    os.close(held)


def test_the_lock_is_not_handed_to_other_programs_that_are_started(tmp_path: Path) -> None:
    lock = files.take_folder(tmp_path)
    assert not os.get_inheritable(lock)
    os.close(lock)
