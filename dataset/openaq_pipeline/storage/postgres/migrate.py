"""The schema of the database: numbered SQL files, each applied once and in one transaction."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from importlib import resources
from typing import Literal, LiteralString, NamedTuple, cast

import psycopg

from openaq_pipeline.errors import FatalError
from openaq_pipeline.storage.postgres.connection import Database

log = logging.getLogger(__name__)

Flavour = Literal["plain", "timescaledb"]

FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>\w+)(?:\.(?P<flavour>plain|timescaledb))?\.sql")

LOCK = 0x0AE0_0001
"""Key of the advisory lock under which the schema changes; any number of ours."""

OLDEST_TIMESCALEDB = (2, 11)
"""The first in which rows in compressed chunks can be updated by ON CONFLICT."""


class Migration(NamedTuple):
    """One SQL file. `flavour` is None where both kinds of database need it."""

    version: int
    file: str
    flavour: Flavour | None


class Extension(NamedTuple):
    """What a server says of TimescaleDB: the version in this database (None: not created), its licence (None: same)."""

    installed: str | None
    license: str | None


def chosen(names: Iterable[str], flavour: Flavour) -> list[Migration]:
    """Return the migrations that a database of this flavour gets, in order; other files are none of ours."""
    found = []
    for name in names:
        if match := FILE_NAME.fullmatch(name):
            kind = cast("Flavour | None", match["flavour"])
            if kind in {None, flavour}:
                found.append(Migration(int(match["version"]), name, kind))
    return sorted(found)


def flavour_of(extension: Extension | None) -> Flavour:
    """Return what a new database becomes; `extension` None: the server has no TimescaleDB at all.

    The extension must have been created in this database: loading it needs a change to the server that only its owner
    can make. Its Apache edition has neither compression nor continuous aggregates.
    """
    if extension is None or extension.installed is None:
        return "plain"
    version = tuple(int(part) for part in re.findall(r"\d+", extension.installed)[:2])
    if version < OLDEST_TIMESCALEDB or extension.license == "apache":
        log.warning("TimescaleDB %s (licence %s) is not used: too little of it", extension.installed, extension.license)
        return "plain"
    return "timescaledb"


def migrate(database: Database) -> Flavour:
    """Bring the schema `openaq` up to this program; return the database's flavour, which it keeps for good.

    Raises `FatalError` for a schema of a newer version.
    """
    with database.step() as connection, connection.transaction():
        _lock(connection)
        if _one(connection, "SELECT to_regclass('openaq.schema_migrations')") is None:
            _begin(connection)
    for migration in _all(database):
        _apply(database, migration)
    with database.step() as connection:
        return _flavour(connection)


def _begin(connection: psycopg.Connection) -> None:
    """Make the schema and the table that remembers the migrations, and decide on the flavour."""
    # Not IF NOT EXISTS alone: that asks for the right to create schemas even where there is nothing to create.
    if _one(connection, "SELECT to_regnamespace('openaq')") is None:
        connection.execute("CREATE SCHEMA openaq")
    connection.execute("""
        CREATE TABLE openaq.schema_migrations (
            version integer PRIMARY KEY,
            file text NOT NULL,
            flavour text,
            applied_at timestamptz NOT NULL DEFAULT now()
        )""")
    flavour = flavour_of(_extension(connection))
    connection.execute("INSERT INTO openaq.schema_migrations VALUES (0, '', %s)", [flavour])


def _extension(connection: psycopg.Connection) -> Extension | None:
    row = connection.execute(
        "SELECT installed_version, current_setting('timescaledb.license', true) "
        "FROM pg_available_extensions WHERE name = 'timescaledb'"
    ).fetchone()
    return Extension(*row) if row else None


def _all(database: Database) -> list[Migration]:
    """Return every migration that this database should have; raises `FatalError` if it has more."""
    names = [file.name for file in resources.files(__package__).joinpath("migrations").iterdir()]
    with database.step() as connection:
        known = chosen(names, _flavour(connection))
        version = _one(connection, "SELECT max(version) FROM openaq.schema_migrations")
    if isinstance(version, int) and version > known[-1].version:
        raise FatalError(
            f"The tables in PostgreSQL at {database.address} are of a newer version of this program",
            hint="Update this program; nothing was changed.",
        )
    return known


def _apply(database: Database, migration: Migration) -> None:
    """Apply a migration unless it was, by us or by somebody who held the lock before."""
    with database.step() as connection, connection.transaction():
        _lock(connection)
        done = connection.execute("SELECT FROM openaq.schema_migrations WHERE version = %s", [migration.version])
        if done.rowcount:
            return
        connection.execute(_read(migration))
        connection.execute(
            "INSERT INTO openaq.schema_migrations (version, file) VALUES (%s, %s)",
            [migration.version, migration.file],
        )
    log.info("PostgreSQL: applied %s", migration.file)


def _read(migration: Migration) -> bytes:
    return resources.files(__package__).joinpath("migrations", migration.file).read_bytes()


def _flavour(connection: psycopg.Connection) -> Flavour:
    found = _one(connection, "SELECT flavour FROM openaq.schema_migrations WHERE version = 0")
    return "timescaledb" if found == "timescaledb" else "plain"


def _lock(connection: psycopg.Connection) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def _one(connection: psycopg.Connection, query: LiteralString) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None
