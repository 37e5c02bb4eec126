"""Making an archive of a data folder while others write to it: a location at a time, each of one moment.

Files are replaced whole, so a file that was opened stays as it was, whatever takes its place. So the lock of a location
is held while its files are opened, and no lock while they are copied.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self
from uuid import uuid4

import msgspec

from openaq_pipeline import __version__
from openaq_pipeline.backup import names
from openaq_pipeline.backup.manifest import AT_ONCE_BYTES, FORMAT, LIST, VERSION, About, Entry, Lines, Totals
from openaq_pipeline.errors import ConfigError, StorageError
from openaq_pipeline.files import storage_error
from openaq_pipeline.locks import finish_restore, hold_location, let_go
from openaq_pipeline.restored import ABOUT

BLOCK = tarfile.BLOCKSIZE
PACKED, AS_IT_IS = 6, 0
"""Parquet is compressed already: packing it once more takes twenty times as long, for nothing."""


class Written(msgspec.Struct, frozen=True):
    """What was written: of how many locations, which files, and the archive's own size and SHA-256."""

    locations: int
    totals: Totals
    archive_bytes: int
    sha256: str


def back_up(
    folder: Path,
    write: Callable[[bytes], object],
    now: datetime,
    *,
    check: Callable[[], None] = lambda: None,
    watch: Callable[[int, int], None] = lambda _done, _all: None,
) -> Written:
    """Write an archive of a data folder, some bytes at a time, and return what is in it.

    `check` may end it by an error, `watch` hears after each location how many are done, of how many. Raises
    `ConfigError` if there are no data, `StorageError` for a file that can't be read, `RetriableError` for a location
    whose lock another process does not let go of, and what `write` raises.
    """
    finish_restore(folder)
    archive = _Archive(write)
    about = About(FORMAT, VERSION, __version__, now, uuid4().hex)
    with _Opened(folder, [names.STATE]) as first:
        ids = names.locations(folder)
        if not ids and not first.files:
            raise ConfigError(f"There are no data in {folder}", hint="Name the data folder with --data-dir.")
        archive.begin(about)
        archive.add_all(first, check)
    for done, location_id in enumerate(ids, start=1):
        with hold_location(folder, location_id):
            opened = _Opened(folder, names.of_location(folder, location_id))
        with opened:
            archive.add_all(opened, check)
        watch(done, len(ids))
    for name in (*names.LAST, *names.set_aside(folder)):
        with _Opened(folder, [name]) as opened:
            archive.add_all(opened, check)
    return archive.end(len(ids))


class _File(NamedTuple):
    """An open file: its name in the archive, its path, and its size and time of change when it was opened."""

    name: str
    path: Path
    descriptor: int
    size: int
    mtime_ns: int

    def pieces(self) -> Iterator[bytes]:
        """Yield so many bytes as it had when it was opened; raises `StorageError`."""
        left = self.size
        while left:
            try:
                piece = os.read(self.descriptor, min(AT_ONCE_BYTES, left))
            except OSError as error:
                raise storage_error(error, self.path) from error
            if not piece:
                hint = "Keep other programs off the data folder, and make the backup again."
                raise StorageError(f"{self.path} was cut short while it was read", hint=hint)
            yield piece
            left -= len(piece)


class _Opened:
    """Files that were opened at once, those of them that are there; they are closed at the end of a `with` block."""

    def __init__(self, folder: Path, wanted: Iterable[str]) -> None:
        self.files: list[_File] = []
        with ExitStack() as stack:
            for name in wanted:
                if (file := _open(folder / name, name)) is not None:
                    stack.callback(let_go, file.descriptor)
                    self.files.append(file)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _open(path: Path, name: str) -> _File | None:
    """Open a file; None: there is none. Raises `StorageError`, also for what is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # of a pipe nobody would wait for
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, path) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        let_go(descriptor)
        raise StorageError(f"{path} is no file", hint="Move it elsewhere, and make the backup again.")
    return _File(name, path, descriptor, found.st_size, found.st_mtime_ns)


class _Archive:
    """A tar archive, compressed by gzip file by file, each as it is worth: gzip takes what is joined for one."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._list = Lines()
        self._totals = Totals()
        self._sum = hashlib.sha256()
        self._size = 0

    def begin(self, about: About) -> None:
        """Write what the archive is."""
        body = msgspec.json.encode(about)
        self._list.add(about)
        self._put(ABOUT, len(body), [body], about.created.timestamp())

    def add_all(self, opened: _Opened, check: Callable[[], None]) -> None:
        """Write files, and note what they were."""
        for file in opened.files:
            check()
            digest = hashlib.sha256()
            self._put(file.name, file.size, _summed(file.pieces(), digest.update), file.mtime_ns / 1e9)
            entry = Entry(file.name, file.size, digest.hexdigest(), file.mtime_ns)
            self._list.add(entry)
            self._totals = self._totals.and_of(entry)

    def end(self, locations: int) -> Written:
        """Write the list of all files and the end of the archive."""
        self._list.add(self._totals)
        self._put(LIST, self._list.size, self._list.pieces(), 0)
        self._send(zlib.compress(bytes(2 * BLOCK), wbits=31))
        return Written(locations, self._totals, self._size, self._sum.hexdigest())

    def _put(self, name: str, size: int, pieces: Iterable[bytes], changed: float) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = size, int(changed), 0o640
        squeeze = zlib.compressobj(AS_IT_IS if name.endswith(names.PARQUET) else PACKED, wbits=31)
        self._send(squeeze.compress(info.tobuf(tarfile.GNU_FORMAT)))
        for piece in pieces:
            self._send(squeeze.compress(piece))
        self._send(squeeze.compress(bytes(-size % BLOCK)) + squeeze.flush())

    def _send(self, body: bytes) -> None:
        if body:
            self._sum.update(body)
            self._size += len(body)
            self._write(body)


def _summed(pieces: Iterable[bytes], update: Callable[[bytes], object]) -> Iterator[bytes]:
    for piece in pieces:
        update(piece)
        yield piece
