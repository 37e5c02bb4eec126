"""Files that survive: atomic and durable replacement, setting aside, locks.

A reader sees the old version or the new one, never a mixture, whatever stops the writer; once `replacing` has
ended without an error the new version survives a power cut (Linux, a journalling file system, an honest fsync).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from openaq_pipeline import pulse
from openaq_pipeline.errors import ConfigError, LockHeld, RetriableError, StorageError

LOCK_FILE = ".lock"
LOCK_VARIABLE = "OPENAQ_PIPELINE_LOCK_FD"
"""Names the open lock that the daemon hands to the run it starts."""

FULL = {errno.ENOSPC, errno.EDQUOT}
DYING = {errno.EIO, errno.EROFS}
"""What becomes of a disk that was good when the data folder was begun on it."""

OTHERS_FOLDER = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EROFS}
"""Why a folder that somebody else has made may not be synced, or not be synced at all."""

LOCATION_LOCK_SECONDS = 60.0
"""A writer holds a location's lock for one read, merge and write: a minute of waiting means that something hangs."""

TRY_AGAIN_SECONDS = 0.05

FILE_MODE, FOLDER_MODE = 0o640, 0o750
"""Of what is made new in a folder of ours: its group may read, others nothing. A stricter umask takes away more."""

USERS_OWN_MODE = 0o666
"""Of what a user asks for by name, such as an export: as his umask has it, like every other program's output."""


@contextmanager
def replacing(path: Path, *, mode: int = FILE_MODE) -> Iterator[IO[bytes]]:
    """Give a binary file that takes the place of `path` when the block ends well; otherwise `path` stays as it was.

    A file that was there keeps its owner and permissions, a new one has `mode`, less the umask. The temporary file has
    one fixed name beside its target, so the caller must hold the lock that guards `path`, and what a killed writer left
    is overwritten by the next. Raises `StorageError` when the disk refuses.
    """
    target = _real(path)  # replacing a link itself would cut it off from the real file
    temporary = temporary_of(target)
    try:
        with _create(temporary, mode, like=target) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
        pulse.beat()  # a slow disk is no hang
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise storage_error(error, target) from error
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def temporary_of(path: Path) -> Path:
    """Return where `replacing` prepares the next version of `path`: hidden, so that no `*.json` pattern matches it."""
    return path.with_name(f".{path.name}.tmp")


def remove_temporary(path: Path) -> None:
    """Remove what a killed writer of `path` left; wants the lock that guards it. Raises `OSError`."""
    temporary_of(_real(path)).unlink(missing_ok=True)


def _real(path: Path) -> Path:
    """Return what a link leads to; a file that is none stays as it is named, be its folder behind a link or not."""
    # Not `Path.is_symlink`, which raises where a folder may not be looked into: who opens the file says that better.
    return Path(os.path.realpath(path)) if os.path.islink(path) else path  # noqa: PTH114


def _create(path: Path, mode: int, *, like: Path) -> IO[bytes]:
    """Open a new file with the owner, where allowed, and the permissions of `like`; without one with `mode`."""
    path.unlink(missing_ok=True)  # what a killed writer left may have another owner, or be a link
    return _new(path, mode, like=like)


