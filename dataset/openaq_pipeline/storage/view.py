"""The bytes of a file, read where they are asked for.

Not a memory map: where a disk can't read, or another program cuts the file short, a map ends the whole process with
SIGBUS, and with it the poll of every other location; here that is an error like any other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from openaq_pipeline.bounded import LINE_BYTES as LONGEST_LINE_BYTES
from openaq_pipeline.bounded import check_is_file
from openaq_pipeline.files import storage_error
from openaq_pipeline.locks import let_go

AT_ONCE_BYTES = 1 << 17
LINE_BYTES = 512
"""More than a row takes, and less than what a look at one should cost."""


class View:
    """The bytes that a file had when it was entered, whatever takes its place meanwhile; none where there is no file.

    Raises `StorageError` where the disk can't read, `msgspec.DecodeError` for a file that was cut short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._size = 0

    def __enter__(self) -> Self:
        try:
            check_is_file(self._path)
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self._size = os.fstat(self._descriptor).st_size
        except FileNotFoundError:
            pass
        except OSError as error:
            raise storage_error(error, self._path) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self.exists:
            let_go(self._descriptor)

    @property
    def exists(self) -> bool:
        """Say whether there was a file."""
        return self._descriptor >= 0

    def __len__(self) -> int:
        return self._size

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end)."""
        return b"".join(self.pieces(start, end))

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes [start, end), some at a time."""
        while start < end:
            try:
                piece = os.pread(self._descriptor, min(AT_ONCE_BYTES, end - start), start)
            except OSError as error:
                raise storage_error(error, self._path) from error
            if not piece:
                raise msgspec.DecodeError("the file was cut short while it was read")
            yield piece
            start += len(piece)

    def line(self, position: int) -> tuple[int, bytes]:
        """Return where the line begins that holds a position, and the line without its end.

        Raises `msgspec.DecodeError` also where none ends for far longer than a row is.
        """
        span = LINE_BYTES
        while span < LONGEST_LINE_BYTES:
            first, last = max(0, position - span), min(self._size, position + span)
            some = self.read(first, last)
            start, stop = some.rfind(b"\n", 0, position - first) + 1, some.find(b"\n", position - first)
            if (start or first == 0) and (stop >= 0 or last == self._size):
                return first + start, some[start : stop if stop >= 0 else None]
            span *= 4
        raise msgspec.DecodeError("a line has no end")
