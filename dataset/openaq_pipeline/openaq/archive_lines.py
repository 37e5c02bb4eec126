"""From the bytes of one file of the archive to lines of CSV: unpacking, the header, and what is broken. Pure."""

from __future__ import annotations

import csv
import functools
import io
import json
import zlib
from contextlib import suppress
from typing import NamedTuple

COLUMNS = ("location_id", "sensors_id", "location", "datetime", "lat", "lon", "parameter", "units", "value")
NEEDED = ("location_id", "sensors_id", "datetime", "parameter", "units", "value")
SPELLINGS = {"sensor_id": "sensors_id", "unit": "units"}
"""As OpenAQ's documentation writes them; its files have the names in `COLUMNS`."""

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Unpacked. A day of 20 sensors that report every minute has 3 MB; anything near this is an attack or a mistake."""

MAX_MEMBERS = 1000
"""A gzip file may consist of several, one behind the other; OpenAQ's have one."""

MAX_HEADER_BYTES = MAX_LINE_LETTERS = 10_000
MAX_FIELD_LETTERS = 1000
"""Whatever is longer is none of the fields that are kept."""

GZIP = 31
"""zlib's number for: a gzip header, then checksum and length at the end."""


class BadFile(Exception):
    """Nothing of this file can be used; `str(error)` ends a sentence that begins with the file's name."""


class Header(NamedTuple):
    """Where in a file's lines the fields of `COLUMNS` are, None for one that is not there, and how many there are."""

    places: tuple[int | None, ...]
    width: int


AS_EXPORTED = Header(tuple(range(len(COLUMNS))), len(COLUMNS))


def unpack(data: bytes, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return what a gzip file holds; raises `BadFile` if it is not whole, or holds more than `limit` bytes."""
    if not data:
        raise BadFile("is empty")
    content: list[bytes] = []
    left = limit
    for _ in range(MAX_MEMBERS):
        member, data = _unpack_one(data, left, first=not content)
        content.append(member)
        left -= len(member)
        if not data:
            return b"".join(content)
    raise BadFile(f"consists of more than {MAX_MEMBERS} gzip files")


def _unpack_one(data: bytes, limit: int, *, first: bool) -> tuple[bytes, bytes]:
    """Return the content of the first gzip file in `data`, and what is behind it."""
    unpacker = zlib.decompressobj(GZIP)
    try:
        content = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        if data[:2] != b"\x1f\x8b":
            raise BadFile("is no gzip file" if first else "has something behind its end") from error
        raise BadFile("is damaged: what it holds is not what was packed") from error
    if len(content) > limit:
        raise BadFile("is far too large when unpacked")
    if not unpacker.eof:
        raise BadFile("is cut off")
    return content, unpacker.unused_data


def header_of(content: bytes) -> tuple[Header, bytes]:
    """Return the header of a file and the lines behind it; raises `BadFile` if a needed column is not there."""
    first, _, body = content.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if not content.strip():
        raise BadFile("has no header")
    return _header(first[:MAX_HEADER_BYTES]), body


@functools.lru_cache(maxsize=64)
def _header(line: bytes) -> Header:
    try:
        fields = next(csv.reader([line.decode(errors="replace").strip()]), [])
    except csv.Error:
        fields = []
    names = [SPELLINGS.get(name, name) for name in fields]
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise BadFile(f"lacks the column {missing[0]}")
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise BadFile(f"has the column {twice[0]} twice")
    return Header(tuple(names.index(name) if name in names else None for name in COLUMNS), len(names))


def tag(body: bytes, number: int) -> bytes:
    """Return lines with a further field at the end of each that says which file they are from."""
    body = body.replace(b"\r\n", b"\n")
    if body and not body.endswith(b"\n"):
        body += b"\n"
    return body.replace(b"\n", _mark(number) + b"\n")


def untag(marked: bytes, number: int) -> bytes:
    """Return the lines that `tag` was given, with plain line ends."""
    return marked.replace(_mark(number) + b"\n", b"\n")


def _mark(number: int) -> bytes:
    """Return the field for a file; not a bare number, which a line with a field too many might hold by chance."""
    return b",~%d" % number


class Rewritten(NamedTuple):
    """The lines of a file with as many fields as its header: in the order of `COLUMNS`, marked, every field quoted.

    `broken` are the other lines: why, and the fields as JSON text.
    """

    marked: bytes
    broken: list[tuple[str, str]]


def rewrite(body: bytes, header: Header, number: int) -> Rewritten:
    """Return a file's lines, read by Python's `csv`; raises `BadFile` if they are not UTF-8."""
    try:
        text = body.decode().replace("\0", "\ufffd").replace("\r", " ")
    except UnicodeDecodeError as error:
        raise BadFile("is not UTF-8") from error
    lines = io.StringIO(text, newline="\n").readlines()
    good, broken = io.StringIO(newline=""), list[tuple[str, str]]()
    writer = csv.writer(good, quoting=csv.QUOTE_ALL, lineterminator="\n")
    at = 0
    while at < len(lines):
        fields, at = _record(lines, at, header.width)
        if isinstance(fields, str):
            broken.append(("its quotes are not in order", json.dumps([fields], ensure_ascii=False)))
        elif len(fields) == header.width:
            writer.writerow([_field(fields, place) for place in header.places] + [_mark(number).decode()[1:]])
        elif fields:
            reason = f"it has {len(fields)} fields, the header {header.width}"
            broken.append((reason, json.dumps(fields, ensure_ascii=False)))
    return Rewritten(good.getvalue().encode(), broken)


def _record(lines: list[str], at: int, width: int) -> tuple[list[str] | str, int]:
    """Return the fields of the record that begins in line `at`, and where the next one begins.

    A record may reach over lines if a field in quotes has line breaks. But if it then has not `width` fields, a quote
    is missing somewhere, and the line stands alone: it must not swallow those behind it. The line itself is returned
    if its quotes are not in order.
    """
    reader = csv.reader(map(lines.__getitem__, range(at, len(lines))), strict=True)
    with suppress(csv.Error):
        fields = next(reader)
        if len(fields) == width:
            return fields, at + reader.line_num
    line = lines[at].rstrip("\n")
    try:
        return next(csv.reader([line], strict=True), []), at + 1
    except csv.Error:
        return line[:MAX_LINE_LETTERS], at + 1


def _field(fields: list[str], place: int | None) -> str:
    """Return a field on one line, empty if its column is not there."""
    return "" if place is None else fields[place][:MAX_FIELD_LETTERS].replace("\n", " ")
