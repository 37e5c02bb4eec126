"""The forms of an export: each takes the rows a location at a time and writes one file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from openaq_pipeline.columns import HISTORY, MEASUREMENTS, to_rows
from openaq_pipeline.errors import StorageError
from openaq_pipeline.reading.flat import flat, harmless

ROWS_A_SHEET = 1_048_575
"""What a sheet holds under its line of names; more rows go to another sheet."""

CHUNK_ROWS = 50_000
FIRST_EXCEL_YEAR = 1901
"""Excel knows no earlier days for sure: it has a 29 February 1900."""


class Writer(Protocol):
    """Something that takes tables of schema `MEASUREMENTS`, one after the other."""

    def __call__(self, table: pa.Table) -> None:
        """Write the rows of a table."""


@contextmanager
def csv(file: IO[bytes]) -> Iterator[Writer]:
    """Write CSV with a line of names; lists of issues are joined by `;`, and formulas are made harmless."""
    with pyarrow.csv.CSVWriter(file, flat(MEASUREMENTS.empty_table()).schema) as writer:
        yield lambda table: writer.write_table(flat(table))


@contextmanager
def parquet(file: IO[bytes]) -> Iterator[Writer]:
    """Write Parquet of the columns of `MEASUREMENTS`, its texts plain for every reader."""
    with pq.ParquetWriter(file, MEASUREMENTS, compression="zstd", store_schema=False) as writer:
        yield writer.write_table


@contextmanager
def json(file: IO[bytes]) -> Iterator[Writer]:
    """Write a JSON array in the form of `location_{id}.json`: one measurement a line."""
    between = b"[\n"

    def write(table: pa.Table) -> None:
        nonlocal between
        for chunk in _chunks(table):
            rows = to_rows(chunk.column("location_id")[0].as_py(), chunk.select(HISTORY.names))
            file.write(between + b",\n".join(map(msgspec.json.encode, rows)))
            between = b",\n"

    yield write
    file.write(b"[]\n" if between == b"[\n" else b"\n]\n")


@contextmanager
def xlsx(file: IO[bytes], *, rows_a_sheet: int = ROWS_A_SHEET) -> Iterator[Writer]:
    """Write a workbook, with another sheet for every so many rows; times are Excel's own, in UTC."""
    import xlsxwriter  # noqa: PLC0415 - only spreadsheets need it

    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "nan_inf_to_errors": True,
    }
    book = xlsxwriter.Workbook(file, options)
    try:
        yield _Sheets(book, rows_a_sheet)
    finally:
        _close(book)


FORMATS: dict[str, Callable[[IO[bytes]], Any]] = {"csv": csv, "parquet": parquet, "json": json, "xlsx": xlsx}


def _close(book: Any) -> None:
    """Write the workbook, and remove what was kept beside it meanwhile."""
    from xlsxwriter.exceptions import XlsxWriterException  # noqa: PLC0415 - see above

    try:
        book.close()
    except XlsxWriterException as error:
        raise StorageError(f"The spreadsheet can't be written: {error}", hint="Free some disk space.") from error


class _Sheets:
    """The sheets of a workbook, begun as rows come."""

    def __init__(self, book: Any, rows_a_sheet: int) -> None:
        self._book = book
        self._rows_a_sheet = rows_a_sheet
        self._time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._bold = book.add_format({"bold": True})
        self._begin()

    def __call__(self, table: pa.Table) -> None:
        """Write the rows of a table, on new sheets where one is full."""
        for chunk in _chunks(table):
            for row in zip(*(column.to_pylist() for column in chunk.itercolumns()), strict=True):
                if self._row > self._rows_a_sheet:
                    self._begin()
                self._write(row)

    def _begin(self) -> None:
        self._sheet = self._book.add_worksheet()
        self._sheet.freeze_panes(1, 0)
        for column, name in enumerate(MEASUREMENTS.names):
            self._sheet.write_string(0, column, name, self._bold)
        self._row = 1

    def _write(self, row: Iterable[Any]) -> None:
        for column, value in enumerate(row):
            if value is None:
                continue
            if isinstance(value, bool):
                self._sheet.write_boolean(self._row, column, value)
            elif isinstance(value, int | float):
                self._sheet.write_number(self._row, column, value)
            elif isinstance(value, datetime) and value.year >= FIRST_EXCEL_YEAR:
                self._sheet.write_datetime(self._row, column, value.replace(tzinfo=None), self._time)
            else:
                self._sheet.write_string(self._row, column, harmless(_text(value)))
        self._row += 1


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return ";".join(value) if isinstance(value, list) else str(value)


def _chunks(table: pa.Table) -> Iterator[pa.Table]:
    """Yield a table in pieces whose rows fit into memory as Python's objects."""
    for start in range(0, table.num_rows, CHUNK_ROWS):
        yield table.slice(start, CHUNK_ROWS)
