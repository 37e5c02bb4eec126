"""SQL over the data folder: DuckDB in memory, which reads the files and can change nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from openaq_pipeline.bounded import check_is_file
from openaq_pipeline.columns import UTC_STAMP
from openaq_pipeline.errors import ConfigError, PipelineError, RetriableError, StorageError
from openaq_pipeline.reading import views
from openaq_pipeline.reading.folder import history_file, live_file, live_locations, sealed_locations, versions
from openaq_pipeline.reading.location import MEND
from openaq_pipeline.storage.sealed import sealed_to

TRIES = 5
PAUSE_SECONDS = 0.2
BATCH_ROWS = 100_000

USERS_OWN = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.NotImplementedException,
    duckdb.PermissionException,
    duckdb.SyntaxException,
    duckdb.TypeMismatchException,
)
"""Errors that say that the query is wrong."""

USERS_WORDS = ("Conversion Error", "Out of Range Error")
"""How such errors begin where they come with the later rows of an answer, as Arrow's."""

BREAKDOWNS = (duckdb.Error, pa.ArrowException, OSError)

T = TypeVar("T")
Sealed = dict[int, datetime]
Mark = tuple[int, int, int]


class Look(NamedTuple):
    """How the history stood at a moment: its boundaries, and which version of each file was there."""

    sealed: Sealed
    files: dict[tuple[int, int], Mark]


def run(
    folder: Path, sql: str, use: Callable[[pa.RecordBatchReader], T], *, sleep: Callable[[float], None] = time.sleep
) -> T:
    """Return what `use` makes of the rows of a query over the data in `folder`.

    Nothing is locked: how the history stands is noted before and after, and when it has changed in between the query is
    asked once more, so `use` may be called several times, and only what it returns last counts. DuckDB opens a file
    more than once, so that a file replaced meanwhile would be read half old and half new.

    Raises `ConfigError` for a query that is wrong or more than a query, `StorageError` for a damaged file, and
    `RetriableError` when the history changes all the time.
    """
    for attempt in range(TRIES):
        before = look(folder)
        try:
            with connected(folder, before) as connection:
                result = use(_ask(connection, sql))
            if look(folder) == before:
                return result
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except BREAKDOWNS as error:
            if _is_users_own(error):
                raise ConfigError(f"The query can't be answered: {_first_line(error)}") from error
            if getattr(error, "errno", None):  # of the place where `use` writes
                raise
            if look(folder) == before:
                raise _explained(error, folder, before) from error
        sleep(PAUSE_SECONDS * 2**attempt)
    raise RetriableError("The history changed all the time while the query ran", hint="Ask again in a few minutes.")


def look(folder: Path) -> Look:
    """Return how the history stands now."""
    found = {location_id: sealed_to(folder, location_id) for location_id in sealed_locations(folder)}
    sealed = {location_id: moment for location_id, moment in found.items() if moment is not None}
    return Look(sealed, {(key, year): mark for key in sealed for year, mark in versions(folder, key).items()})


@contextmanager
def connected(folder: Path, seen: Look) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a database in memory with the tables of a data folder, which can read that folder and nothing else."""
    with TemporaryDirectory(prefix="openaq-query-") as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        connection = duckdb.connect(":memory:", config=settings)
        try:
            _make_tables(connection, folder, seen)
            _shut(connection, folder, spill)
            yield connection
        finally:
            connection.close()


def _make_tables(connection: duckdb.DuckDBPyConnection, folder: Path, seen: Look) -> None:
    live, sealed = live_locations(folder), seen.sealed
    _check_live_files(folder, live)
    connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA layout")
    columns = [pa.array(sealed.keys(), pa.int64()), pa.array(sealed.values(), UTC_STAMP)]
    connection.register("given", pa.table(columns, ["location_id", "sealed_to"]))
    connection.execute("CREATE TABLE layout.sealed AS FROM given")
    connection.unregister("given")
    tables = {
        "measurements": views.measurements(
            folder,
            years=sorted({year for _, year in seen.files}),
            live=bool(live),
            live_from=min(sealed.values()) if sealed.keys() >= set(live) and sealed else None,
        ),
        "locations": views.locations(folder, there=(known := (folder / "locations.json").exists())),
        "sensors": views.sensors(folder, there=known, state=(folder / ".state.json").exists()),
        "runs": views.runs(folder, there=(folder / "metrics.json").exists()),
    }
    for name, query in tables.items():
        connection.execute(f"CREATE VIEW {name} AS {query}")


def _check_live_files(folder: Path, ids: list[int]) -> None:
    """Raise `StorageError` for a location file without a byte, in which DuckDB would see no rows and no damage."""
    for location_id in ids:
        path = live_file(folder, location_id)
        check_is_file(path)
        if path.stat().st_size == 0:
            raise StorageError(f"{path} is damaged: it is empty", hint="The next run mends it.")


def _shut(connection: duckdb.DuckDBPyConnection, folder: Path, spill: str) -> None:
    """Leave a query nothing to read but the data folder, nothing to install and no setting to change."""
    folders = ", ".join(map(views.quoted, {str(folder), views.escaped(folder), spill}))
    for setting, value in (
        ("temp_directory", views.quoted(spill)),
        ("python_enable_replacements", "false"),
        ("allowed_directories", f"[{folders}]"),
        ("enable_external_access", "false"),
        ("lock_configuration", "true"),
    ):
        connection.execute(f"SET {setting} = {value}")


def _ask(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.RecordBatchReader:
    """Return the rows of a query; raises `ConfigError` for what is more than one query, or none."""
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise ConfigError(f"One query is wanted, not {len(statements)}", hint="Such as: SELECT * FROM measurements")
    if statements[0].type != duckdb.StatementType.SELECT:
        _check_query(sql)
    return connection.sql(sql).to_arrow_reader(BATCH_ROWS)


def _check_query(sql: str) -> None:
    """Raise `ConfigError` unless a statement that DuckDB runs in several steps (PIVOT) is a query all the same."""
    try:
        if len(duckdb.extract_statements(f"SELECT * FROM ({sql.rstrip().removesuffix(';')}\n)")) == 1:
            return
    except duckdb.Error:
        pass
    raise ConfigError("Only queries (SELECT …) are possible here: the data are not changed", hint="")


def _is_users_own(error: Exception) -> bool:
    return isinstance(error, USERS_OWN) or str(error).startswith(USERS_WORDS)


def _explained(error: Exception, folder: Path, seen: Look) -> PipelineError:
    """Return one of our errors for one of DuckDB's or Arrow's: a file is damaged, and which, or the query is wrong."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return StorageError("The query needs more memory or disk space than there is", hint="Ask for less.")
    if f"{folder}/" in str(error):
        return StorageError(f"A file is damaged: {_first_line(error)}", hint=MEND)
    if culprit := _damaged(folder, seen):
        return StorageError(f"{culprit} is damaged: {_first_line(error)}", hint=MEND)
    return ConfigError(f"The query can't be answered: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """Return DuckDB's reason in one line, with its advice where a name is misspelt."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    advice = [line for line in lines[1:] if line.startswith(("Did you mean", "Candidate bindings"))]
    return " ".join([lines[0].removesuffix("."), *advice]) if lines else type(error).__name__


def _damaged(folder: Path, seen: Look) -> Path | None:
    """Return the first history file that can't be read: not all of DuckDB's errors name it. None: all can."""
    for location_id, year in seen.files:
        path = history_file(folder, location_id, year)
        try:
            check_is_file(path)
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                file.read()
        except (OSError, pa.ArrowException):
            return path
    return None
