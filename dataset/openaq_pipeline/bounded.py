"""Reading files that may be anything: what is no file is not opened, and no more is read than a file of ours has."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import msgspec

NOTE_BYTES, BOOK_BYTES, ROWS_BYTES = 16 << 20, 512 << 20, 1 << 30
"""The most that is read of a small note of one location, of a file about all of them, and of a location's rows.

For 25,000 locations the state has 20 MB and their descriptions 50, a million rows have 350; what is far larger is
not ours, or damaged.
"""

LINE_BYTES = 1 << 20
"""The most that is read in search of a line's end; a row has 300 bytes."""


def whole(path: Path, most_bytes: int) -> bytes:
    """Return what a file holds; raises `OSError`, or `DecodeError` (of `UNREADABLE`) for more than `most_bytes`.

    What is no file is not opened: a pipe would hold its reader for ever, and a device feed it without end.
    """
    check_is_file(path)
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        # Python sets aside at once what it is to read at most: of a small file that takes longer than the reading.
        body = file.read(size_bytes + 1) if size_bytes <= most_bytes else b""
        if len(body) > size_bytes:  # it has grown meanwhile, or never says its size
            body += file.read(most_bytes + 1 - len(body))
        if len(body) > most_bytes or (not body and size_bytes):
            raise msgspec.DecodeError(f"larger than {most_bytes} bytes")
    return body


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Return the lines of a file as reading it does, but what is longer than `LINE_BYTES` comes in pieces."""
    return iter(partial(file.readline, LINE_BYTES), b"")


def check_is_file(path: Path) -> None:
    """Raise `OSError` for what is not there, and for what is no file."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, and no file", str(path))
