"""From the bytes of the archive's files to one table of rows.

1. Each file is unpacked here and not by DuckDB, so that checksum and length prove it whole, and a bomb is stopped.
2. The lines of all files go into one CSV file, each with a last field more that says from which file it came: DuckDB
   reads one large file several times as fast as hundreds of small ones.
3. As many lines must come back as went in. A broken quote, a field too many or too few, a line break inside quotes:
   any of them makes DuckDB fail or the counts differ. Then Python's `csv` reads each file alone (`archive_lines`),
   where a broken line costs nothing but itself, and the good lines are written anew for DuckDB.
"""

from __future__ import annotations

import glob
import json
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from openaq_pipeline.columns import HISTORY, NAME, UTC_STAMP
from openaq_pipeline.errors import RetriableError
from openaq_pipeline.files import storage_error
from openaq_pipeline.model import Reject
from openaq_pipeline.openaq.archive_files import ArchiveFile
from openaq_pipeline.openaq.archive_lines import (
    AS_EXPORTED,
    COLUMNS,
    BadFile,
    Header,
    header_of,
    rewrite,
    tag,
    unpack,
    untag,
)

DUCKDB: dict[str, str | int | float | bool | list[str]] = {
    "threads": 2,
    "memory_limit": "512MB",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}

STAMP = r"\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-](0\d|1[0-5])(:?[0-5]\d)?)"
"""A time with its offset. DuckDB's own cast would take one without, too, and put it into some zone."""

LINES = f"""
    SELECT *,
        CASE WHEN regexp_full_match(sensors_id, '[0-9]{{1,18}}') THEN try_cast(sensors_id AS BIGINT) END AS sensor,
        CASE WHEN regexp_full_match(datetime, '{STAMP}') THEN epoch_us(try_cast(datetime AS TIMESTAMPTZ)) END AS stamp,
        try_cast(value AS DOUBLE) AS number,
        CASE
            WHEN try_cast(location_id AS BIGINT) IS NULL THEN 'it names no location'
            WHEN sensor IS NULL OR sensor = 0 THEN 'it names no sensor'
            WHEN stamp IS NULL THEN 'its time is none, or has no offset'
            WHEN stamp NOT BETWEEN $first AND $last THEN 'its time is beyond the calendar'
            WHEN parameter IS NULL THEN 'it names no parameter'
            WHEN units IS NULL THEN 'it names no unit'
            WHEN value IS NULL THEN NULL
            WHEN number IS NULL OR NOT isfinite(number) OR contains(value, '_') THEN 'its value is no number'
        END AS reason
    FROM read_csv($path, columns = {{{", ".join(f"'{name}': 'VARCHAR'" for name in (*COLUMNS, "file"))}}},
        header = false, auto_detect = false, strict_mode = true, delim = ',', quote = '"', escape = '"')
"""  # noqa: S608 - put together from this file alone
ROWS = f"""
    SELECT sensor, parameter, units, number, stamp, datetime, try_cast(substr(file, 2) AS INTEGER) AS file,
        reason IS NOT NULL AS broken, try_cast(location_id AS BIGINT) <> $location AS other
    FROM ({LINES})
"""  # noqa: S608 - put together from this file alone
BROKEN = (
    f"SELECT substr(file, 2)::INTEGER, sensor, reason, {', '.join(COLUMNS)} FROM ({LINES}) WHERE reason IS NOT NULL"  # noqa: S608
)

FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, in microseconds from 1970: what `datetime` can hold."""


class ArchiveRows(NamedTuple):
    """What files of the archive held: a `table` of schema `columns.HISTORY`, sorted and unique by sensor and stamp.

    `rejects` are lines that are no measurements. `problems` are files of which nothing is in the table, each with a
    sentence that says why.
    """

    table: pa.Table
    rejects: list[Reject]
    problems: list[tuple[ArchiveFile, str]]


class _Part(NamedTuple):
    """The lines of a file inside the large one: where its bytes are, and how many lines."""

    file: ArchiveFile
    header: Header
    offset: int
    size_bytes: int
    lines: int


Fetched = Iterable[tuple[ArchiveFile, bytes | BadFile]]
"""Files of one location, each with its bytes or with the reason why there are none."""


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """Return a database in memory, for `read`; what does not fit there goes to `folder`."""
    return duckdb.connect(":memory:", config={**DUCKDB, "temp_directory": str(folder.absolute())})


def read(
    fetched: Fetched, *, location_id: int, now: datetime, folder: Path, database: duckdb.DuckDBPyConnection
) -> ArchiveRows:
    """Return the rows of files of one location, first seen `now`; of rows with the same key that of the last file.

    Temporary files are made in `folder`, and gone at the end; raises `StorageError` if that can't be, and whatever
    `fetched` raises.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".archive-", dir=folder) as place:
            reading = _Reading(location_id, now, Path(place).absolute() / "lines.csv", database)
            return reading.rows(fetched)
    except OSError as error:
        raise storage_error(error, folder) from error


