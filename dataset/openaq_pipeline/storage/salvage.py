"""Reading a file of measurements that may be anything: every row that can be read, and word of each that can't."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from openaq_pipeline.bounded import ROWS_BYTES, whole
from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import storage_error
from openaq_pipeline.model import UNREADABLE, Measurement

_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_all = msgspec.json.Decoder(list[Measurement]).decode
_decode = msgspec.json.Decoder(Measurement).decode

_OBJECT = re.compile(rb'\{(?:[^{}"]++|"(?:[^"\\\n]++|\\.)*+")*+\}')
"""A JSON object without another one in it, as every row is; a brace inside a string is no brace."""


class Salvaged(msgspec.Struct, frozen=True):
    """The rows of a file in its order, and (position from 1, reason) of what is no measurement."""

    rows: list[Measurement]
    unreadable: list[tuple[int, str]]


def read(path: Path) -> Salvaged:
    """Return what a file holds; raises `StorageError` when the file itself can't be read."""
    try:
        return salvage(whole(path, ROWS_BYTES))
    except FileNotFoundError:
        raise StorageError(f"{path} does not exist", hint="Check the name, or run the main job first.") from None
    except msgspec.DecodeError as error:
        raise StorageError(f"{path} can't be read: it is {error}", hint="Look at it, and move it away.") from error
    except OSError as error:
        raise storage_error(error, path) from error


def salvage(body: bytes) -> Salvaged:
    """Return every row of a JSON array, or every row that can be found where it is not JSON any more."""
    try:
        rows = _decode_all(body)
        if all(map(is_aware, rows)):
            return Salvaged(rows, [])
    except UNREADABLE:
        pass
    try:
        return _each(bytes(raw) for raw in _decode_raw(body))
    except UNREADABLE as error:
        found = _each(_pieces(body))
        # It was no array, so something is wrong even where every piece is a row.
        return found if found.unreadable else Salvaged(found.rows, [(1, f"the file is no JSON array: {error}")])


def decode_row(text: bytes) -> Measurement:
    """Return the row a JSON text is; raises one of `UNREADABLE`, also for a time without a zone."""
    row = _decode(text)
    if not is_aware(row):
        raise msgspec.ValidationError("`datetime` and `first_seen` must end in Z or in an offset from UTC")
    return row


def is_aware(row: Measurement) -> bool:
    """Say whether the times of a row name their zone; other programs write them without, and then they can be any."""
    return row.datetime.tzinfo is not None and row.first_seen.tzinfo is not None


def _pieces(body: bytes) -> Iterator[bytes]:
    """Yield the objects of a text that is not JSON, and each line of what lies between them."""
    end = 0
    for found in _OBJECT.finditer(body):
        yield from _remains(body[end : found.start()])
        yield found[0]
        end = found.end()
    yield from _remains(body[end:])


def _remains(text: bytes) -> Iterator[bytes]:
    """Yield the lines of a text without what only holds rows together."""
    return (line for line in (line.strip(b" \t,[]") for line in text.splitlines()) if line)


def _each(texts: Iterable[bytes]) -> Salvaged:
    rows: list[Measurement] = []
    unreadable: list[tuple[int, str]] = []
    for position, text in enumerate(texts, start=1):
        try:
            rows.append(decode_row(text))
        except UNREADABLE as error:
            unreadable.append((position, str(error)))
    return Salvaged(rows, unreadable)
