"""Rows as the CSV text that COPY reads: of a poll from structs, of history from Arrow columns without a Python object.

The columns are those of `model.Measurement` without the location, which is one for all. What is null is empty, an
empty text is quoted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from openaq_pipeline.model import Measurement
from openaq_pipeline.storage.postgres.partitions import Month, month_of

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = Measurement.__struct_fields__[1:]
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
        f"{row.sensors_id},{_plain(row.parameters_id)},{_quoted(row.parameter)},{_quoted(row.units)},"
        f"{_plain(row.value)},{row.datetime.isoformat()},{_quoted(row.datetime_local)},{_plain(row.interval_seconds)},"
        f"{_plain(row.has_flags)},{_quoted('{' + issues + '}')},{_quoted(row.source)},{row.first_seen.isoformat()}\n"
    )


def _plain(value: float | None) -> str:
    return "" if value is None else str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _element(text: str) -> str:
    """Return an element of an array as PostgreSQL writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def block_of_batch(batch: pa.RecordBatch) -> Block:
    """Return rows of schema `columns.HISTORY` as text."""
    import pyarrow as pa  # noqa: PLC0415 - a poll has no use for it
    from pyarrow import compute, csv  # noqa: PLC0415

    columns = [_arrays(batch[name]) if name == "issues" else batch[name] for name in COLUMNS]
    sink = pa.BufferOutputStream()
    options = csv.WriteOptions(include_header=False, quoting_style="needed", batch_size=BLOCK_ROWS)
    csv.write_csv(pa.record_batch(columns, names=list(COLUMNS)), sink, options)
    text = sink.getvalue().to_pybytes()
    starts = compute.unique(compute.floor_temporal(batch["datetime"], unit="month"))
    months = frozenset(month_of(stamp) for stamp in starts.to_pylist())
    return Block(text.replace(NUL, NO_NUL) if NUL in text else text, batch.num_rows, months)


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
