"""The rows of one location, from its file and its history, as an Arrow table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openaq_pipeline.bounded import ROWS_BYTES, check_is_file, whole
from openaq_pipeline.columns import HISTORY, MEASUREMENTS, NAME, to_table
from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import storage_error
from openaq_pipeline.model import UNREADABLE, Measurement, Window, file_order
from openaq_pipeline.reading.folder import history_file, live_file, years
from openaq_pipeline.storage.salvage import is_aware
from openaq_pipeline.storage.sealed import sealed_to

NAMES = [field.name for field in HISTORY if field.type == NAME]
KEY = ("sensors_id", "datetime")

MEND = "The next run mends a location file; `openaq-pipeline verify --repair` mends history."
"""What to do about a damaged file, whichever it is."""

_decode = msgspec.json.Decoder(list[Measurement]).decode


class Selection(msgspec.Struct, frozen=True):
    """What of a location is wanted: period ends in `window`, and these parameters; None: all of them.

    `names` are parameters by name, `parameters_ids` by OpenAQ's number. Rows of the archive know no number, so
    `sensors_ids` holds the sensors that are known to measure one of the numbers.
    """

    window: Window
    names: frozenset[str] | None = None
    parameters_ids: frozenset[int] = frozenset()
    sensors_ids: frozenset[int] = frozenset()


def read(folder: Path, location_id: int, wanted: Selection) -> pa.Table:
    """Return the wanted rows of a location, each once, sorted by (datetime, sensors_id); schema `MEASUREMENTS`.

    No lock is held. A move writes the history, then the seal, then the shortened location file; so the file is
    read first, under a boundary that stood before and after it, and the history last, where every row before that
    boundary is and stays. Opens only the years of the window. Raises `StorageError` for a file that can't be read.
    """
    table = _read(folder, location_id, wanted, HISTORY)
    ids = pa.repeat(pa.scalar(location_id, pa.int64()), table.num_rows)
    return table.add_column(0, MEASUREMENTS.field("location_id"), ids).cast(MEASUREMENTS)


def read_keys(folder: Path, location_id: int, window: Window) -> pa.Table:
    """Return the keys of a location's rows in a window, in the columns `KEY` and no order; as `read` in all else."""
    return read_columns(folder, location_id, window, KEY)


def read_columns(folder: Path, location_id: int, window: Window, names: Sequence[str]) -> pa.Table:
    """Return some columns of `HISTORY` of a location's rows in a window; as `read` in all else."""
    return _read(folder, location_id, Selection(window), pa.schema([HISTORY.field(name) for name in names]))


def _read(folder: Path, location_id: int, wanted: Selection, schema: pa.Schema) -> pa.Table:
    """Return the wanted rows, with these columns of them."""
    sealed, live = _live(folder, location_id, wanted.window, schema)
    parts = [] if sealed is None else _history(folder, location_id, wanted, sealed, schema)
    if live is not None:
        parts.append(_chosen(live, wanted))
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _live(folder: Path, location_id: int, window: Window, schema: pa.Schema) -> tuple[datetime | None, pa.Table | None]:
    """Return the boundary to the history, None without one, and the rows behind it; None: the window ends before it."""
    path = live_file(folder, location_id)
    while True:  # the boundary only moves forward, a month at a time: this ends
        sealed = sealed_to(folder, location_id)
        if sealed is not None and window.end < sealed:
            return sealed, None
        body = _bytes(path)
        if sealed_to(folder, location_id) == sealed:
            break
    start, end = sealed or datetime.min.replace(tzinfo=UTC), window.end
    rows = [row for row in _rows(path, body, location_id) if start <= row.datetime <= end]
    if start <= window.start:
        rows = [row for row in rows if row.datetime > window.start]
    return sealed, to_table(rows, schema)


def _bytes(path: Path) -> bytes:
    try:
        return whole(path, ROWS_BYTES)
    except FileNotFoundError:
        return b"[]"
    except msgspec.DecodeError as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise storage_error(error, path) from error


def _rows(path: Path, body: bytes, location_id: int) -> list[Measurement]:
    """Return the rows of a location file; raises `StorageError` unless every one of them can be told and is its own."""
    try:
        rows = _decode(body)
    except UNREADABLE as error:
        raise _damaged(path, str(error)) from error
    if not all(is_aware(row) and row.location_id == location_id for row in rows):
        raise _damaged(path, "a row is of another location, or its time names no zone")
    if not all(file_order(one) < file_order(next_one) for one, next_one in pairwise(rows)):
        raise _damaged(path, "its rows are not in order, or one stands there twice")
    return rows


def _history(folder: Path, location_id: int, wanted: Selection, sealed: datetime, schema: pa.Schema) -> list[pa.Table]:
    """Return the wanted rows before `sealed`, a table a year."""
    start, end = wanted.window.start, wanted.window.end
    tables = []
    for year in years(folder, location_id):
        if start.year <= year <= min(end.year, sealed.year):
            path = history_file(folder, location_id, year)
            tables.append(_sorted(_chosen(_parquet(path, start, end, sealed, schema), wanted)))
    return tables


def _parquet(path: Path, start: datetime, end: datetime, sealed: datetime, schema: pa.Schema) -> pa.Table:
    """Return the rows of a history file in (start, end] before `sealed`, as they stand in it."""
    try:
        check_is_file(path)
        with pq.ParquetFile(path, read_dictionary=NAMES, page_checksum_verification=True) as file:
            table = file.read(columns=schema.names).select(schema.names).cast(schema)
            _check_filled(table)
    except OSError as error:
        raise (storage_error(error, path) if error.errno else _damaged(path, str(error))) from error
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    stamp = table.column("datetime")
    bounds = pc.min_max(stamp).as_py()
    if table.num_rows == 0 or (start < bounds["min"] and bounds["max"] <= end and bounds["max"] < sealed):
        return table
    within = pc.and_(pc.greater(stamp, _stamp(start)), pc.less_equal(stamp, _stamp(end)))
    return table.filter(pc.and_(within, pc.less(stamp, _stamp(sealed))))


def _check_filled(table: pa.Table) -> None:
    """Raise `ValueError` if a value is missing where every row has one."""
    for field in table.schema:
        if not field.nullable and table.column(field.name).null_count:
            raise ValueError(f"a row has no {field.name}")


def _stamp(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment, HISTORY.field("datetime").type)


def _chosen(table: pa.Table, wanted: Selection) -> pa.Table:
    """Return the rows of the wanted parameters. A number chooses sensors: each measures one parameter."""
    if wanted.names is None:
        return table
    by_number = pc.is_in(table.column("parameters_id"), pa.array(sorted(wanted.parameters_ids), pa.int32()))
    sensors = wanted.sensors_ids | set(pc.unique(table.column("sensors_id").filter(by_number)).to_pylist())
    by_sensor = pc.is_in(table.column("sensors_id"), pa.array(sorted(sensors), pa.int64()))
    by_name = pc.is_in(table.column("parameter").cast(pa.string()), pa.array(sorted(wanted.names), pa.string()))
    return table.filter(pc.or_(by_name, by_sensor))


def _sorted(table: pa.Table) -> pa.Table:
    return table.take(pc.sort_indices(table, [("datetime", "ascending"), ("sensors_id", "ascending")]))


def _damaged(path: Path, reason: str) -> StorageError:
    first = reason.strip().splitlines()[0] if reason.strip() else "no reason given"
    return StorageError(f"{path} is damaged: {first}", hint=MEND)
