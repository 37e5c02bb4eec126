"""Restores that are killed, cut off by the power, or run out of room: nothing or everything, and a second try works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openaq_pipeline import locks, restored
from openaq_pipeline.backup import restoring
from openaq_pipeline.errors import ConfigError, LockHeld, Stopped, StorageError
from openaq_pipeline.locks import make_folder
from openaq_pipeline.verify import verify
from tests.backup.archives import content, files, lay_out, made, opened, put_back
from tests.faults import disks, light, oracle


class Gone(BaseException):
    """The process is gone."""


def cut_off_after(moves: int, body: bytes, folder: Path) -> Path:
    """Restore, but be gone after so many files are in their place; return the folder."""
    real, left = Path.rename, iter(range(moves + 1))

    def rename(path: Path, to: Path) -> Path:
        if path.parent.name == restored.WHOLE and next(left, None) is None:
            raise Gone
        return real(path, to)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(Gone):
            put_back(body, folder)
    return folder


@pytest.mark.parametrize("moves", [0, 1, 5])
def test_whoever_works_on_the_folder_next_finishes_a_restore_that_was_whole(
    folder: Path, tmp_path: Path, moves: int
) -> None:
    body = made(folder)
    back = cut_off_after(moves, body, tmp_path / "back")
    assert (back / restored.WHOLE).exists()
    make_folder(back)
    assert files(back) == files(folder)
    with pytest.raises(ConfigError, match="is not empty"):
        put_back(body, back)


def test_the_same_restore_again_finishes_it_and_another_one_finds_the_folder_taken(
    folder: Path, tmp_path: Path
) -> None:
    body, other = made(folder), made(folder)
    for name in ("one", "two"):
        cut_off_after(2, body, tmp_path / name)
    assert restoring.restore(opened(body), tmp_path / "one") is None
    with pytest.raises(ConfigError, match="is not empty"):
        put_back(other, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two") == files(folder)


def test_verify_says_that_a_restore_was_cut_off(folder: Path, tmp_path: Path) -> None:
    cut_off_after(3, made(folder), tmp_path / "back")
    told = {(finding.file, finding.rule, finding.severity) for finding in verify(tmp_path / "back", [7]).findings}
    assert (".restored", "unfinished_restore", "error") not in told  # of one location alone it is not asked
    lay_out(tmp_path / "back", {"locations.json": b"[]"})
    told = {(finding.file, finding.rule, finding.severity) for finding in verify(tmp_path / "back").findings}
    assert (".restored", "unfinished_restore", "error") in told


def test_no_backup_is_made_of_half_a_restore(folder: Path, tmp_path: Path) -> None:
    cut_off_after(1, made(folder), tmp_path / "back")
    with locks.hold_folder(tmp_path / "back"), pytest.raises(LockHeld):
        made(tmp_path / "back")
    assert content(made(tmp_path / "back")) == files(folder)


def test_a_folder_at_which_somebody_is_at_work_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    with locks.hold_folder(tmp_path / "back"), pytest.raises(LockHeld):
        put_back(made(folder), tmp_path / "back")
    assert not files(tmp_path / "back")


def test_a_restore_that_is_asked_to_end_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    steps = iter(range(3))

    def check() -> None:
        if next(steps, None) is None:
            raise Stopped("the end")

    with pytest.raises(Stopped):
        restoring.restore(opened(made(folder)), tmp_path / "back", check=check)
    assert [path.name for path in (tmp_path / "back").iterdir()] == [".lock"]


def test_what_root_restores_belongs_to_whom_the_folder_belongs_to(folder: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT tested: to give files away takes root")
    back = tmp_path / "back"
    back.mkdir()
    os.chown(back, 12345, 23456)
    put_back(made(folder), back)
    with locks.hold_location(back, 7):
        pass
    for path in back.rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456), path
        assert path.stat().st_mode & 0o007 == 0


def test_however_little_room_is_left_nothing_stays_and_with_room_it_works(folder: Path, tmp_path: Path) -> None:
    body, failed = made(folder), 0
    with disks.tmpfs(tmp_path / "disk", "size=2m") as disk:
        ballast = disks.Ballast(disk)
        for free in range(0, 200 * 1024, 8 * 1024):
            back = disk / "back"
            back.mkdir(exist_ok=True)
            ballast.leave(free)
            try:
                put_back(body, back)
            except (StorageError, ConfigError):
                failed += 1
                assert {path.name for path in back.rglob("*")} <= {".lock"}
            else:
                break
        ballast.drop()
        if not files(back):
            put_back(body, back)
        assert files(back) == files(folder)
    assert failed > 3


def test_a_state_from_a_backup_goes_on_on_a_machine_whose_clock_is_behind(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert light.store(folder, 0, 5, lambda _: None) == 0
    back = put_back(made(folder), tmp_path / "back")
    assert light.store(back, 3, 6, lambda _: None) == 0
    assert light.store(folder, 3, 6, lambda _: None) == 0
    oracle.check(back, expected=oracle.content(folder), restarted=True)
