"""What can still be read of a damaged year of history: every row group, or its columns, whose checksums hold."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openaq_pipeline.bounded import ROWS_BYTES, whole
from openaq_pipeline.columns import HISTORY, NAME
from openaq_pipeline.files import storage_error
from openaq_pipeline.model import UNREADABLE, License
from openaq_pipeline.storage.checks.year import NO_FILE, opened
from openaq_pipeline.storage.history import LICENSES_KEY

FACTS = {"parameters_id", "interval_seconds", "has_flags"}
"""Columns where nothing means that the source did not say: lost ones are learnt again when the row is fetched."""


class Remains(msgspec.Struct, frozen=True):
    """The rows (schema `HISTORY`, as they stand there) and the licences noted, None if those can't be read.

    `told` is how many rows the footer speaks of, None if it can't be read. `whole`: no value of any row is lost.
    """

    rows: pa.Table
    told: int | None
    licenses: list[License] | None
    whole: bool


def read(path: Path) -> Remains:
    """Return what can be read of a file; nothing of one that is no Parquet file any more.

    Python reads the bytes, and not Arrow, which tells a disk that refuses from damage only sometimes. Raises
    `StorageError` where the disk refuses.
    """
    nothing = Remains(HISTORY.empty_table(), None, None, whole=False)
    try:
        body = pa.py_buffer(whole(path, ROWS_BYTES))
    except UNREADABLE:
        return nothing
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        with opened(body) as file:
            there = file.schema_arrow.names
            parts = [_group(file, group, there) for group in range(file.num_row_groups)]
            told, noted = file.metadata.num_rows, (file.metadata.metadata or {}).get(LICENSES_KEY, b"")
    except NO_FILE:
        return nothing
    rows = pa.concat_tables([HISTORY.empty_table(), *(table for table, _ in parts)]).unify_dictionaries()
    complete = all(complete for _, complete in parts) and rows.num_rows == told
    return Remains(rows, told, _licenses(noted), complete)


def _group(file: pq.ParquetFile, group: int, there: list[str]) -> tuple[pa.Table, bool]:
    """Return the rows of a row group, and whether all of their values could be read."""
    for lost in (set[str](), FACTS):
        names = [name for name in HISTORY.names if name in there and name not in lost]
        try:
            table = _conforming(file.read_row_group(group, columns=names, use_threads=False))
        except NO_FILE:
            continue
        return table, not lost and len(names) == len(HISTORY)
    return HISTORY.empty_table(), False


def _conforming(table: pa.Table) -> pa.Table:
    """Return rows as schema `HISTORY` has them, without those that lack what every row has.

    Raises `ValueError` or `KeyError` if they can't be: a column is missing or means something else.
    """
    columns = []
    for field in HISTORY:
        if field.name in FACTS and field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        if not _means_the_same(column.type, field.type):
            raise ValueError(f"{field.name} is {column.type}")
        columns.append(_names(column) if field.name == "issues" else column.cast(field.type))
    filled = pa.array([True] * table.num_rows, pa.bool_())
    for field, column in zip(HISTORY, columns, strict=True):
        if not field.nullable:
            filled = pc.and_(filled, pc.is_valid(column))
    kept = pa.table([pc.filter(column, filled) for column in columns], names=HISTORY.names)
    return kept.cast(HISTORY)


def _means_the_same(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Say whether values of a type are ours in another form: a time without a zone can be any, a float32 is rounded."""
    if pa.types.is_timestamp(wanted):
        return bool(pa.types.is_timestamp(found)) and found.tz is not None
    if wanted == NAME:
        return found in {NAME, pa.string(), pa.large_string()}
    numbers = pa.types.is_integer(found) and pa.types.is_integer(wanted)
    return bool(found == wanted or numbers or (pa.types.is_list(found) and pa.types.is_list(wanted)))


def _names(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the issues without names that are none."""
    kind = HISTORY.field("issues").type
    if pc.list_flatten(column).null_count == 0:
        return column.cast(kind)
    lists = [None if names is None else [name for name in names if name is not None] for names in column.to_pylist()]
    return pa.chunked_array([pa.array(lists, kind)])


def _licenses(noted: bytes) -> list[License] | None:
    try:
        return msgspec.json.decode(noted, type=list[License])
    except UNREADABLE:
        return None
