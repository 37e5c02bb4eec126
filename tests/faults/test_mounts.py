"""Data folders in odd places (scenario 27): refused at the start with the exact cause, or they work as any other."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from openaq_pipeline.files import keep_elsewhere
from tests.faults import light, oracle
from tests.faults.conftest import Tally
from tests.faults.works import NOW

NOBODY = 65534
LAST = 2


def quiet(_line: str) -> None:
    """Acknowledge nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data folder after some rounds, where anybody may look."""
    found = tmp_path / "data"
    assert light.store(found, 0, LAST, quiet) == 0
    for place in (*tmp_path.parents[:3], tmp_path):
        place.chmod(place.stat().st_mode | 0o011)
    return found


@pytest.fixture
def expected(folder: Path, tmp_path: Path) -> oracle.Content:
    """Return what is there after the next round, undisturbed."""
    shutil.copytree(folder, tmp_path / "next")
    assert light.store(tmp_path / "next", LAST + 1, LAST + 1, quiet) == 0
    return oracle.content(tmp_path / "next")


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """Mount something for a while, which needs root."""
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"NOT tested: folders and files that are mounted, which needs root ({done.stderr.strip()})")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def said_by(folder: Path, capfd: pytest.CaptureFixture[str], *, user: int | None = None) -> tuple[int, str]:
    """Do the next round in a child, as another user perhaps; return its exit code and what it said."""

    def become() -> None:
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)

    null = os.open(os.devnull, os.O_WRONLY)
    child = light.forked(folder, LAST + 1, LAST + 1, null, become)
    os.close(null)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, capfd.readouterr().err


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT tested: files of another user, because only root can give files away")


def test_a_read_only_folder_is_refused_at_the_start(
    folder: Path, capfd: pytest.CaptureFixture[str], tally: Tally
) -> None:
    before = oracle.content(folder)
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        code, said = said_by(folder, capfd)
    assert (code, f"{folder} can't be read or written: Read-only file system" in said) == (light.FAILED, True), said
    assert oracle.content(folder) == before
    tally(27, "bind mount: the folder is read-only", 1)


def test_a_folder_of_another_user_is_refused_at_the_start(
    folder: Path, capfd: pytest.CaptureFixture[str], tally: Tally
) -> None:
    needs_root()
    before = oracle.content(folder)
    code, said = said_by(folder, capfd, user=NOBODY)
    assert (code, "can't be used: Permission denied" in said) == (light.FAILED, True), said
    assert oracle.content(folder) == before
    tally(27, "setuid: the folder is another user's", 1)


def test_a_file_of_another_user_is_told_and_the_others_go_on(
    folder: Path, expected: oracle.Content, capfd: pytest.CaptureFixture[str], tally: Tally
) -> None:
    needs_root()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    locked = folder / "location_7.json"
    os.chown(locked, 0, 0)
    locked.chmod(0o600)
    code, said = said_by(folder, capfd, user=NOBODY)
    assert (code, f"{locked} can't be read or written: Permission denied" in said) == (light.FAILED, True), said
    assert "Give this user permission" in said
    os.chown(locked, NOBODY, NOBODY)
    assert said_by(folder, capfd, user=NOBODY)[0] == 0
    oracle.check(folder, expected=expected, restarted=True)
    tally(27, "setuid: a location's file is another user's", 1)


@pytest.mark.parametrize("name", ["location_7.json", ".state.json"])
def test_a_file_that_is_mounted_by_itself_is_told_with_what_to_do(
    folder: Path, expected: oracle.Content, capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str, tally: Tally
) -> None:
    outside = tmp_path / "outside"
    shutil.copy2(folder / name, outside)
    before = outside.read_bytes()
    with mounted(folder / name, "--bind", str(outside)):
        code, said = said_by(folder, capfd)
        assert (code, f"{folder / name} can't be read or written: Device or resource busy" in said) == (9, True), said
        assert outside.read_bytes() == before
        oracle.check(folder)
    assert said_by(folder, capfd)[0] == 0
    oracle.check(folder, expected=expected, restarted=True)
    tally(27, "bind mount: a single file is mounted", 1)


def test_a_file_that_is_a_link_into_another_file_system_is_kept_there(
    folder: Path, expected: oracle.Content, capfd: pytest.CaptureFixture[str], tmp_path: Path, tally: Tally
) -> None:
    (tmp_path / "elsewhere").mkdir()
    with mounted(tmp_path / "elsewhere", "-t", "tmpfs", "tmpfs") as elsewhere:
        for name in ("location_7.json", ".state.json"):
            shutil.move(folder / name, elsewhere / name)
            (folder / name).symlink_to(elsewhere / name)
        assert said_by(folder, capfd)[0] == 0
        oracle.check(folder, expected=expected, restarted=True)
        assert (folder / "location_7.json").is_symlink()
        assert oracle.temporaries(elsewhere) == []
    tally(27, "symbolic link of a file into another file system", 1)


def test_folders_of_the_data_folder_may_be_on_other_file_systems(
    folder: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path, tally: Tally
) -> None:
    for name in ("history", ".sealed", "rejects"):
        (folder / name).mkdir(exist_ok=True)
    assert light.store(shutil.copytree(folder, tmp_path / "next"), LAST + 1, light.FIRST_MOVE, quiet) == 0
    with mounted(folder / "history", "-t", "tmpfs", "tmpfs"), mounted(folder / ".sealed", "-t", "tmpfs", "tmpfs"):
        null = os.open(os.devnull, os.O_WRONLY)
        child = light.forked(folder, LAST + 1, light.FIRST_MOVE, null)
        os.close(null)
        assert os.waitpid(child, 0) == (child, 0), capfd.readouterr().err
        oracle.check(folder, expected=oracle.content(tmp_path / "next"), restarted=True)
    tally(27, "history and seals on another file system each", 1)


def test_what_is_kept_aside_on_another_file_system_is_copied(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "file").write_bytes(b"body")
    with mounted(tmp_path / "damaged", "-t", "tmpfs", "tmpfs") as place:
        kept = keep_elsewhere(tmp_path / "file", place / "file", NOW)
        assert kept.parent == place
        assert kept.read_bytes() == (tmp_path / "file").read_bytes() == b"body"
    tally(27, "EXDEV: what is set aside goes to another file system", 1)


def test_a_data_folder_behind_a_link_is_used_where_it_is(
    folder: Path, expected: oracle.Content, capfd: pytest.CaptureFixture[str], tmp_path: Path, tally: Tally
) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert said_by(tmp_path / "link", capfd)[0] == 0
    oracle.check(folder, expected=expected, restarted=True)
    tally(27, "symbolic link of the data folder", 1)
