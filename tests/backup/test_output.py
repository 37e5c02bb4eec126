"""The file that a backup goes to: whole or not at all, never in the place of another, and no business of others."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from openaq_pipeline.backup.output import new_file
from openaq_pipeline.backup.writing import back_up
from openaq_pipeline.errors import ConfigError, LockHeld, StorageError
from tests.backup.archives import NOW, content, files, lay_out
from tests.backup.archives import written as done
from tests.faults import disks

HALF = ".b.tar.gz.tmp"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "b.tar.gz"


def write(folder: Path, target: Path, how: Callable[[IO[bytes]], object]) -> None:
    with new_file(target, folder) as file:
        how(file)


def make(folder: Path, target: Path) -> None:
    write(folder, target, lambda file: back_up(folder, file.write, NOW))


def test_it_is_there_whole_and_others_can_not_read_it(folder: Path, target: Path) -> None:
    before = os.umask(0)
    try:
        make(folder, target)
    finally:
        os.umask(before)
    assert content(target.read_bytes()) == files(folder)
    assert target.stat().st_mode & 0o777 == 0o640
    assert not target.with_name(HALF).exists()


@pytest.mark.parametrize("mistake", [ConfigError("no"), StorageError("no"), KeyboardInterrupt(), OSError(5, "no")])
def test_a_backup_that_fails_leaves_nothing(folder: Path, target: Path, mistake: BaseException) -> None:
    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise mistake

    with pytest.raises((type(mistake), StorageError)):
        write(folder, target, fail)
    assert {path.name for path in target.parent.iterdir()} == {"data"}


def test_what_is_there_is_never_replaced_be_it_a_link_to_nowhere(folder: Path, target: Path) -> None:
    target.write_bytes(b"last week's")
    with pytest.raises(ConfigError, match="is there already"):
        make(folder, target)
    assert target.read_bytes() == b"last week's"
    target.unlink()
    target.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="is there already"):
        make(folder, target)


def test_what_appears_meanwhile_is_not_replaced_either(folder: Path, target: Path) -> None:
    with pytest.raises(ConfigError, match="is there already"):
        write(folder, target, lambda _: target.write_bytes(b"another's"))
    assert target.read_bytes() == b"another's"
    assert not target.with_name(HALF).exists()


def test_the_data_folder_is_no_place_for_it_by_whatever_way(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    for place in (folder, folder / "history", tmp_path / "link", tmp_path / "x/../data"):
        with pytest.raises(ConfigError, match="in the data folder"):
            make(folder, place / "b.tar.gz")
    with pytest.raises(ConfigError, match="There is no folder"):
        make(folder, tmp_path / "absent/b.tar.gz")
    with pytest.raises(ConfigError, match="is there already"):
        make(folder, tmp_path)


def test_half_an_archive_of_a_killed_backup_gives_way_but_not_one_that_is_being_written(
    folder: Path, target: Path
) -> None:
    half = target.with_name(HALF)
    half.write_bytes(b"half")
    with half.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LockHeld, match="Another backup"):
            make(folder, target)
    assert half.read_bytes() == b"half"
    make(folder, target)
    assert content(target.read_bytes()) == files(folder)
    assert not half.exists()


def test_a_link_in_the_place_of_the_half_archive_is_not_written_through(folder: Path, target: Path) -> None:
    victim = lay_out(target.parent / "elsewhere", {"victim": b"precious"}) / "victim"
    target.with_name(HALF).symlink_to(victim)
    with pytest.raises(StorageError):
        make(folder, target)
    assert victim.read_bytes() == b"precious"


def test_a_full_disk_leaves_nothing_and_with_room_it_is_made(folder: Path, tmp_path: Path) -> None:
    size = done(folder)[0].archive_bytes
    with disks.tmpfs(tmp_path / "disk", "size=1m") as disk:
        ballast = disks.Ballast(disk)
        for free in range(0, size, 4096):
            ballast.leave(free)
            with pytest.raises(StorageError, match="No space left"):
                make(folder, disk / "b.tar.gz")
            assert [path.name for path in disk.iterdir()] == ["ballast"]
        ballast.drop()
        make(folder, disk / "b.tar.gz")
        assert content((disk / "b.tar.gz").read_bytes()) == files(folder)
