"""Looking at a year of history: footer, page checksums, schema, order, uniqueness; a row group at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import MAXYEAR, UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openaq_pipeline.bounded import check_is_file
from openaq_pipeline.columns import HISTORY, NAME
from openaq_pipeline.model import UNREADABLE, License
from openaq_pipeline.reports import Finding
from openaq_pipeline.storage.checks.findings import Notes, damaged, fault, newer, refused, row_name
from openaq_pipeline.storage.checks.keys import Keys, moment, number, together
from openaq_pipeline.storage.checks.live import Look
from openaq_pipeline.storage.history import LICENSES_KEY, SCHEMA_VERSION, TEXTS, VERSION_KEY

MAGIC = b"PAR1"
NO_FILE = (pa.ArrowException, OSError, KeyError, ValueError, OverflowError, MemoryError)
"""What pyarrow raises for bytes that are no Parquet file, or a damaged one."""


def look(path: Path, year: int, sealed_to: datetime | None, issues: Collection[str]) -> Look | None:
    """Return what is found in a year's file; None: there is none.

    Rows from `sealed_to` on are left over (None: none is). `issues` are the names that rules can have.
    """
    try:
        check_is_file(path)
        with path.open("rb") as raw:
            begins = raw.read(len(MAGIC))
        if begins != MAGIC:
            return Look(
                (damaged("it is empty" if not begins else "it does not begin as a Parquet file does"),), 0, None
            )
        with opened(path) as file:
            return _looked(file, _Seen(year, sealed_to, issues))
    except FileNotFoundError:
        return None
    except NO_FILE as error:
        return Look((no_file(error),), 0, None)


def opened(source: Path | pa.Buffer) -> pq.ParquetFile:
    """Return an open file, or what was read of one, that checks its pages when they are read; raises `NO_FILE`."""
    there = pq.read_schema(_readable(source)).names  # a file refuses to be told of columns that are not there
    texts = [name for name in TEXTS if name in there]
    return pq.ParquetFile(_readable(source), read_dictionary=texts, page_checksum_verification=True)


def _readable(source: Path | pa.Buffer) -> Path | pa.BufferReader:
    return source if isinstance(source, Path) else pa.BufferReader(source)


def no_file(error: Exception) -> Finding:
    """Return the finding for a file that pyarrow can't read."""
    if isinstance(error, OSError) and error.errno:
        return refused(error)
    return damaged(str(error) or type(error).__name__)


def _looked(file: pq.ParquetFile, seen: _Seen) -> Look:
    """Return what is found in an open file: what its footer says, and all its rows."""
    about, schema = tuple(_footer(file.metadata)), tuple(_schema(file.schema_arrow))
    rows = file.metadata.num_rows
    if about and about[0].rule == "newer_version":
        return Look(about[:1], rows, None)
    if schema:
        return Look((*about, *schema), rows, None)
    try:
        wrong = [found for group in range(file.num_row_groups) for found in _group(file, group, seen)]
    except NO_FILE as error:
        return Look((*about, no_file(error)), rows, None)
    if seen.rows != rows:
        wrong.insert(0, fault("row_count", f"its footer tells of {rows:,} rows, and it holds {seen.rows:,}"))
    return Look((*about, *wrong, *seen.findings()), seen.rows, seen.keys())


def _footer(metadata: pq.FileMetaData) -> Iterator[Finding]:
    """Yield what is wrong with the notes in a footer."""
    noted = metadata.metadata or {}
    version = noted.get(VERSION_KEY)
    if version is not None and version.isdigit() and int(version) > int(SCHEMA_VERSION):
        yield newer()
    elif version != SCHEMA_VERSION:
        yield fault("wrong_version", "its footer does not say which version of this program wrote it")
    try:
        msgspec.json.decode(noted.get(LICENSES_KEY, b""), type=list[License])
    except UNREADABLE:
        yield fault("wrong_licenses", "its footer does not say under which licences the rows are")


def _schema(found: pa.Schema) -> Iterator[Finding]:
    """Yield the first column that is not what it should be."""
    wanted, there = dict(_columns(HISTORY)), dict(_columns(found))
    for name, kind in wanted.items():
        if name not in there:
            yield fault("wrong_schema", f"it has no column {name}")
            return
        if there[name] != kind:
            yield fault("wrong_schema", f"its column {name} is {there[name]}, and not {kind}")
            return
    if list(there) != list(wanted):
        more = [name for name in there if name not in wanted]
        yield fault("wrong_schema", f"it has a column {more[0]}" if more else "its columns are in another order")