def _new(path: Path, mode: int, *, like: Path) -> IO[bytes]:
    """Open a file that is not there yet, as `_create` says; raises `FileExistsError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    file = os.fdopen(descriptor, "wb")
    try:
        _make_alike(descriptor, like)
    except BaseException:
        file.close()
        raise
    return file


def _make_alike(descriptor: int, like: Path) -> None:
    """Give an open file the owner, where allowed, and the permissions of another, if there is one."""
    try:
        stat = like.stat()
    except FileNotFoundError:
        return
    with suppress(OSError):  # a run as root must not take the file away from its user; others can't give files away
        os.fchown(descriptor, stat.st_uid, stat.st_gid)
    os.fchmod(descriptor, stat.st_mode & 0o777)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: without it a power cut can bring the old file back after a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path, now: datetime) -> Path:
    """Move a damaged file out of the way, never over another one, and return its new place. Nothing is deleted."""
    place = keep_aside(path, now)
    remove_durably(path)
    return place


def keep_aside(path: Path, now: datetime) -> Path:
    """Give a file a second, durable name beside it, never another one's, and return that; `path` stays for now.

    What replaces `path` afterwards leaves the second name with the old bytes.
    """
    real = Path(os.path.realpath(path))
    return _keep(real, real.with_name(f"{real.name}.damaged-{now:%Y%m%dT%H%M%SZ}"))


def keep_elsewhere(path: Path, place: Path, now: datetime) -> Path:
    """Give a file a second, durable name in another folder, as `keep_aside` does beside it, and return that.

    For folders whose readers take every file in them for data. `place` lacks the time, which is added.
    """
    try:
        make_durably(place.parent)
    except OSError as error:
        raise storage_error(error, place.parent) from error
    return _keep(Path(os.path.realpath(path)), place.with_name(f"{place.name}.damaged-{now:%Y%m%dT%H%M%SZ}"))


def remove_durably(path: Path) -> None:
    """Remove a file so that no power cut brings it back; raises `StorageError` when the disk refuses."""
    real = Path(os.path.realpath(path))  # a link stays: the next version belongs where it points
    try:
        real.unlink()
        sync_folder(real.parent)
    except OSError as error:
        raise storage_error(error, path) from error


def _keep(path: Path, first: Path) -> Path:
    """Give a file the name `first`, or that with a number where it is taken; durable when it returns."""
    for number in range(1, 1000):
        place = first if number == 1 else first.with_name(f"{first.name}-{number}")
        try:
            _name_twice(path, place)
            sync_folder(place.parent)
        except FileExistsError:
            continue
        except OSError as error:
            raise storage_error(error, path) from error
        return place
    raise StorageError(f"{path} could not be set aside", hint="Clear the *.damaged-* files in the data folder.")


def _name_twice(path: Path, place: Path) -> None:
    """Link `place` to the same file; where links are not to be had, copy it. Raises `FileExistsError` if taken."""
    try:
        os.link(path, place)  # unlike a rename, a link fails where the name is taken
    except FileExistsError:
        raise
    except OSError:  # FAT has no links, and Linux refuses them for files of others
        _copy(path, place)


def _copy(path: Path, place: Path) -> None:
    """Copy a file durably to a name that is not taken; half a copy does not stay. Raises `OSError`."""
    with path.open("rb") as old, _new(place, FILE_MODE, like=path) as new:
        try:
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
        except BaseException:
            place.unlink()
            raise


def make_folder(folder: Path) -> None:
    """Create the data folder if need be and prove that a file can be replaced in it.

    Raises `ConfigError`: a folder that can't be written is the wrong folder, or has the wrong owner. A disk that is
    full, or fails under a folder in use, is no fault of the settings: `StorageError`.
    """
    try:
        make_durably(folder)
        with probing(folder) as probe, replacing(probe):
            pass
    except (OSError, StorageError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and (cause.errno in FULL or (cause.errno in DYING and _is_in_use(folder))):
            raise storage_error(cause, folder) from error
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
        raise ConfigError(
            f"The data folder {folder} can't be used: {reason}",
            hint="Name a folder you may write with --data-dir, DATA_DIR or data.directory in config.yaml.",
        ) from error


def _is_in_use(folder: Path) -> bool:
    """Say whether a poller has worked on a folder; False where it can't even be looked into."""
    return os.path.lexists(folder / LOCK_FILE)  # not `Path.exists`, which raises where the disk can't tell


@contextmanager
def probing(folder: Path) -> Iterator[Path]:
    """Give the name of a file to try the data folder out with, which goes afterwards. Raises `OSError`.

    Two starts at once must not trip over each other, so each has it alone; what a killed one left goes with the next.
    """
    probe = folder / ".probe"
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for(descriptor, time.monotonic() + LOCATION_LOCK_SECONDS)  # of the folder itself: that leaves no file
        try:
            yield probe
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
    finally:
        let_go(descriptor)


def make_durably(folder: Path) -> None:
    """Create a folder and those above it, each so that a power cut does not take it away with all that is in it.

    One that is there already is made durable too, once a process: who made it may have been killed before that.
    """
    made = not folder.is_dir()
    if not made and folder in _durable:
        return
    if made and folder.parent != folder:
        make_durably(folder.parent)
    if made:
        folder.mkdir(FOLDER_MODE, exist_ok=True)
    try:
        sync_folder(folder.parent)
    except OSError as error:
        if made or error.errno not in OTHERS_FOLDER:
            raise
    _durable.add(folder)


_durable: set[Path] = set()
"""The folders that this process has seen to."""


def exists(path: Path) -> bool:
    """Say whether there is something under a name; raises `StorageError` where the disk does not tell."""
    try:
        return path.exists()
    except OSError as error:
        raise storage_error(error, path) from error


