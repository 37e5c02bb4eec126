"""Reading an archive that may be anything: only what this program writes is let through, and all of it is checked.

A tar file can hold links, devices, names that lead elsewhere, and headers that take any amount of memory to read.
None of that is in ours, so its headers are read here, one block each; what is not an ordinary file with one of our
names, behind the one before it in our order, ends the reading.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

import msgspec

from openaq_pipeline.backup.manifest import (
    AT_ONCE_BYTES,
    FORMAT,
    LINE_BYTES,
    LIST,
    VERSION,
    About,
    Entry,
    Lines,
    Totals,
    lines_of,
)
from openaq_pipeline.backup.names import Place, place_of
from openaq_pipeline.errors import ConfigError, FatalError, StorageError
from openaq_pipeline.files import storage_error
from openaq_pipeline.restored import ABOUT

BLOCK = tarfile.BLOCKSIZE
ANOTHER = "Use another backup; nothing was restored."

UNLIKE_OURS = (ValueError, tarfile.TarError, msgspec.DecodeError)
"""What reading raises for what this program has not written, or not so."""


class Sink(Protocol):
    """What becomes of the files of an archive."""

    def take(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """Take a file with all of its bytes."""

    def date(self, name: str, mtime_ns: int) -> None:
        """Hear when a file that was taken had changed; in the order in which they were taken, after all of them."""


class Nowhere:
    """A sink that only looks."""

    def take(self, name: str, size: int, pieces: Iterable[bytes]) -> None:  # noqa: ARG002 - Sink has them
        """Read a file."""
        for _ in pieces:
            pass

    def date(self, name: str, mtime_ns: int) -> None:
        """Do nothing."""


class Archive:
    """An archive that was opened. `about` is what it says of itself, before anything in it was checked.

    Raises `ConfigError` for a file that is no backup, `FatalError` for one of a newer version.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._name = name
        self._file = gzip.GzipFile(fileobj=file)
        self.about = self._begin()

    def read(self, sink: Sink) -> Totals:
        """Hand over all files, and return what they were; whole is what was handed over only when this returns.

        Raises `StorageError` for an archive that was cut off, damaged, or made by somebody else.
        """
        with self._explained():
            totals, known, before = Totals(), Lines(), Place(-1)
            while (header := self._header()).name != LIST:
                before = _next(header.name, before)
                digest = hashlib.sha256()
                sink.take(header.name, header.size, self._body(header.size, digest.update))
                entry = Entry(header.name, header.size, digest.hexdigest())
                totals = totals.and_of(entry)
                known.add(entry)
            _compare(lines_of(self._body(header.size)), self.about, known, totals, sink)
            if self._exactly(2 * BLOCK) != bytes(2 * BLOCK) or self._read(1):
                raise ValueError("something follows its end")
            return totals

    def _begin(self) -> About:
        try:
            header = self._header()
            if header.name != ABOUT or header.size > LINE_BYTES:
                raise ValueError("it does not begin as a backup does")
            body = b"".join(self._body(header.size))
            found = msgspec.json.decode(body, type=_Version)
            if found.format != FORMAT:
                raise ValueError("it is of another program")
        except UNLIKE_OURS as error:
            raise ConfigError(
                f"{self._name} is no backup of this program", hint="Name a file that `openaq-pipeline backup` has made."
            ) from error
        except EOFError as error:
            raise self._cut_off() from error
        if found.version > VERSION:
            raise FatalError(
                f"{self._name} was made by a newer version of this program", hint="Update this program first."
            )
        with self._explained():
            return msgspec.json.decode(body, type=About)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what is wrong with the archive."""
        try:
            yield
        except EOFError as error:
            raise self._cut_off() from error
        except UNLIKE_OURS as error:
            raise StorageError(f"{self._name} is damaged: {error}", hint=ANOTHER) from error

    def _cut_off(self) -> StorageError:
        return StorageError(f"{self._name} was cut off: it ends before its list of files", hint=ANOTHER)

    def _header(self) -> tarfile.TarInfo:
        """Return the header of the next file; raises `ValueError` for what is no ordinary file."""
        header = tarfile.TarInfo.frombuf(self._exactly(BLOCK), "ascii", "strict")
        if header.type != tarfile.REGTYPE or header.size < 0:
            raise ValueError(f"{header.name!r} is no ordinary file")
        return header

    def _body(self, size: int, look: Callable[[bytes], object] = lambda _: None) -> Iterator[bytes]:
        """Yield the bytes of a file, each shown to `look` first, and go on to the next header."""
        left = size
        while left:
            if not (piece := self._read(min(AT_ONCE_BYTES, left))):
                raise EOFError
            look(piece)
            yield piece
            left -= len(piece)
        self._exactly(-size % BLOCK)

    def _exactly(self, size: int) -> bytes:
        body = b""
        while len(body) < size:
            if not (more := self._read(size - len(body))):
                raise EOFError
            body += more
        return body

    def _read(self, size: int) -> bytes:
        """Return up to so many bytes, none at the end; raises `EOFError`, `ValueError`, of a disk `StorageError`."""
        try:
            return self._file.read(size)
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(str(error)) from error
        except OSError as error:
            raise storage_error(error, Path(self._name)) from error


class _Version(msgspec.Struct):
    format: str
    version: int


def _next(name: str, before: Place) -> Place:
    """Return the place of a file behind the one before it; raises `ValueError` if it is not ours, or not there."""
    place = place_of(name)
    if place is None:
        raise ValueError(f"{name!r} is no file of a data folder")
    if place <= before:
        raise ValueError(f"{name!r} is there twice, or in the wrong place")
    return place


def _compare(lines: Iterator[bytes], about: About, known: Lines, totals: Totals, sink: Sink) -> None:
    """Raise one of `UNLIKE_OURS` if the list of an archive is not of what was read."""
    if msgspec.json.decode(next(lines, b""), type=About) != about:
        raise ValueError("its list of files is of another backup")
    for line in lines_of(known.pieces()):
        read = msgspec.json.decode(line, type=Entry)
        listed = msgspec.json.decode(next(lines, b""), type=Entry)
        if msgspec.structs.replace(listed, mtime_ns=read.mtime_ns) != read:
            raise ValueError(f"{read.name} is not as it was written")
        sink.date(listed.name, listed.mtime_ns)
    if msgspec.json.decode(next(lines, b""), type=Totals) != totals or next(lines, None) is not None:
        raise ValueError("its list of files is not of what is in it")
