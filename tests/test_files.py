"""Files that survive: what a reader sees, what is left after a crash or a full disk, who holds which lock."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openaq_pipeline import files, locks
from openaq_pipeline.errors import ConfigError, LockHeld, RetriableError, StorageError

DATASET = Path(__file__).resolve().parents[1] / "dataset"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
OLD, NEW = b"old\n", b"new\n"


def replace(path: Path, body: bytes = NEW) -> None:
    with files.replacing(path) as file:
        file.write(body)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "file.json"
    found.write_bytes(OLD)
    return found


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)


# --- replacing ---


def test_the_new_version_takes_the_place_of_the_old_and_leaves_nothing_else(path: Path) -> None:
    replace(path)
    assert path.read_bytes() == NEW
    assert names(path.parent) == {path.name}


def test_until_the_block_ends_readers_see_the_old_version(path: Path) -> None:
    with files.replacing(path) as file:
        file.write(NEW)
        file.flush()
        assert path.read_bytes() == OLD


def test_a_reader_beside_the_writer_never_sees_a_mixture(path: Path) -> None:
    path.write_bytes(b"0" * 100_000)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            time.sleep(0.0002)  # let the writer run
            body = path.read_bytes()
            seen.add(body[:1] * (body.count(body[:1]) // 100_000) + str(len(body)).encode())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 60):
        replace(path, b"%d" % (number % 10) * 100_000)
    done.set()
    reader.join()
    assert seen <= {b"%d100000" % digit for digit in range(10)}
    assert len(seen) > 1


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), StorageError("x")])
def test_an_exception_in_the_block_leaves_the_old_version_and_no_temporary(path: Path, error: BaseException) -> None:
    def fail() -> None:
        with files.replacing(path) as file:
            file.write(NEW)
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert path.read_bytes() == OLD
    assert names(path.parent) == {path.name}


def test_a_disk_error_in_the_block_is_a_storage_error_with_a_hint(path: Path) -> None:
    with pytest.raises(StorageError, match="No space left") as caught, files.replacing(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "Free some disk space" in caught.value.hint
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_permissions_are_kept_whatever_the_umask(path: Path, umask: Callable[[int], int], mode: int) -> None:
    path.chmod(mode)
    umask(0o077)
    replace(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize(("mask", "mode"), [(0o000, 0o640), (0o022, 0o640), (0o077, 0o600)])
def test_a_new_file_is_none_of_others_business_and_a_stricter_umask_counts(
    tmp_path: Path, umask: Callable[[int], int], mask: int, mode: int
) -> None:
    left = files.temporary_of(tmp_path / "new.json")
    left.write_bytes(b"of a killed writer")
    left.chmod(0o777)
    umask(mask)
    replace(tmp_path / "new.json")
    assert stat.S_IMODE((tmp_path / "new.json").stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_run_as_root_leaves_the_file_to_its_owner(path: Path) -> None:
    os.chown(path, 12345, 54321)
    replace(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_away_what_it_made_but_no_second_name_of_anothers_file(path: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, 54321)
    (home / "link").hardlink_to(path)
    (home / "new").touch()
    for name in ("link", "new"):
        files.give_to_owner(home / name)
    assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())
    assert ((home / "new").stat().st_uid, (home / "new").stat().st_gid) == (12345, 54321)


def test_a_link_stays_a_link_and_its_real_file_changes(path: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "file.json"
    link.symlink_to("../file.json")
    replace(link)
    assert link.readlink() == Path("../file.json")
    assert path.read_bytes() == NEW
    assert names(link.parent) == {"file.json"}


def test_a_link_to_nothing_makes_the_file_it_points_to(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    replace(link)
    assert (tmp_path / "real.json").read_bytes() == NEW
    assert link.is_symlink()


def test_what_a_killed_writer_left_is_no_obstacle_and_no_trap(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(OLD)
    files.temporary_of(path).symlink_to(victim)
    replace(path)
    assert path.read_bytes() == NEW
    assert not path.is_symlink()
    assert victim.read_bytes() == OLD


def test_the_temporary_is_hidden_from_every_pattern_for_data(path: Path) -> None:
    with files.replacing(path):
        assert len(list(path.parent.glob("*.json"))) == 1
        assert files.temporary_of(path).exists()


def test_remove_temporary_follows_a_link_to_where_the_writer_left_it(path: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "file.json"
    link.symlink_to(path)
    files.temporary_of(path).write_bytes(b"left")
    files.remove_temporary(link)
    assert names(tmp_path) == {"links", "file.json"}
    files.remove_temporary(link)


@pytest.mark.parametrize("where", ["missing/file.json", "file.json/file.json"])
def test_a_place_that_can_not_be_is_a_storage_error(path: Path, where: str) -> None:
    with pytest.raises(StorageError, match="can't be read or written"):
        replace(path.parent / where)


# --- the same, seen from the system ---

WRITE_ONCE = """
import sys, pathlib
from openaq_pipeline import files
from openaq_pipeline.errors import StorageError
try:
    with files.replacing(pathlib.Path(sys.argv[1])) as file:
        file.write(b"new\\n")