def let_go(descriptor: int) -> None:
    """Close an open file that was only held: Linux lets go of it whatever it answers, and nothing is lost with it."""
    with suppress(OSError):
        os.close(descriptor)


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return what an `OSError` means for the user, with what to do."""
    hints = {
        errno.ENOSPC: "Free some disk space; nothing stored was lost, and the next run goes on from there.",
        errno.EDQUOT: "Raise the disk quota; nothing stored was lost, and the next run goes on from there.",
        errno.EBUSY: "If it is mounted by itself (in a container?), mount its folder: files are replaced whole.",
        errno.EROFS: "The file system is read-only: mount it writable or choose another data folder.",
        errno.EACCES: "Give this user permission to read and write it, or choose another data folder.",
        errno.EPERM: "Give this user permission to read and write it, or choose another data folder.",
    }
    hint = hints.get(error.errno or 0, "Check the disk; nothing stored was lost, and the next run goes on from there.")
    return StorageError(f"{path} can't be read or written: {error.strerror or error}", hint=hint)


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold the data folder for the life of a poller; a second one gets `LockHeld` at once.

    The operating system drops the lock when its last holder dies, so no stale lock is ever left behind. A run that
    the daemon started holds it together with the daemon (see `take_folder`).
    """
    descriptor = take_folder(folder)
    try:
        yield
    finally:
        let_go(descriptor)


def take_folder(folder: Path) -> int:
    """Lock the data folder and return the open file that holds it: whoever inherits that holds it too.

    It is locked until every copy of the file is closed, so it must be closed and never unlocked. A copy inherited
    under the number in `OPENAQ_PIPELINE_LOCK_FD` is taken if it is this folder's. Raises `LockHeld` if another
    process has it.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = _inherited(path)
        if descriptor is None:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # once more changes nothing for an heir
        except BaseException:
            let_go(descriptor)
            raise
    except BlockingIOError:
        raise LockHeld(
            f"Another process is working on {folder}",
            hint="Wait for it to end, or use another data folder with --data-dir.",
        ) from None
    except OSError as error:
        raise storage_error(error, path) from error
    return descriptor


def _inherited(path: Path) -> int | None:
    """Return a copy of the lock this process was born with; None if there is none, or it is another folder's."""
    number = os.environ.get(LOCK_VARIABLE, "")
    if not (number.isascii() and number.isdigit()):
        return None
    try:
        if not os.path.samestat(os.fstat(int(number)), path.stat()):
            return None
        return os.dup(int(number))  # not inheritable, and closing it leaves the original open
    except (OSError, OverflowError):
        return None


def hold_location(folder: Path, location_id: int) -> AbstractContextManager[None]:
    """Hold one location's file for a read, merge and write: poller, backfill and repair may work side by side."""
    return _hold(folder, f"location_{int(location_id)}", f"Location {location_id}")


def hold_descriptions(folder: Path) -> AbstractContextManager[None]:
    """Hold `locations.json` for a read, merge and write; never a location's lock inside it."""
    return _hold(folder, "locations", "The list of locations")


@contextmanager
def _hold(folder: Path, name: str, what: str) -> Iterator[None]:
    """Hold one of the short locks, which is let go with the process at the latest."""
    locks = folder / ".locks"
    try:
        descriptor = take_lock(locks / f"{name}.lock", LOCATION_LOCK_SECONDS)
    except BlockingIOError:
        raise RetriableError(
            f"{what} was locked by another process for {LOCATION_LOCK_SECONDS:g} s",
            hint="Look for a backfill or repair that hangs; the next run tries again.",
        ) from None
    except OSError as error:
        raise storage_error(error, locks) from error
    try:
        yield
    finally:
        let_go(descriptor)


def take_lock(path: Path, seconds: float) -> int:
    """Lock a file, made with its folder if need be, and return the open file that holds the lock until it is closed.

    Raises `BlockingIOError` if another, be it of this process, still has it after so many seconds, and `OSError`.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, FILE_MODE)
    except FileNotFoundError:
        path.parent.mkdir(FOLDER_MODE, exist_ok=True)
        descriptor = os.open(path, flags, FILE_MODE)
    try:
        _wait_for(descriptor, time.monotonic() + seconds)
    except BaseException:
        let_go(descriptor)
        raise
    return descriptor


def _wait_for(descriptor: int, until: float) -> None:
    """Lock an open file by a monotonic time; raises `BlockingIOError` where another has it still."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
        else:
            return
        time.sleep(TRY_AGAIN_SECONDS)
