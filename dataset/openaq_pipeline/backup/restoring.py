"""Putting a backup back: all of it into a folder of its own, checked and durable, and then at once into its place."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from openaq_pipeline.backup.manifest import About, Totals
from openaq_pipeline.backup.reading import Archive
from openaq_pipeline.bounded import NOTE_BYTES, whole
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.files import FILE_MODE, FOLDER_MODE, give_to_owner, replacing, storage_error, sync_folder
from openaq_pipeline.locks import hold_folder, make_folder
from openaq_pipeline.model import UNREADABLE
from openaq_pipeline.restored import ABOUT, STAGING, WHOLE, finish

NO_DATA = re.compile(
    r"\.lock|\.locks|\.alerts\.lock|\.probe|\.\..+\.tmp|\.restore|lost\+found"
    r"|pipeline\.log(\.[0-9]+)?|\.?budget-.+\.sqlite(\..+|-.+)?",
    re.DOTALL,
)
"""What may be in a folder that a backup goes into: what a start leaves there before it has stored anything."""


def restore(archive: Archive, folder: Path, *, check: Callable[[], None] = lambda: None) -> Totals | None:
    """Put a backup into a data folder without data, and return what it was; `check` may end it by an error.

    Killed at any moment, it has brought either nothing or everything, and may be started again: None says that this
    very backup was all there already, and only had to be moved into its place. Raises `ConfigError` for a folder that
    has data, `LockHeld` if another process works on it, `StorageError` for a bad archive or disk.
    """
    begun = _begun(folder)
    make_folder(folder)
    if begun == archive.about.id:
        return None
    with hold_folder(folder):
        _check_empty(folder)
        stage = _Stage(folder, check)
        try:
            totals = stage.fill(archive)
        except BaseException:
            shutil.rmtree(folder / STAGING, ignore_errors=True)
            raise
        finish(folder)
    return totals


def _begun(folder: Path) -> str | None:
    """Return which backup is here whole, but not in its place; None: there is none."""
    path = folder / WHOLE / ABOUT
    try:
        return msgspec.json.decode(whole(path, NOTE_BYTES), type=About).id
    except (FileNotFoundError, NotADirectoryError, *UNREADABLE):
        return None
    except OSError as error:
        raise storage_error(error, path) from error


def _check_empty(folder: Path) -> None:
    """Raise `ConfigError` if there is anything in a folder that a restore could get mixed up with."""
    try:
        found = sorted(path.name for path in folder.iterdir() if not NO_DATA.fullmatch(path.name))
    except OSError as error:
        raise storage_error(error, folder) from error
    if found:
        raise ConfigError(
            f"{folder} is not empty: there is {found[0]} in it",
            hint="Move what is there elsewhere, or restore into a new folder with --data-dir.",
        )


class _Stage:
    """The folder in which a restore is made. A sink."""

    def __init__(self, folder: Path, check: Callable[[], None]) -> None:
        self._folder = folder
        self._root = folder / STAGING
        self._check = check

    def fill(self, archive: Archive) -> Totals:
        """Bring all of an archive here, durably, and call it whole."""
        try:
            if self._root.exists():
                shutil.rmtree(self._root)  # of one that was killed
            totals = archive.read(self)
            self._make(self._root)
            with replacing(self._root / ABOUT) as file:
                file.write(msgspec.json.encode(archive.about))
            for place, _, _ in os.walk(self._root, topdown=False):
                sync_folder(Path(place))
            self._root.rename(self._folder / WHOLE)
            sync_folder(self._folder)
        except OSError as error:
            raise storage_error(error, self._root) from error
        return totals

    def take(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """Write a file durably; raises `StorageError`, and what reading raises."""
        path = self._root / name
        try:
            self._make(path.parent)
            self._check_room(size)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    self._check()
                    file.write(piece)
                file.flush()
                os.fsync(descriptor)
            give_to_owner(path)
        except OSError as error:
            raise storage_error(error, path) from error

    def date(self, name: str, mtime_ns: int) -> None:
        """Let a file have the time of change by which the state knows it."""
        with suppress(OSError, OverflowError):  # else the next run looks at it closely
            os.utime(self._root / name, ns=(mtime_ns, mtime_ns))

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it, which are made durable together at the end."""
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(FOLDER_MODE)
        give_to_owner(folder)

    def _check_room(self, size: int) -> None:
        """Raise `OSError` for a file that has no room, before any of it is written."""
        disk = os.statvfs(self._folder)
        if size > disk.f_bavail * disk.f_frsize:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