except StorageError:
    sys.exit(9)
"""
CALLS = "openat,write,fchmod,fsync,fdatasync,rename,renameat,renameat2,close"


def strace(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a program that replaces `path` under strace, which looks at nothing but that file and its folder."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: the order of system calls is NOT tested (apt install strace)")
    watched = [flag for place in (path, files.temporary_of(path), path.parent) for flag in ("-P", str(place))]
    command = ["strace", "-f", "-y", "-qq", "-s", "32", *watched, *options]
    done = subprocess.run(
        [*command, sys.executable, "-S", "-c", WRITE_ONCE, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": os.pathsep.join([str(DATASET), *sys.path]), "PATH": os.environ["PATH"]},
    )
    if "PTRACE" in done.stderr:
        pytest.skip(f"strace may not trace here: the order of system calls is NOT tested ({done.stderr.strip()})")
    return done


def test_the_order_is_write_sync_rename_sync_of_the_folder(path: Path) -> None:
    trace = strace(path, "-e", f"trace={CALLS}").stderr
    temporary, folder = re.escape(str(files.temporary_of(path))), re.escape(str(path.parent))
    steps = [
        rf"openat\(.*{temporary}.*O_CREAT\|O_EXCL",
        r"fchmod\(",
        r"write\(.*new\\n",
        rf"fsync\(\d+<{temporary}>\) += 0",
        r"rename(at2?)?\(",
        rf"fsync\(\d+<{folder}>\) += 0",
    ]
    found = [re.search(step, trace) for step in steps]
    assert all(found), trace
    places = [match.start() for match in found if match]
    assert places == sorted(places), trace


@pytest.mark.parametrize(
    ("call", "left"),
    [
        ("fchmod:when=1", {OLD}),
        ("write:when=1", {OLD}),
        ("fsync:when=1", {OLD}),
        ("rename:when=1", {OLD, NEW}),
        ("fsync:when=2", {NEW}),
    ],
)
def test_killed_at_any_step_the_old_or_the_new_version_is_there_whole(path: Path, call: str, left: set[bytes]) -> None:
    name, when = call.split(":")
    done = strace(path, "-e", f"inject={name}:signal=KILL:{when}")
    assert done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}, done.stderr
    assert path.read_bytes() in left
    replace(path, b"next")
    assert path.read_bytes() == b"next"
    assert names(path.parent) == {path.name}


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", ["write:when=1", "fsync:when=1", "rename:when=1", "fsync:when=2"])
def test_a_disk_that_refuses_any_step_is_told_and_leaves_no_temporary(path: Path, call: str, error: str) -> None:
    name, when = call.split(":")
    done = strace(path, "-e", f"inject={name}:error={error}:{when}")
    assert done.returncode == 9, done.stderr
    # When only the folder's sync fails, nobody knows which version a power cut leaves: the caller is told of a failure.
    assert path.read_bytes() == (NEW if call == "fsync:when=2" else OLD)
    assert names(path.parent) == {path.name}


@contextmanager
def tiny_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a file system in memory, which needs root."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tiny file system needs root: a full and a read-only disk are NOT tested")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_the_old_version_and_says_what_to_do_and_heals_when_freed(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "size=64k") as disk:
        path = disk / "file.json"
        replace(path, OLD)
        (disk / "ballast").write_bytes(b"x" * 40_000)
        with pytest.raises(StorageError, match="No space left on device") as caught:
            replace(path, NEW * 20_000)
        assert "Free some disk space" in caught.value.hint
        assert path.read_bytes() == OLD
        assert names(disk) == {"ballast", "file.json"}
        (disk / "ballast").unlink()
        replace(path, NEW * 10_000)
        assert path.read_bytes() == NEW * 10_000


def test_a_read_only_disk_is_the_wrong_folder_and_says_why(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "size=64k,ro") as disk:
        with pytest.raises(ConfigError, match="can't be used: Read-only file system") as caught:
            locks.make_folder(disk)
        assert "--data-dir" in caught.value.hint
        with pytest.raises(StorageError) as refused:
            replace(disk / "file.json")
        assert "mount it writable" in refused.value.hint


def test_a_disk_that_went_read_only_under_a_folder_in_use_is_no_fault_of_the_settings(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "size=64k") as disk:
        with locks.hold_folder(disk):
            pass
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StorageError, match="Read-only"):
            locks.make_folder(disk)


def test_a_full_disk_at_the_start_is_no_fault_of_the_settings(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "size=64k,nr_inodes=2") as disk:
        (disk / "last").touch()
        with pytest.raises(StorageError, match="No space left") as caught:
            locks.make_folder(disk)
        assert "Free some disk space" in caught.value.hint


def test_killed_at_any_moment_a_writer_leaves_an_old_or_a_new_version(path: Path) -> None:
    chance = random.Random(11)
    sizes = set()
    path.write_bytes(b"0" * 1000)
    for _ in range(40):
        child = os.fork()
        if child == 0:
            try:
                for number in range(1, 100_000):
                    replace(path, b"%d" % (number % 10) * (1000 * (1 + number % 10)))
            finally:
                os._exit(1)
        time.sleep(chance.uniform(0.001, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        body = path.read_bytes()
        assert body == body[:1] * (1000 * (1 + int(body[:1])))
        assert names(path.parent) <= {path.name, files.temporary_of(path).name}
        sizes.add(len(body))
    assert len(sizes) > 1, "the writers never got to write"


# --- setting aside ---


def test_setting_aside_moves_the_file_whole(path: Path) -> None:
    place = files.set_aside(path, NOW)
    assert place.name == "file.json.damaged-20261101T120000Z"
    assert place.read_bytes() == OLD
    assert names(path.parent) == {place.name}


def test_setting_aside_never_overwrites_an_earlier_one(path: Path) -> None:
    places = [files.set_aside(path, NOW)]
    for number in range(1, 4):
        path.write_bytes(b"%d" % number)
        places.append(files.set_aside(path, NOW))
    assert [place.read_bytes() for place in places] == [OLD, b"1", b"2", b"3"]
    assert len(set(places)) == 4


def test_keeping_aside_leaves_the_file_until_it_is_replaced(path: Path) -> None:
    place = files.keep_aside(path, NOW)
    assert path.read_bytes() == place.read_bytes() == OLD
    replace(path)
    assert (path.read_bytes(), place.read_bytes()) == (NEW, OLD)


def refuse_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_where_links_are_not_to_be_had_a_copy_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    path.chmod(0o600)
    first = files.set_aside(path, NOW)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600, "a copy is no more open than what it is of"
    path.write_bytes(NEW)
    second = files.keep_aside(path, NOW)
    assert (first.read_bytes(), second.read_bytes(), path.read_bytes()) == (OLD, NEW, NEW)


def test_half_a_copy_is_not_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", refuse_links)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(StorageError, match="No space left"):
        files.set_aside(path, NOW)
    assert names(path.parent) == {path.name}


def test_setting_aside_through_a_link_moves_the_real_file_and_leaves_the_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "data.json"
    link.symlink_to("../file.json")
    place = files.set_aside(link, NOW)
    assert place.parent == tmp_path
    assert place.read_bytes() == OLD
    replace(link)
    assert link.is_symlink()
    assert path.read_bytes() == NEW


def test_setting_aside_what_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        files.set_aside(tmp_path / "none", NOW)
    assert names(tmp_path) == set()


# --- the data folder ---


def test_the_data_folder_is_made_with_those_above_it_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "c"
    locks.make_folder(folder)
    locks.make_folder(folder)
    assert names(folder) == set()


def test_what_a_start_left_that_was_killed_goes_with_the_next(tmp_path: Path) -> None:
    for name in (".probe", "..probe.tmp"):
        (tmp_path / name).write_bytes(OLD)
    locks.make_folder(tmp_path)
    assert names(tmp_path) == set()


def test_starts_that_are_killed_again_and_again_leave_one_probe_and_the_next_takes_it_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        child = os.fork()
        if child == 0:
            monkeypatch.setattr(locks, "make_durably", lambda _: None)  # its own sync is not meant
            monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGKILL))
            locks.make_folder(tmp_path)
        os.waitpid(child, 0)
        assert names(tmp_path) == {"..probe.tmp"}
    locks.make_folder(tmp_path)
    assert names(tmp_path) == set()


def test_every_new_folder_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    files.make_durably(tmp_path / "a" / "b")
    assert synced[-2:] == [tmp_path, tmp_path / "a"]


def test_a_folder_whose_maker_was_killed_before_its_sync_is_made_durable_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    (tmp_path / "left").mkdir()
    files.make_durably(tmp_path / "left")
    files.make_durably(tmp_path / "left")
    assert synced == [tmp_path]


def refusing_to_sync(number: int) -> Callable[[Path], None]:
    def sync(_folder: Path) -> None:
        raise OSError(number, os.strerror(number))

    return sync


def test_a_folder_in_one_that_may_not_be_opened_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(files, "sync_folder", refusing_to_sync(errno.EACCES))
    files.make_durably(tmp_path / "data")
    with pytest.raises(PermissionError):
        files.make_durably(tmp_path / "new")


def test_a_disk_that_fails_to_sync_a_folder_is_told_whoever_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(files, "sync_folder", refusing_to_sync(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        files.make_durably(tmp_path / "data")


def test_letting_go_of_a_lock_is_no_reason_to_fail() -> None:
    locks.let_go(-1)


@pytest.mark.parametrize("where", ["file.json", "file.json/data"])
def test_a_folder_that_can_not_be_is_a_mistake_of_the_settings(path: Path, where: str) -> None:
    with pytest.raises(ConfigError, match="can't be used") as caught:
        locks.make_folder(path.parent / where)
    assert "--data-dir" in caught.value.hint


# --- locks ---


def holder(code: str, folder: Path) -> subprocess.Popen[str]:
    """Start a process that holds a lock, and wait until it does."""
    body = f"import sys, time, pathlib\nfrom openaq_pipeline import locks\nfolder = pathlib.Path(sys.argv[1])\n{code}"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{body}:\n print('held', flush=True); time.sleep(60)", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(DATASET), "PATH": os.environ["PATH"]},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_at_once_and_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    with holder("with locks.hold_folder(folder)", tmp_path) as process:
        began = time.monotonic()
        with pytest.raises(LockHeld, match="Another process is working on") as caught, locks.hold_folder(tmp_path):
            pass
        assert time.monotonic() - began < 5
        assert "--data-dir" in caught.value.hint
        process.kill()
        process.wait()
        with locks.hold_folder(tmp_path):
            pass


def test_two_threads_of_one_process_do_not_share_the_folder(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def hold() -> None:
        try:
            with locks.hold_folder(tmp_path):
                pass
        except LockHeld as error:
            caught.append(error)

    with locks.hold_folder(tmp_path):
        thread = threading.Thread(target=hold)
        thread.start()
        thread.join()
        with pytest.raises(LockHeld), locks.hold_folder(tmp_path):  # nor does the same thread hold it twice
            pass
    assert len(caught) == 1


@pytest.mark.parametrize("lock", [locks.hold_folder, lambda folder: locks.hold_location(folder, 7)])
def test_a_lock_is_free_again_after_an_exception(
    tmp_path: Path, lock: Callable[[Path], AbstractContextManager[None]]
) -> None:
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        _ = 1 / 0
    with lock(tmp_path):
        pass


def test_of_many_threads_one_at_a_time_holds_a_location(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(5):
            with locks.hold_location(tmp_path, 7):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def test_locations_do_not_wait_for_each_other_nor_for_the_folder(tmp_path: Path) -> None:
    with locks.hold_folder(tmp_path), locks.hold_location(tmp_path, 1), locks.hold_location(tmp_path, 2):
        assert (tmp_path / ".locks").is_dir()


def test_a_held_location_is_waited_for_and_then_tried_another_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LOCATION_LOCK_SECONDS", 0.3)
    with holder("with locks.hold_location(folder, 7)", tmp_path) as process:
        began = time.monotonic()
        with (
            pytest.raises(RetriableError, match=r"Location 7 was locked by another process for 0\.3 s") as caught,
            locks.hold_location(tmp_path, 7),
        ):
            pass
        assert 0.25 < time.monotonic() - began < 15
        assert caught.value.hint
        process.kill()
        process.wait()
        with locks.hold_location(tmp_path, 7):
            pass


def test_a_lock_in_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError), locks.hold_location(tmp_path / "none", 7):
        pass
    (tmp_path / ".lock").mkdir()
    with pytest.raises(StorageError), locks.hold_folder(tmp_path):
        pass
