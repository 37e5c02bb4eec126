"""Reading a file of measurements that may be anything: every row that can be read, and word of each that can't."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from openaq_pipeline.errors import StorageError
from openaq_pipeline.model import Measurement

_decode_all = msgspec.json.Decoder(list[Measurement]).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_row = msgspec.json.Decoder(Measurement).decode

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Salvaged(msgspec.Struct, frozen=True):
    """The rows of a file in its order, and (position from 1, reason) of what is no measurement."""

    rows: list[Measurement]
    unreadable: list[tuple[int, str]]


def read(path: Path) -> Salvaged:
    """Return what a file holds; raises `StorageError` when the file itself can't be read."""
    try:
        return salvage(path.read_bytes())
    except FileNotFoundError:
        raise StorageError(f"{path} does not exist", hint="Check the name, or run the main job first.") from None
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error.strerror}", hint="Check its permissions.") from error


def salvage(body: bytes) -> Salvaged:
    """Return every row of a JSON array, or of its lines where it is not JSON any more."""
    try:
        return Salvaged(_decode_all(body), [])
    except UNREADABLE:
        pass
    try:
        return _each(bytes(raw) for raw in _decode_raw(body))
    except UNREADABLE as error:
        found = _each(line for line in map(_row_text, body.splitlines()) if line)
        # It was not JSON, so something is wrong even where every line is a row.
        return found if found.unreadable else Salvaged(found.rows, [(1, f"the file is not JSON: {error}")])


def _row_text(line: bytes) -> bytes:
    """Return a line without what only holds rows together."""
    text = line.strip().removesuffix(b",").strip()
    return b"" if text in {b"[", b"]", b"[]"} else text


def _each(texts: Iterable[bytes]) -> Salvaged:
    rows: list[Measurement] = []
    unreadable: list[tuple[int, str]] = []
    for position, text in enumerate(texts, start=1):
        try:
            rows.append(_decode_row(text))
        except UNREADABLE as error:
            unreadable.append((position, str(error)))
    return Salvaged(rows, unreadable)
