"""Measurements as Arrow columns: the same rows as `model.Measurement`, a thousand times more of them.

What handles history (years of rows) works on these tables, what handles a poll (some dozens of rows) on the structs;
both hold the same fields in the same order. pyarrow costs a third of a second and 60 MB to import, so this module is
imported only where rows move to history or are read back, inside the functions that do so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import pyarrow as pa

from openaq_pipeline.model import Measurement

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UTC_STAMP = pa.timestamp("us", tz="UTC")
NAME = pa.dictionary(pa.int32(), pa.string())
"""Texts that repeat for a million rows: held once, as a number in each row."""

HISTORY = pa.schema(
    [
        pa.field("sensors_id", pa.int64(), nullable=False),
        pa.field("parameters_id", pa.int32()),
        pa.field("parameter", NAME, nullable=False),
        pa.field("units", NAME, nullable=False),
        pa.field("value", pa.float64()),
        pa.field("datetime", UTC_STAMP, nullable=False),
        pa.field("datetime_local", pa.string(), nullable=False),
        pa.field("interval_seconds", pa.int32()),
        pa.field("has_flags", pa.bool_()),
        pa.field("issues", pa.list_(pa.string()), nullable=False),
        pa.field("source", NAME, nullable=False),
        pa.field("first_seen", UTC_STAMP, nullable=False),
    ]
)
"""The rows of one location, as they are in its files under `history/`: the location is in the folder's name."""

MEASUREMENTS = pa.schema([pa.field("location_id", pa.int64(), nullable=False), *HISTORY])
"""The rows of any locations, in the field order of `location_{id}.json`."""


def to_table(rows: Sequence[Measurement], schema: pa.Schema = HISTORY) -> pa.Table:
    """Return rows of one location as a table of schema `HISTORY`, or of some of its columns, in the order given."""
    columns = [pa.array(list(map(attrgetter(field.name), rows)), field.type) for field in schema]
    return pa.table(columns, schema=schema)


def to_rows(location_id: int, table: pa.Table) -> list[Measurement]:
    """Return a table of schema `HISTORY` as rows of a location, in the order of the table."""
    columns = (_values(table.column(name).combine_chunks()) for name in HISTORY.names)
    return [Measurement(location_id, *fields) for fields in zip(*columns, strict=True)]


def _values(column: pa.Array) -> list[Any]:
    """Return a column's values as `Measurement` has them; those that repeat are made once, in a tenth of the time."""
    if pa.types.is_timestamp(column.type):
        # Made from numbers: pyarrow's own stamps come with another object for the same zone, and take longer.
        found = column.cast(UTC_STAMP).cast(pa.int64()).dictionary_encode()
        known = [EPOCH + timedelta(microseconds=number) for number in found.dictionary.to_pylist()]
    elif pa.types.is_dictionary(column.type):
        found, known = column, column.dictionary.to_pylist()
    else:
        values: list[Any] = column.to_pylist()
        return [tuple(names) for names in values] if pa.types.is_list(column.type) else values
    return [known[place] for place in found.indices.to_pylist()]
