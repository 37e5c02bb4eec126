"""What an archive says of itself: first what it is, last what is in it, a line of JSON for each file.

The list can be long (ten thousand locations of ten years are 100,000 files), so it is kept compressed while it grows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated

import msgspec

FORMAT, VERSION = "openaq-pipeline-backup", 1
LIST = "manifest.jsonl"
"""The last file of an archive: without it the archive was cut off."""

LINE_BYTES = 1 << 16
"""The most that a line of it may have, and `backup.json` too; ours have 200 bytes."""

AT_ONCE_BYTES = 1 << 17


class About(msgspec.Struct, frozen=True):
    """What an archive is: the `version` of its form and of the `program`, when it was begun (UTC), which one it is."""

    format: str
    version: int
    program: str
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    id: str


class Entry(msgspec.Struct, frozen=True):
    """A file in an archive, by its path from the data folder on; `mtime_ns` is when it was last changed."""

    name: str
    size: int
    sha256: str
    mtime_ns: int = 0


class Totals(msgspec.Struct, frozen=True):
    """How many files an archive has, and how many bytes are in them."""

    files: int = 0
    bytes: int = 0

    def and_of(self, entry: Entry) -> Totals:
        """Return the totals with one file more."""
        return Totals(self.files + 1, self.bytes + entry.size)


class Lines:
    """Lines of JSON that are written once and read once afterwards, compressed in between: some 50 bytes for a file."""

    def __init__(self) -> None:
        self._squeeze = zlib.compressobj()
        self._body = bytearray()
        self.size = 0

    def add(self, value: object) -> None:
        """Add a line."""
        line = msgspec.json.encode(value) + b"\n"
        self.size += len(line)
        self._body += self._squeeze.compress(line)

    def pieces(self) -> Iterator[bytes]:
        """Yield all that was added, some at a time; nothing can be added any more."""
        self._body += self._squeeze.flush()
        swell = zlib.decompressobj()
        rest = bytes(self._body)
        while rest and (piece := swell.decompress(rest, AT_ONCE_BYTES)):
            yield piece
            rest = swell.unconsumed_tail
        yield swell.flush()


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text without their ends; raises `ValueError` for one that is too long or has no end."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > LINE_BYTES:
            raise ValueError("a line has no end")
    if rest:
        raise ValueError("the last line has no end")
