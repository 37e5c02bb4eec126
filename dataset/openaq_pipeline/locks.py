"""Who may work on a data folder: it is made and tried out, held by one poller, each location by one writer at a time.

The operating system lets go of a lock when its last holder ends, however that ends: none is ever left behind.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from openaq_pipeline import restored
from openaq_pipeline.errors import ConfigError, LockHeld, RetriableError, StorageError
from openaq_pipeline.files import FILE_MODE, FOLDER_MODE, give_to_owner, make_durably, replacing, storage_error

LOCK_FILE = ".lock"
LOCK_VARIABLE = "OPENAQ_PIPELINE_LOCK_FD"
"""Names the open lock that the daemon hands to the run it starts."""

PROBE = ".probe"
"""Tried out before the folder's lock is taken, so under another one: see `probing`."""

FULL = {errno.ENOSPC, errno.EDQUOT}
DYING = {errno.EIO, errno.EROFS}
"""What becomes of a disk that was good when the data folder was begun on it."""

LOCATION_LOCK_SECONDS = 60.0
"""A writer holds a location's lock for one read, merge and write: a minute of waiting means that something hangs."""

TRY_AGAIN_SECONDS = 0.05


def make_folder(folder: Path) -> None:
    """Create the data folder if need be, prove that a file can be replaced in it, and finish a restore that was killed.

    Raises `ConfigError`: a folder that can't be written is the wrong folder, or has the wrong owner. A disk that is
    full, or fails under a folder in use, is no fault of the settings: `StorageError`. And as `finish_restore`.
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
    finish_restore(folder)


def finish_restore(folder: Path) -> None:
    """Move into its place what a killed restore had brought here whole; raises `LockHeld` while one is at work."""
    if restored.is_pending(folder):
        with hold_folder(folder):
            restored.finish(folder)


def _is_in_use(folder: Path) -> bool:
    """Say whether a poller has worked on a folder; False where it can't even be looked into."""
    return os.path.lexists(folder / LOCK_FILE)  # not `Path.exists`, which raises where the disk can't tell


@contextmanager
def probing(folder: Path) -> Iterator[Path]:
    """Give the name of a file to try the data folder out with, which goes afterwards. Raises `OSError`.

    Two starts at once must not trip over each other, so each has it alone; what a killed one left goes with the next.
    """
    probe = folder / PROBE
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
            descriptor = _open(path)
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
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        path.parent.mkdir(FOLDER_MODE, exist_ok=True)
        give_to_owner(path.parent)
        descriptor = _open(path)
    try:
        _wait_for(descriptor, time.monotonic() + seconds)
    except BaseException:
        let_go(descriptor)
        raise
    return descriptor


def _open(path: Path) -> int:
    """Open a file to be locked, and make it if need be. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    give_to_owner(path)
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


def let_go(descriptor: int) -> None:
    """Close an open file that was only held: Linux lets go of it whatever it answers, and nothing is lost with it."""
    with suppress(OSError):
        os.close(descriptor)
