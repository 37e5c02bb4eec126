"""The months' partitions of plain PostgreSQL, made before the first row of a month comes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import psycopg
from psycopg import sql

FIRST_YEAR, LAST_YEAR = 1970, 2099
"""Years with partitions of their months; what lies outside has one partition on either side (0002_measurements)."""

LOCK = 0x0AE0_0002

Month = tuple[int, int]
"""Year and month, in UTC."""


def month_of(stamp: datetime) -> Month:
    """Return the month of an aware time."""
    there = stamp.astimezone(UTC) if stamp.tzinfo is not UTC else stamp
    return there.year, there.month


def make_partitions(connection: psycopg.Connection, months: Iterable[Month]) -> None:
    """Make what is missing of the partitions of some months, in the transaction that is open.

    A table made apart and then attached lets others read and write meanwhile; one made in its place would wait for, and
    then stop, every query.
    """
    wanted = {_name(month): month for month in months if FIRST_YEAR <= month[0] <= LAST_YEAR}
    if not (missing := _missing(connection, list(wanted))):
        return
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    for name in sorted(_missing(connection, list(missing))):
        _make(connection, name, wanted[name])


def _missing(connection: psycopg.Connection, names: list[str]) -> list[str]:
    query = "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass('openaq.' || name) IS NULL"
    return [name for (name,) in connection.execute(query, [names])]


def _make(connection: psycopg.Connection, name: str, month: Month) -> None:
    year, number = month
    start = f"{year:04}-{number:02}-01T00:00:00Z"
    end = f"{year + number // 12:04}-{number % 12 + 1:02}-01T00:00:00Z"
    table, lower, upper = sql.Identifier("openaq", name), sql.Literal(start), sql.Literal(end)
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE openaq.measurements INCLUDING ALL)").format(table))
    attach = "ALTER TABLE openaq.measurements ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})"
    connection.execute(sql.SQL(attach).format(table, lower, upper))


def _name(month: Month) -> str:
    return f"measurements_{month[0]:04}_{month[1]:02}"