class _Reading:
    """One `read`: the large file, its parts, and what was found out about them."""

    def __init__(self, location_id: int, now: datetime, path: Path, database: duckdb.DuckDBPyConnection) -> None:
        self._location_id = location_id
        self._now = now
        self._path = path
        self._database = database
        self._parts: list[_Part] = []
        self._rejects: list[Reject] = []
        self._problems: dict[ArchiveFile, str] = {}

    def rows(self, fetched: Fetched) -> ArchiveRows:
        self._gather(fetched)
        found = self._parse()
        if found is None:
            self._read_alone()
            found = self._parse()
        if found is None:
            raise RetriableError(f"The archive's files of location {self._location_id} can't be read")
        others = set(pc.unique(found["file"].filter(found["other"])).to_pylist())
        for number in others:
            reason = f"holds rows of another location than {self._location_id}"
            self._problems[self._parts[number].file] = reason
        if pc.any(found["broken"]).as_py():
            self._reject_broken(others)
        problems = [(file, f"{file.name} {reason}") for file, reason in self._problems.items()]
        return ArchiveRows(_history(_unique(_good(found, others)), self._now), self._rejects, problems)

    def _gather(self, fetched: Fetched) -> None:
        """Write the lines of all usable files to the large one, each with the number of its part."""
        with self._path.open("wb") as lines:
            for file, data in fetched:
                try:
                    if isinstance(data, BadFile):
                        raise data
                    header, body = header_of(unpack(data))
                except BadFile as error:
                    self._problems[file] = str(error)
                else:
                    self._parts.append(_put(lines, file, header, tag(body, len(self._parts))))

    def _parse(self) -> pa.Table | None:
        """Return what DuckDB reads in the large file, in its order; None if that are not the lines it was given."""
        if any(part.header != AS_EXPORTED for part in self._parts):
            return None
        try:
            found = self._query(ROWS, location=self._location_id).to_arrow_table()
        except duckdb.Error:
            return None
        counted = {each["values"]: each["counts"] for each in pc.value_counts(found["file"]).to_pylist()}
        written = {number: part.lines for number, part in enumerate(self._parts) if part.lines}
        return found if counted == written else None

    def _read_alone(self) -> None:
        """Write the large file anew, each part read by itself; its broken lines are rejects."""
        parts, self._parts = self._parts, []
        source = self._path.rename(self._path.with_name("as_found.csv"))
        with source.open("rb") as found, self._path.open("wb") as lines:
            for number, part in enumerate(parts):
                found.seek(part.offset)
                body = untag(found.read(part.size_bytes), number)
                try:
                    marked, broken = rewrite(body, part.header, len(self._parts))
                except BadFile as error:
                    self._problems[part.file] = str(error)
                    continue
                self._parts.append(_put(lines, part.file, AS_EXPORTED, marked))
                for reason, row in broken:
                    self._reject(part.file, None, reason, row)

    def _reject_broken(self, others: set[int]) -> None:
        """Take the lines that are no measurements for rejects, but those of files that are left out."""
        for number, sensor, reason, *fields in self._query(BROKEN).fetchall():
            if number not in others:
                row = json.dumps(dict(zip(COLUMNS, fields, strict=True)), ensure_ascii=False)
                self._reject(self._parts[number].file, sensor, reason, row)

    def _reject(self, file: ArchiveFile, sensor: int | None, reason: str, row: str) -> None:
        said = f"A line of {file.name} is no measurement: {reason}"
        self._rejects.append(Reject(self._location_id, sensor or 0, said, row, self._now))

    def _query(self, query: str, **names: int) -> duckdb.DuckDBPyRelation:
        path = glob.escape(str(self._path))  # DuckDB takes it for a pattern
        return self._database.sql(query, params={"path": path, "first": FIRST, "last": LAST, **names})


def _put(lines: IO[bytes], file: ArchiveFile, header: Header, marked: bytes) -> _Part:
    """Write the lines of a file; return where they are."""
    part = _Part(file, header, lines.tell(), len(marked), marked.count(b"\n"))
    lines.write(marked)
    return part


def _good(found: pa.Table, others: set[int]) -> pa.Table:
    """Return the lines that are measurements, but those of files that are left out."""
    bad = found["broken"]
    if others:
        bad = pc.or_(bad, pc.is_in(found["file"], pa.array(others, found["file"].type)))
    return found.filter(pc.invert(bad)) if pc.any(bad).as_py() else found


def _unique(found: pa.Table) -> pa.Table:
    """Return rows sorted by sensor and stamp; of equal ones the last."""
    for name in ("parameter", "units"):
        found = found.set_column(found.schema.get_field_index(name), name, found[name].cast(NAME))
    # the sort is stable: equal rows stay in the order of the files
    rows = found.take(pc.sort_indices(found, [("sensor", "ascending"), ("stamp", "ascending")])).combine_chunks()
    if len(rows) < 2:
        return rows
    here, behind = rows.slice(0, len(rows) - 1), rows.slice(1)
    differs = pc.or_(*(pc.not_equal(here[name], behind[name]) for name in ("sensor", "stamp")))
    if pc.all(differs).as_py():
        return rows
    return rows.filter(pa.chunked_array([*differs.chunks, pa.array([True])]))


def _history(rows: pa.Table, now: datetime) -> pa.Table:
    """Return rows with the columns of `HISTORY`; what the archive does not say is null."""
    count = len(rows)
    columns = {
        "sensors_id": rows["sensor"],
        "parameters_id": pa.nulls(count, pa.int32()),
        "parameter": rows["parameter"],
        "units": rows["units"],
        "value": rows["number"],
        "datetime": rows["stamp"].cast(UTC_STAMP),
        "datetime_local": rows["datetime"],
        "interval_seconds": pa.nulls(count, pa.int32()),
        "has_flags": pa.nulls(count, pa.bool_()),
        "issues": pa.ListArray.from_arrays(_repeat(0, count + 1, pa.int32()), pa.array([], pa.string())),
        "source": pa.DictionaryArray.from_arrays(_repeat(0, count, pa.int32()), pa.array(["archive"])),
        "first_seen": _repeat(now, count, UTC_STAMP),
    }
    return pa.table([columns[name] for name in HISTORY.names], schema=HISTORY)


def _repeat(value: object, count: int, kind: pa.DataType) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), count)
