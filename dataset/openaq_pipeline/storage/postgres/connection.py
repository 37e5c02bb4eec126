"""A connection that never waits for ever, and whose errors are sentences without the password."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

import psycopg
from psycopg.conninfo import make_conninfo

from openaq_pipeline import lookup, pulse
from openaq_pipeline.storage.postgres.address import Address, address_of
from openaq_pipeline.storage.postgres.explain import CATCHES_UP, Unavailable, explain

CONNECT_SECONDS = 10
ALL_CONNECT_SECONDS = 30.0
"""For all addresses together and their names, whose look-up libpq gives no deadline."""

STATEMENT_SECONDS = 60
"""What the server gives a statement, its wait for locks included; each handles some thousands of rows."""

STEP_SECONDS = 90.0
"""What we give one step, in case that the server does not answer at all."""

PARAMETERS: dict[str, str | int] = {
    "application_name": "openaq-pipeline",
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}

SESSION = f"""
    SET statement_timeout = '{STATEMENT_SECONDS}s';
    SET lock_timeout = '{STATEMENT_SECONDS // 2}s';
    SET idle_in_transaction_session_timeout = '10min';
    SET TimeZone = 'UTC';
    SET client_min_messages = 'warning';
    SET synchronous_commit = off;
"""
"""Nothing waits for the disk: a crash of the server may undo the last commits, rows and marks together, and the next
sync sends them again."""


class Database:
    """An open connection. Every use of it belongs into a `step`, which bounds its time and explains its errors."""

    def __init__(self, connection: psycopg.Connection, address: Address, until: float | None) -> None:
        self.connection = connection
        self.address = address
        self._until = until

    @contextmanager
    def step(self) -> Iterator[psycopg.Connection]:
        """Give the connection for one exchange; raises `Unavailable`, `Refused`, or `StorageError` for bad rows.

        A server that does not answer (stopped, behind a cut cable) is left after `STEP_SECONDS`, or when the time of
        the whole sync is over: the socket is closed under the waiting call, which is the one thing that always ends it.
        """
        seconds = STEP_SECONDS if self._until is None else min(STEP_SECONDS, self._until - time.monotonic())
        if seconds <= 0:
            raise Unavailable(f"{self.address} took too long", hint="The next run goes on from here.")
        timer = threading.Timer(seconds, _cut, [self.connection.fileno()])
        timer.daemon = True
        timer.start()
        pulse.beat()
        try:
            yield self.connection
        except psycopg.Error as error:
            raise explain(error, self.address) from None
        finally:
            timer.cancel()


@contextmanager
def connected(dsn: str, *, until: float | None = None) -> Iterator[Database]:
    """Give a connection; `until` (of `time.monotonic`) is when the last step ends at the latest.

    Raises `ConfigError` for a string that is no address, `Refused` or `Unavailable` for what the server says.
    """
    address = address_of(dsn)
    try:
        connection = _connect(dsn, address)
    except psycopg.Error as error:
        raise explain(error, address) from None
    try:
        database = Database(connection, address, until)
        with database.step():
            connection.execute(SESSION)
        yield database
    finally:
        connection.close()


def _connect(dsn: str, address: Address) -> psycopg.Connection:
    """Return a connection; raises `Unavailable` where it takes too long, and leaves libpq to itself then."""
    parameters = make_conninfo(dsn, **PARAMETERS)
    found = lookup.in_thread(
        lambda: psycopg.connect(parameters, autocommit=True, prepare_threshold=None), "connect to PostgreSQL"
    )
    try:
        return found.result(ALL_CONNECT_SECONDS)
    except TimeoutError:
        found.add_done_callback(_close)
        raise Unavailable(f"PostgreSQL at {address} can't be connected to in time", hint=CATCHES_UP) from None


def _close(late: Future[psycopg.Connection]) -> None:
    """Close what nobody waits for any more."""
    if late.exception() is None:
        late.result().close()


def _cut(descriptor: int) -> None:
    """Shut a socket, so that whoever waits on it gets an error."""
    with suppress(OSError), socket.socket(fileno=socket.dup(descriptor)) as copy:
        copy.shutdown(socket.SHUT_RDWR)
