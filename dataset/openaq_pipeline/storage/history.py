"""`history/location_id={id}/year={YYYY}/measurements.parquet`: what is older than the live window, a file a year.

Sorted by (sensors_id, datetime) and unique by it; `year` is that of the stamp in UTC. Which rows count is not said here
but in `storage.sealed`. Imports pyarrow, so it is imported only where history is written or read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openaq_pipeline.bounded import check_is_file
from openaq_pipeline.columns import HISTORY, NAME
from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import make_durably, remove_temporary, replacing, storage_error
from openaq_pipeline.model import License
from openaq_pipeline.storage.sealed import history_folder, note_years

FILE = "measurements.parquet"
SCHEMA_VERSION = b"1"
VERSION_KEY, LICENSES_KEY = b"openaq_pipeline.schema_version", b"openaq_pipeline.licenses"
TEXTS = [field.name for field in HISTORY if field.type == NAME]
ORDER = [("sensors_id", "ascending"), ("datetime", "ascending")]
DELTAS = {
    "datetime": "DELTA_BINARY_PACKED",
    "datetime_local": "DELTA_BYTE_ARRAY",
    "first_seen": "DELTA_BINARY_PACKED",
}
"""What differs from row to row by little is written as differences: half the size of the whole file, at no time."""

WRITING: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "use_dictionary": [name for name in HISTORY.names if name not in DELTAS],
    "column_encoding": DELTAS,
    "store_schema": False,  # plain strings for every reader, not Arrow's dictionaries
    "write_page_checksum": True,
    "sorting_columns": pq.SortingColumn.from_ordering(HISTORY, ORDER),
}

_YEAR = re.compile(r"year=([0-9]{1,4})", re.ASCII)


class History:
    """The history of one data folder; `write` wants the location's lock held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, location_id: int, year: int) -> Path:
        """Return where a location's rows of a year are."""
        return history_folder(self._folder, location_id) / f"year={year:04}" / FILE

    def years(self, location_id: int) -> list[int]:
        """Return the years a location has a file for, in ascending order."""
        try:
            folders = [path for path in history_folder(self._folder, location_id).iterdir() if (path / FILE).exists()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(error, history_folder(self._folder, location_id)) from error
        return sorted(int(found[1]) for path in folders if (found := _YEAR.fullmatch(path.name)))

    def year(self, location_id: int, year: int) -> pa.Table:
        """Return all rows of a year in file order, as a table of schema `HISTORY`; an empty one without a file.

        Raises `StorageError` for a file that can't be read to its last page, or is not what this program writes.
        """
        path = self.path(location_id, year)
        try:
            check_is_file(path)
            with pq.ParquetFile(path, read_dictionary=TEXTS, page_checksum_verification=True) as file:
                table = file.read(columns=HISTORY.names, use_threads=False)
            return table.cast(HISTORY).unify_dictionaries()
        except FileNotFoundError:
            return HISTORY.empty_table()
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise damaged(path, error) from error

    def read(self, location_id: int, start: datetime, end: datetime) -> pa.Table:
        """Return the rows with start <= stamp < end, by year and in the order of each file; raises `StorageError`."""
        years = [year for year in self.years(location_id) if start.year <= year <= end.year]
        tables = [_between(self.year(location_id, year), start, end) for year in years]
        return pa.concat_tables(tables).unify_dictionaries() if tables else HISTORY.empty_table()

    def latest(self, location_id: int, before: datetime) -> dict[int, datetime]:
        """Return the latest stamp before a moment of each sensor; raises `StorageError`."""
        found: dict[int, datetime] = {}
        for year in self.years(location_id):
            table = _between(self.year(location_id, year), datetime.min.replace(tzinfo=UTC), before)
            newest = table.group_by("sensors_id").aggregate([("datetime", "max")])
            for sensors_id, stamp in zip(
                *(newest.column(name).to_pylist() for name in newest.column_names), strict=True
            ):
                found[sensors_id] = stamp.replace(tzinfo=UTC)
        return found

    def firsts(self, location_id: int) -> dict[int, datetime]:
        """Return the first stamp of each year by the footers of its file; years that can't be read are left out."""
        spans = {year: span_of(self.path(location_id, year)) for year in self.years(location_id)}
        return {year: span[0] for year, span in spans.items() if span is not None}

    def write(self, location_id: int, year: int, table: pa.Table, licenses: Iterable[License] | None) -> None:
        """Replace a location's rows of a year by `table`, sorted and of schema `HISTORY`; durable when it returns.

        `licenses` go into the file's metadata; None: they are not known, and those in the file stay.
        """
        path = self.path(location_id, year)
        noted = self._licenses(path) if licenses is None else msgspec.json.encode(list(licenses))
        try:
            make_durably(path.parent)
            remove_temporary(path)
        except OSError as error:
            raise storage_error(error, path.parent) from error
        with replacing(path) as file, pq.ParquetWriter(file, HISTORY, **WRITING) as writer:
            writer.write_table(table.cast(HISTORY))
            writer.add_key_value_metadata({VERSION_KEY: SCHEMA_VERSION, LICENSES_KEY: noted})
        if table.num_rows:
            note_years(self._folder, location_id, {year: pc.min(table.column("datetime")).as_py().astimezone(UTC)})

    @staticmethod
    def _licenses(path: Path) -> bytes:
        """Return the licences noted in a file; none for one that is not there or can't be read."""
        try:
            return bytes((pq.read_metadata(path).metadata or {}).get(LICENSES_KEY, b"[]"))
        except (pa.ArrowException, OSError):
            return b"[]"


def span_of(path: Path) -> tuple[datetime, datetime] | None:
    """Return the first and the last stamp of a year by its footer; None: it has no row, or it can't be read."""
    try:
        about = pq.read_metadata(path)
        place = about.schema.to_arrow_schema().get_field_index("datetime")
        groups = [about.row_group(number).column(place).statistics for number in range(about.num_row_groups)]
        stamps = [stamp for told in groups if told is not None for stamp in (told.min, told.max)]
        return (min(stamps).astimezone(UTC), max(stamps).astimezone(UTC)) if stamps else None
    except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError, TypeError):
        return None


def _between(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    """Return the rows with start <= stamp < end."""
    stamps = table.column("datetime")
    inside = pc.and_(pc.greater_equal(stamps, _scalar(start)), pc.less(stamps, _scalar(end)))
    return table.filter(inside)


def _scalar(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment, HISTORY.field("datetime").type)


def damaged(path: Path, error: Exception) -> StorageError:
    """Return the error for a file that is not as it was written."""
    if isinstance(error, OSError) and error.errno:
        return storage_error(error, path)
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return StorageError(
        f"{path} is damaged: {reason}",
        hint="Run `openaq-pipeline verify --repair`: it sets the file aside and fetches its rows again.",
    )