def _columns(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """Yield each column with its type in words, the same however its texts are held in memory."""
    for field in schema:
        kind = pa.string() if field.type == NAME else field.type
        text = f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind)
        yield field.name, text + ("" if field.nullable else " not null")


def _group(file: pq.ParquetFile, group: int, seen: _Seen) -> Iterator[Finding]:
    """Look at the rows of one row group, and yield what its statistics tell otherwise: readers skip rows by them."""
    table = file.read_row_group(group, columns=HISTORY.names, use_threads=False)
    told = file.metadata.row_group(group)
    if told.num_rows != table.num_rows:
        yield fault("row_count", f"its footer tells of {told.num_rows:,} rows, and it holds {table.num_rows:,}")
    for place in range(told.num_columns):
        column, kind = told.column(place), file.schema.column(place).physical_type
        name = column.path_in_schema
        if column.physical_type != kind:  # and then asking for its statistics would end the process, not raise
            yield damaged(f"its footer contradicts itself about {name}")
            continue
        figures = column.statistics
        if name in HISTORY.names and figures is not None and not _agree(table.column(name), figures):
            yield fault("wrong_statistics", f"its footer tells of other values of {name} than it holds")
    seen.take(table)


def _agree(column: pa.ChunkedArray, told: pq.Statistics) -> bool:
    """Say whether the statistics of a column in the footer are those of its values."""
    if told.has_null_count and told.null_count != column.null_count:
        return False
    if not told.has_min_max:
        return True
    values = pc.unique(column)
    held = pc.min_max(values.cast(pa.string()) if column.type == NAME else values).as_py()
    return (told.min, told.max) == (held["min"], held["max"])


class _Seen:
    """The rows of a file as they pass by, a table at a time."""

    def __init__(self, year: int, sealed_to: datetime | None, issues: Collection[str]) -> None:
        self.rows = 0
        self._notes = Notes()
        self._bounds = (number(datetime(year, 1, 1, tzinfo=UTC)), _first_after(year))
        self._sealed_to = None if sealed_to is None else number(sealed_to)
        self._issues = frozenset(issues)
        self._keys: list[Keys] = []

    def take(self, table: pa.Table) -> None:
        """Look at rows in the order of the file."""
        keys = keys_of(table)
        self._keys.append(keys)
        self.rows += table.num_rows
        low, high = self._bounds
        self._note("wrong_year", keys, (keys.stamps < low) | (keys.stamps >= high))
        if self._sealed_to is not None:
            self._note("left_over", keys, keys.stamps >= self._sealed_to)
        names = pc.unique(pc.list_flatten(table.column("issues")))
        unknown = sorted(set(names.drop_null().to_pylist()) - self._issues)
        if unknown:
            odd = pc.is_in(pc.list_flatten(table.column("issues")), pa.array(unknown, pa.string()))
            self._notes.add("unknown_issue", ", ".join(unknown), pc.sum(odd).as_py())
        self._notes.add("missing_field", "", pc.list_flatten(table.column("issues")).null_count)

    def _note(self, rule: str, keys: Keys, marks: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        if marks.any():
            self._notes.add(rule, _name(keys, int(np.argmax(marks))), int(marks.sum()))

    def keys(self) -> Keys:
        """Return the keys of all rows so far."""
        self._keys = [together(self._keys)]
        return self._keys[0]

    def findings(self) -> tuple[Finding, ...]:
        """Return what they break."""
        keys = self.keys()
        steps = np.diff(keys.sensors)
        back = (steps < 0) | ((steps == 0) & (np.diff(keys.stamps) < 0))
        self._note("not_sorted", keys.only(np.arange(len(keys.sensors)) > 0), back)
        again = keys.duplicates()
        if len(again):
            self._notes.add("duplicate_key", _name(keys, int(again[0])), len(again))
        return self._notes.findings()


def keys_of(table: pa.Table) -> Keys:
    """Return the keys of a table of schema `HISTORY`."""
    sensors, stamps = (
        np.asarray(table.column(name).combine_chunks().cast(pa.int64())) for name in ("sensors_id", "datetime")
    )
    return Keys(sensors, stamps)


def _first_after(year: int) -> int:
    return number(datetime(year + 1, 1, 1, tzinfo=UTC)) if year < MAXYEAR else 2**63 - 1


def _name(keys: Keys, place: int) -> str:
    return row_name(int(keys.sensors[place]), moment(int(keys.stamps[place])))
