"""The database as a store: rows and the mark of the file they came from, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import LiteralString, NamedTuple

import msgspec
import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from openaq_pipeline.errors import RetriableError
from openaq_pipeline.model import FileMark, Location
from openaq_pipeline.storage.postgres.connection import Database
from openaq_pipeline.storage.postgres.marks import DESCRIPTIONS, Mark
from openaq_pipeline.storage.postgres.migrate import Flavour
from openaq_pipeline.storage.postgres.partitions import make_partitions
from openaq_pipeline.storage.postgres.text import Block

HOLD_SECONDS, HOLD_POLL_SECONDS = 30.0, 0.1

LOCK_CLASS = 0x0AE0
"""With the location's id the key of the advisory lock on a location: one sync at a time reads it and writes it."""

STAGING = "CREATE TEMPORARY TABLE staging (LIKE openaq.measurements) ON COMMIT DELETE ROWS"
COPY_STAGING = "COPY staging FROM STDIN (FORMAT csv)"
COPY_MEASUREMENTS = "COPY openaq.measurements FROM STDIN (FORMAT csv)"
UPSERT = """
    INSERT INTO openaq.measurements AS old SELECT * FROM staging
    ON CONFLICT (sensors_id, datetime) DO UPDATE SET
        location_id = excluded.location_id, parameters_id = excluded.parameters_id, parameter = excluded.parameter,
        units = excluded.units, value = excluded.value, datetime_local = excluded.datetime_local,
        interval_seconds = excluded.interval_seconds, has_flags = excluded.has_flags, issues = excluded.issues,
        source = excluded.source, first_seen = excluded.first_seen
    WHERE (old.location_id, old.parameters_id, old.parameter, old.units, old.value, old.datetime_local,
           old.interval_seconds, old.has_flags, old.issues, old.source)
    IS DISTINCT FROM (excluded.location_id, excluded.parameters_id, excluded.parameter, excluded.units, excluded.value,
           excluded.datetime_local, excluded.interval_seconds, excluded.has_flags, excluded.issues, excluded.source)
"""
MARK = """
    INSERT INTO openaq.sync_marks (location_id, part, size_bytes, mtime_ns, sealed_to) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (location_id, part) DO UPDATE SET
        size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns, sealed_to = excluded.sealed_to,
        synced_at = excluded.synced_at
"""
LOCATION = """
    INSERT INTO openaq.locations VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (location_id) DO UPDATE SET
        name = excluded.name, locality = excluded.locality, timezone = excluded.timezone,
        country_code = excluded.country_code, country_name = excluded.country_name, latitude = excluded.latitude,
        longitude = excluded.longitude, provider = excluded.provider, owner = excluded.owner,
        is_mobile = excluded.is_mobile, is_monitor = excluded.is_monitor, licenses = excluded.licenses,
        datetime_first = excluded.datetime_first, datetime_last = excluded.datetime_last, fetched = excluded.fetched
    WHERE locations.fetched <= excluded.fetched
"""
SENSOR = """
    INSERT INTO openaq.sensors AS old VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (sensors_id) DO UPDATE SET
        location_id = excluded.location_id, parameters_id = excluded.parameters_id, parameter = excluded.parameter,
        units = excluded.units, display_name = excluded.display_name
    WHERE old IS DISTINCT FROM excluded
"""


class Sent(NamedTuple):
    """Rows of one file: how many were compared with the database, and how many were new or changed there."""

    rows: int = 0
    written: int = 0

    def __add__(self, other: object) -> Sent:
        if not isinstance(other, Sent):
            return NotImplemented
        return Sent(self.rows + other.rows, self.written + other.written)


