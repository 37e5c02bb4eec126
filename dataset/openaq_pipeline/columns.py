"""Measurements as Arrow columns: the same rows as `model.Measurement`, a thousand times more of them.

What handles history (years of rows) works on these tables, what handles a poll (some dozens of rows) on the structs;
both hold the same fields in the same order. pyarrow costs a third of a second and 60 MB to import, so this module is
imported only where rows move to history or are read back, inside the functions that do so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from openaq_pipeline.model import Measurement

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


def to_table(rows: Sequence[Measurement]) -> pa.Table:
    """Return rows of one location as a table of schema `HISTORY`, in the order given."""
    return pa.table(
        [pa.array([getattr(row, field.name) for row in rows], field.type) for field in HISTORY], schema=HISTORY
    )


def to_rows(location_id: int, table: pa.Table) -> list[Measurement]:
    """Return a table of schema `HISTORY` as rows of a location, in the order of the table."""
    columns = {name: table.column(name).to_pylist() for name in HISTORY.names}
    columns["issues"] = [tuple(names) for names in columns["issues"]]
    columns["datetime"], columns["first_seen"] = _utc(table, "datetime"), _utc(table, "first_seen")
    return [Measurement(location_id, *fields) for fields in zip(*columns.values(), strict=True)]


def _utc(table: pa.Table, name: str) -> list[datetime]:
    """Return a column of stamps with `datetime.UTC`; pyarrow's own come with another object for the same zone."""
    return [stamp.replace(tzinfo=UTC) for stamp in table.column(name).to_pylist()]
