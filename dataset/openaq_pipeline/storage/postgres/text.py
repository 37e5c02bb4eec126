"""Rows as the CSV text that COPY reads: of a poll from structs, of history from Arrow columns without a Python object.

The columns are those of `model.Measurement`. What is null is empty, an empty text is quoted; times are in UTC and do
not say so, as the session's time zone does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from openaq_pipeline.model import Measurement
from openaq_pipeline.storage.postgres.partitions import Month, month_of

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_ROWS = 50_000
"""Rows that are sent and written at once: some 8 MB of text."""

NUL, NO_NUL = b"\0", "\N{REPLACEMENT CHARACTER}".encode()
"""The one character that JSON and Parquet can hold and PostgreSQL can't."""


class Block(NamedTuple):
    """CSV text of some rows, how many they are, and the months of their stamps."""

    text: bytes
    rows: int
    months: frozenset[Month]


def blocks_of_rows(rows: Iterable[Measurement]) -> Iterator[Block]:
    """Yield rows as text, `BLOCK_ROWS` at a time."""
    lines: list[str] = []
    months: set[Month] = set()
    for row in rows:
        lines.append(_line(row))
        months.add(month_of(row.datetime))
        if len(lines) == BLOCK_ROWS:
            yield _block(lines, months)
            lines, months = [], set()
    if lines:
        yield _block(lines, months)


def _block(lines: list[str], months: set[Month]) -> Block:
    return Block("".join(lines).encode().replace(NUL, NO_NUL), len(lines), frozenset(months))


def _line(row: Measurement) -> str:
    issues = ",".join(map(_element, row.issues))
    return (
        f"{row.location_id},{row.sensors_id},{_plain(row.parameters_id)},{_quoted(row.parameter)},{_quoted(row.units)},"
        f"{_plain(row.value)},{_time(row.datetime)},{_quoted(row.datetime_local)},{_plain(row.interval_seconds)},"
        f"{_plain(row.has_flags)},{_quoted('{' + issues + '}')},{_quoted(row.source)},{_time(row.first_seen)}\n"
    )


def _time(stamp: datetime) -> str:
    return stamp.astimezone(UTC).replace(tzinfo=None).isoformat()


def _plain(value: float | None) -> str:
    return "" if value is None else str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _element(text: str) -> str:
    """Return an element of an array as PostgreSQL writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def block_of_batch(location_id: int, batch: pa.RecordBatch) -> Block:
    """Return a location's rows of schema `columns.HISTORY` as text."""
    import pyarrow as pa  # noqa: PLC0415 - a poll has no use for it
    from pyarrow import compute, csv  # noqa: PLC0415

    columns = {name: _as_text(batch[name]) for name in batch.schema.names}
    columns = {"location_id": pa.repeat(location_id, batch.num_rows), **columns}
    sink = pa.BufferOutputStream()
    options = csv.WriteOptions(include_header=False, quoting_style="needed", batch_size=BLOCK_ROWS)
    csv.write_csv(pa.record_batch(columns), sink, options)
    text = sink.getvalue().to_pybytes()
    starts = compute.unique(compute.floor_temporal(batch["datetime"], unit="month"))
    months = frozenset(month_of(stamp) for stamp in starts.to_pylist())
    return Block(text.replace(NUL, NO_NUL) if NUL in text else text, batch.num_rows, months)


def _as_text(column: pa.Array) -> pa.Array:
    """Return a column in a type that is written as PostgreSQL reads it."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_list(column.type):
        return _arrays(column)
    if pa.types.is_timestamp(column.type):  # the same number without its zone: to write a zone takes 20 times as long
        return column.cast(pa.int64()).cast(pa.timestamp(column.type.unit))
    return column


def _arrays(lists: pa.ListArray) -> pa.StringArray:
    """Return lists of texts as PostgreSQL writes arrays."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    flat = lists.flatten()
    escaped = compute.replace_substring(compute.replace_substring(flat, "\\", "\\\\"), '"', '\\"')
    quoted = compute.binary_join_element_wise('"', escaped, '"', "")
    lengths = compute.list_value_length(lists)
    offsets = compute.cumulative_sum(lengths)
    rebuilt = pa.ListArray.from_arrays(pa.concat_arrays([pa.array([0], offsets.type), offsets]), quoted)
    return compute.binary_join_element_wise("{", compute.binary_join(rebuilt, ","), "}", "")
