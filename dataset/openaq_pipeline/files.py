"""Files that survive: atomic and durable replacement, setting aside, locks.

A reader sees the old version or the new one, never a mixture, whatever stops the writer; once `replacing` has
ended without an error the new version survives a power cut (Linux, a journalling file system, an honest fsync).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from openaq_pipeline.errors import ConfigError, LockHeld, RetriableError, StorageError

LOCATION_LOCK_SECONDS = 60.0
"""A writer holds a location's lock for one read, merge and write: a minute of waiting means that something hangs."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a binary file that takes the place of `path` when the block ends well; otherwise `path` stays as it was.

    The temporary file has one fixed name beside its target, so the caller must hold the lock that guards `path`,
    and what a killed writer left is overwritten by the next. Raises `StorageError` when the disk refuses.
    """
    target = Path(os.path.realpath(path))  # replacing a link itself would cut it off from the real file
    temporary = temporary_of(target)
    try:
        with _create(temporary, mode=_mode_of(target)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
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


def _create(path: Path, *, mode: int | None) -> IO[bytes]:
    """Open a new file with the permissions of the one it replaces; None: as the umask has it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    if mode is not None:
        os.fchmod(descriptor, mode)
    return os.fdopen(descriptor, "wb")


def _mode_of(path: Path) -> int | None:
    """Return the permissions a file has; None for a new one."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: without it a power cut can bring the old file back after a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path, now: datetime) -> Path:
    """Move a damaged file out of the way, never over another one, and return its new place. Nothing is deleted."""
    stem = f"{path.name}.damaged-{now:%Y%m%dT%H%M%SZ}"
    for number in range(1, 1000):
        place = path.with_name(stem if number == 1 else f"{stem}-{number}")
        try:
            os.link(path, place)  # unlike a rename, a link fails where the name is taken
        except FileExistsError:
            continue
        except OSError as error:
            raise storage_error(error, path) from error
        path.unlink()
        sync_folder(path.parent)
        return place
    raise StorageError(f"{path} could not be set aside", hint="Clear the *.damaged-* files in the data folder.")


def make_folder(folder: Path) -> None:
    """Create the data folder if need be and prove that a file can be replaced in it.

    Raises `ConfigError`: a folder that can't be written is the wrong folder, or has the wrong owner.
    """
    probe = folder / f".probe-{os.getpid()}"  # two starts at once must not trip over each other
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(probe):
            pass
        probe.unlink(missing_ok=True)
    except (OSError, StorageError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"The data folder {folder} can't be used: {reason}",
            hint="Name a folder you may write with --data-dir, DATA_DIR or data.directory in config.yaml.",
        ) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return what an `OSError` means for the user, with what to do."""
    hints = {
        errno.ENOSPC: "Free some disk space; nothing stored was lost, and the next run goes on from there.",
        errno.EDQUOT: "Raise the disk quota; nothing stored was lost, and the next run goes on from there.",
        errno.EROFS: "The file system is read-only: mount it writable or choose another data folder.",
        errno.EACCES: "Give this user write permission, or choose another data folder.",
        errno.EPERM: "Give this user write permission, or choose another data folder.",
    }
    hint = hints.get(error.errno or 0, "Check the disk; nothing stored was lost, and the next run goes on from there.")
    return StorageError(f"{path} can't be written: {error.strerror or error}", hint=hint)


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold the data folder for the life of a poller; a second one gets `LockHeld` at once.

    The operating system drops the lock when its holder dies, so no stale lock is ever left behind.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LockHeld(
            f"Another process is working on {folder}",
            hint="Wait for it to end, or use another data folder with --data-dir.",
        ) from None
    except OSError as error:
        raise storage_error(error, folder / ".lock") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def hold_location(folder: Path, location_id: int) -> Iterator[None]:
    """Hold one location's file for a read, merge and write: poller, backfill and repair may work side by side."""
    locks = folder / ".locks"
    lock = FileLock(locks / f"location_{location_id}.lock", timeout=LOCATION_LOCK_SECONDS)
    try:
        locks.mkdir(exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RetriableError(f"Location {location_id} was locked by another process for a minute") from None
    except OSError as error:
        raise storage_error(error, locks) from error
    try:
        yield
    finally:
        lock.release()