class Sink:
    """The tables of `openaq`, over one connection."""

    def __init__(self, database: Database, flavour: Flavour) -> None:
        self._database = database
        self._flavour = flavour
        with database.step() as connection:
            connection.execute(STAGING)
            if flavour == "timescaledb":  # a year of a location may well lie in compressed chunks
                connection.execute("SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0")

    def marks(self, location_id: int | None = None) -> dict[tuple[int, str], Mark]:
        """Return the marks of one location, or of all, by location and part."""
        query = "SELECT location_id, part, size_bytes, mtime_ns, sealed_to FROM openaq.sync_marks"
        with self._database.step() as connection:
            if location_id is None:
                rows = connection.execute(query).fetchall()
            else:
                rows = connection.execute(query + " WHERE location_id = %s", [location_id]).fetchall()
        return {(id_, part): Mark(FileMark(size, mtime), sealed) for id_, part, size, mtime, sealed in rows}

    @contextmanager
    def hold(self, location_id: int) -> Iterator[None]:
        """Keep other syncs off a location, from reading its files to having written them.

        Otherwise one that was slow could write older rows over those of a faster one. Raises `RetriableError` where
        another one does not let go.
        """
        patience = time.monotonic() + HOLD_SECONDS
        while not self._take(location_id):
            if time.monotonic() > patience:
                raise RetriableError(
                    f"Another sync works on location {location_id} in PostgreSQL", hint="Let it end, then sync again."
                )
            time.sleep(HOLD_POLL_SECONDS)
        try:
            yield
        finally:
            if not self._database.connection.closed:
                with self._database.step() as connection:
                    connection.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK_CLASS, location_id])

    def _take(self, location_id: int) -> bool:
        query = "SELECT pg_try_advisory_lock(%s, %s)"
        with self._database.step() as connection:
            return connection.execute(query, [LOCK_CLASS, location_id]).fetchone() == (True,)

    def write(self, location_id: int, part: str, mark: Mark, blocks: Iterable[Block], *, fresh: bool) -> Sent:
        """Write rows and their file's mark, all or nothing; the blocks are read while the transaction is open.

        With `fresh` the rows are thought to be new, and go into the table without a comparison until one is not: three
        times as fast. An error while the blocks are read undoes all. Raises `Unavailable`, `Refused` or `StorageError`.
        """
        total = Sent()
        with closing(_ahead(blocks)) as ahead, self._transaction():
            for block in ahead:
                sent = self._write_block(block, fresh=fresh)
                if sent is None:
                    fresh = False
                    sent = self._write_block(block, fresh=False) or Sent()
                total += sent
            with self._database.step() as connection:
                connection.execute(MARK, [location_id, part, mark.file.size_bytes, mark.file.mtime_ns, mark.sealed_to])
        return total

    def describe(self, locations: Iterable[Location], mark: FileMark) -> None:
        """Bring the tables of locations and sensors up to `locations.json`, whose mark this is.

        What was asked of OpenAQ when the tables say it was is there already: of 25,000 a run asks anew for a few.
        """
        with self._database.step() as connection:
            there = dict(connection.execute("SELECT location_id, fetched FROM openaq.locations").fetchall())
        known = [location for location in locations if there.get(location.id) != location.fetched]
        sensors = [
            (s.id, each.id, s.parameters_id, s.parameter, s.units, s.display_name)
            for each in known
            for s in each.sensors
        ]
        with self._transaction(), self._database.step() as connection, connection.cursor() as cursor:
            cursor.executemany(LOCATION, [_as_row(location) for location in known])
            cursor.executemany(SENSOR, sensors)
            cursor.execute(MARK, [*DESCRIPTIONS, mark.size_bytes, mark.mtime_ns, None])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Open a transaction; its begin and its end are steps of their own."""
        with self._database.step() as connection:
            connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            if not self._database.connection.closed:
                with self._database.step() as connection:
                    connection.execute("ROLLBACK")
            raise
        with self._database.step() as connection:
            connection.execute("COMMIT")

    def _write_block(self, block: Block, *, fresh: bool) -> Sent | None:
        """Write some rows; None: with `fresh` some of them were there already, and nothing was written."""
        with self._database.step() as connection:
            if self._flavour == "plain":
                make_partitions(connection, block.months)
            if not fresh:
                return Sent(block.rows, _upsert(connection, block))
            try:
                with connection.transaction():  # inside the one that is open: a savepoint
                    _copy(connection, COPY_MEASUREMENTS, block)
            except errors.UniqueViolation:
                return None
            return Sent(block.rows, block.rows)


def _ahead(blocks: Iterable[Block]) -> Generator[Block]:
    """Yield the blocks, each made while the server works on the one before."""
    source = iter(blocks)
    with ThreadPoolExecutor(1, thread_name_prefix="block") as pool:
        future = pool.submit(next, source, None)
        while (block := future.result()) is not None:
            future = pool.submit(next, source, None)
            yield block


def _upsert(connection: psycopg.Connection, block: Block) -> int:
    """Compare rows with those that are there; return how many were new or different."""
    _copy(connection, COPY_STAGING, block)
    written = connection.execute(UPSERT).rowcount
    connection.execute("TRUNCATE staging")
    return written


def _copy(connection: psycopg.Connection, statement: LiteralString, block: Block) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(block.text)


def _as_row(location: Location) -> list[object]:
    """Return a location in the order of its table."""
    values = [getattr(location, name) for name in Location.__struct_fields__ if name != "sensors"]
    values[Location.__struct_fields__.index("licenses")] = Jsonb(msgspec.to_builtins(location.licenses))
    return values
