"""Where an archive goes: a file that is there whole or not at all, and never in the place of another; or stdout."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from openaq_pipeline.errors import ConfigError, LockHeld
from openaq_pipeline.files import FILE_MODE, storage_error, sync_folder, temporary_of
from openaq_pipeline.locks import let_go

STDOUT = 1


@contextmanager
def new_file(path: Path, folder: Path) -> Iterator[IO[bytes]]:
    """Give a binary file that gets the name `path`, durably, when the block ends well; else nothing is left of it.

    What a killed process left unfinished gives way. Raises `ConfigError` if there is something of that name, or it is
    none for a backup of `folder`, `LockHeld` if another process is writing it, and `StorageError`.
    """
    check(path, folder)
    temporary = temporary_of(path)
    try:
        descriptor = _begin(temporary, path)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                yield file
            os.fsync(descriptor)
            _check_free(path)  # no other backup takes it now: that would need the lock of the unfinished file
            temporary.rename(path)
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        finally:
            let_go(descriptor)
    except OSError as error:
        raise storage_error(error, path) from error


def check(path: Path, folder: Path) -> None:
    """Raise `ConfigError` for an output that is in the data folder, in none, or there already."""
    if path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"--output {path} is in the data folder", hint="Name a file outside of it.")
    _check_free(path)
    if not os.path.isdir(path.parent):  # noqa: PTH112 - `Path.is_dir` raises where the disk can't tell
        raise ConfigError(f"There is no folder {path.parent}", hint="Make it first, or name another --output.")


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise ConfigError(f"{path} is there already", hint="Name another --output; a backup never replaces anything.")


def _begin(temporary: Path, path: Path) -> int:
    """Make the unfinished file and lock it, so that it is not taken for one that was left behind."""
    for _ in range(2):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        except FileExistsError:
            _remove_left(temporary, path)
            continue
        if _lock(descriptor) and _is(descriptor, temporary):
            return descriptor
        let_go(descriptor)
    raise _busy(path)


def _remove_left(temporary: Path, path: Path) -> None:
    """Remove what a killed process left; raises `LockHeld` for what is being written."""
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not _lock(descriptor):
            raise _busy(path)
        if _is(descriptor, temporary):
            temporary.unlink()
    finally:
        let_go(descriptor)


def _busy(path: Path) -> LockHeld:
    return LockHeld(f"Another backup is being written to {path}", hint="Wait for it to end, or name another --output.")


def _lock(descriptor: int) -> bool:
    """Lock an open file; False if another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(descriptor: int, path: Path) -> bool:
    """Say whether a name still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def stdout() -> Iterator[IO[bytes]]:
    """Give stdout for an archive; raises `ConfigError` for a terminal, `StorageError` if it takes no more."""
    if os.isatty(STDOUT):
        raise ConfigError("A backup is nothing for a terminal", hint="Send stdout to a file or into a pipe.")
    try:
        with os.fdopen(os.dup(STDOUT), "wb") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise storage_error(error, Path("stdout")) from error
