"""The request budget of one key: a sliding log in SQLite, shared by every process that uses the key.

OpenAQ allows 60 requests a minute and 2,000 an hour (OPENAQ section 4.3). A token bucket that refills lets 120
through in one minute; a log of the requests themselves can't. See docs/decisions/0005-request-budget.md.

**Clock.** Only the monotonic clock counts: it is shared by all processes of a machine and a change of the wall
clock does not touch it. It restarts at boot, so an entry can lie in the future: then it is taken to be of this very
moment. An entry of an earlier boot that does not lie in the future is even older than it looks. In both cases the
age is never overestimated, so after a reboot the budget may wait too long (an hour at most) but never too short.
"""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import FILE_MODE, FOLDER_MODE, set_aside
from openaq_pipeline.locks import let_go, take_lock

MINUTE_SECONDS = 61.0
"""A minute and a second: two requests do not travel equally long, and the server counts when they arrive."""

HOUR_SECONDS = 3601.0

RESET_WHEN_UNKNOWN_SECONDS = 60.0
MAX_RESET_SECONDS = 3600.0

BUSY_SECONDS = 30.0
"""A process holds the ledger for less than a millisecond at a time: a longer wait means that something hangs."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS requests_at ON requests (at);
CREATE TABLE IF NOT EXISTS server (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    blocked_until REAL NOT NULL,    -- monotonic; no request before it
    blocked_at REAL NOT NULL,       -- monotonic; when that was learnt
    limit_per_minute INTEGER,       -- the last x-ratelimit-limit below the user's own, NULL: never seen
    limit_seen_at REAL NOT NULL
);
INSERT OR IGNORE INTO server VALUES (1, 0, 0, NULL, 0);
CREATE TABLE IF NOT EXISTS backfill (at REAL NOT NULL);    -- those of `requests` that a backfill sent
CREATE INDEX IF NOT EXISTS backfill_at ON backfill (at);
"""


class BudgetUse(msgspec.Struct, frozen=True):
    """Requests in the last minute and hour, and the limits that hold now."""

    minute: int
    hour: int
    per_minute: int
    per_hour: int


class Reserve(msgspec.Struct, frozen=True):
    """So many requests of any minute and any hour a backfill leaves to the polls, at least one of each to itself."""

    per_minute: int
    per_hour: int


class Budget:
    """Lets requests through at no more than both limits; thread-safe, and shared between processes by its file.

    With a `reserve` it is a backfill's: all its requests together, those of other backfills too, keep below the
    limits by that much, so that a poll that needs no more never waits for one. None: it is a poll's.
    """

    def __init__(
        self,
        path: Path,
        *,
        per_minute: int,
        per_hour: int,
        reserve: Reserve | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_minute = per_minute
        self._per_hour = per_hour
        self._reserve = reserve
        self._sleep = sleep
        self._clock = clock
        self._path = path
        self._guard = threading.Lock()
        self._database = _open(path, clock())

    def acquire(self) -> float:
        """Wait until one more request may leave, count it, and return the seconds waited.

        Call it right before each request leaves, repeated ones too: the server counts failures. Whatever `sleep`
        raises (a stop) passes through, and nothing has been counted then. Raises `StorageError` when the ledger can't
        be written: without a count no request may leave.
        """
        waited = 0.0
        while (wait := self._try()) > 0:
            self._sleep(wait)
            waited += wait
        return waited

    def observe(self, headers: Mapping[str, str], *, refused: bool = False) -> float:
        """Take in what an answer says of the limits; return the seconds until the next request may leave.

        `x-ratelimit-limit` may lower this machine's limit, never raise it. `x-ratelimit-reset` is in seconds,
        sometimes zero, negative or absent (OPENAQ section 4.3). `refused`: the answer was a 429.
        """
        limit = _number(headers.get("x-ratelimit-limit"))
        remaining = _number(headers.get("x-ratelimit-remaining"))
        reset = _number(headers.get("x-ratelimit-reset"))
        exhausted = refused or (remaining is not None and remaining <= 0)
        lowered = limit is not None and 1 <= limit < self._per_minute
        if not exhausted and not lowered:
            return 0.0
        wait = RESET_WHEN_UNKNOWN_SECONDS if reset is None else min(max(reset, 1.0), MAX_RESET_SECONDS)
        with self._transaction() as database:
            now = self._clock()
            self._forget(now)
            if lowered and limit is not None:
                database.execute("UPDATE server SET limit_per_minute=?, limit_seen_at=?", (int(limit), now))
            if exhausted:
                database.execute(
                    "UPDATE server SET blocked_until=max(blocked_until, ?), blocked_at=?", (now + wait, now)
                )
        return wait if exhausted else 0.0

    def use(self) -> BudgetUse:
        """Return how much of the budget the last minute and hour took, on all processes together."""
        with self._guard, _explained(self._path):
            now = self._clock()
            minute, hour = _counts(self._database, now)
            return BudgetUse(minute, hour, self._minute_limit(now), self._per_hour)

    def is_free(self) -> bool:
        """Say whether one more request could leave now without a wait."""
        with self._transaction():
            return self._wait(self._clock()) <= 0

    def close(self) -> None:
        """Release the file."""
        with self._guard:
            self._database.close()

    def _try(self) -> float:
        """Count one request and return 0, or return how long to wait before trying again."""
        with self._transaction() as database:
            now = self._clock()
            wait = self._wait(now)
            if wait <= 0:
                database.execute("INSERT INTO requests VALUES (?)", (now,))
                if self._reserve is not None:
                    database.execute("INSERT INTO backfill VALUES (?)", (now,))
        return wait

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the ledger to this thread of this process alone, and write all or nothing of what it does."""
        with self._guard, _explained(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise

    def _wait(self, now: float) -> float:
        self._forget(now)
        (blocked_until,) = self._database.execute("SELECT blocked_until FROM server").fetchone()
        minute, hour = self._minute_limit(now), self._per_hour
        waits = [
            float(blocked_until) - now,
            self._until_free(now, MINUTE_SECONDS, minute),
            self._until_free(now, HOUR_SECONDS, hour),
        ]
        if self._reserve is not None:
            minute, hour = max(1, minute - self._reserve.per_minute), max(1, hour - self._reserve.per_hour)
            waits.append(self._until_free(now, MINUTE_SECONDS, minute, "backfill"))
            waits.append(self._until_free(now, HOUR_SECONDS, hour, "backfill"))
        return max(waits)

    def _forget(self, now: float) -> None:
        """Drop what no window covers, and bring entries of an earlier boot into this clock (see above)."""
        for table in ("requests", "backfill"):
            self._database.execute(f"DELETE FROM {table} WHERE at < ?", (now - HOUR_SECONDS,))  # noqa: S608 - our names
            self._database.execute(f"UPDATE {table} SET at=? WHERE at > ?", (now, now))  # noqa: S608
        self._database.execute(
            "UPDATE server SET blocked_until=? + max(0, blocked_until - blocked_at), blocked_at=? WHERE blocked_at > ?",
            (now, now, now),
        )
        self._database.execute("UPDATE server SET limit_seen_at=? WHERE limit_seen_at > ?", (now, now))

    def _minute_limit(self, now: float) -> int:
        return _minute_limit(self._database, now, self._per_minute)

    def _until_free(self, now: float, span_seconds: float, limit: int, table: str = "requests") -> float:
        """Return the seconds until fewer than `limit` requests lie within the span: 0 or less if it is so now."""
        row = self._database.execute(
            f"SELECT at FROM {table} WHERE at > ? ORDER BY at DESC LIMIT 1 OFFSET ?",  # noqa: S608 - a name of ours
            (now - span_seconds, limit - 1),
        ).fetchone()
        return float(row[0]) + span_seconds - now if row else 0.0


def _minute_limit(database: sqlite3.Connection, now: float, per_minute: int) -> int:
    """Return the lower of the user's limit and the one the server named within the last hour."""
    query = "SELECT limit_per_minute, limit_seen_at FROM server WHERE limit_per_minute IS NOT NULL"
    limit, seen = database.execute(query).fetchone() or (per_minute, now)
    current = now - seen < HOUR_SECONDS
    return min(per_minute, limit) if current else per_minute


def _counts(database: sqlite3.Connection, now: float) -> tuple[int, int]:
    """Return how many requests the last minute and hour took."""
    query = "SELECT count(*) FROM requests WHERE at > ?"
    minute, hour = (database.execute(query, (now - span,)).fetchone()[0] for span in (MINUTE_SECONDS, HOUR_SECONDS))
    return minute, hour


def peek(path: Path, *, per_minute: int, per_hour: int, clock: Callable[[], float] = time.monotonic) -> BudgetUse:
    """Return how much of the budget is used, without changing anything; nothing is, where no ledger was ever begun.

    Raises `StorageError` for a ledger that can't be read.
    """
    with _explained(path):
        if not path.exists():
            return BudgetUse(0, 0, per_minute, per_hour)
        # Without a log beside it all is in the file itself; SQLite would make one even to look.
        mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
        database = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=1.0)
        try:
            now = clock()
            minute, hour = _counts(database, now)
            return BudgetUse(minute, hour, _minute_limit(database, now, per_minute), per_hour)
        finally:
            database.close()


def ledger_path(api_key: str, base_url: str, data_dir: Path, environ: Mapping[str, str]) -> Path:
    """Return the file in which the requests of this key to this host are counted.

    It lies where every data folder of this user sees it, `$XDG_STATE_HOME` (unset: `~/.local/state`, as the XDG
    base directory specification has it); where that can't be written, in the data folder.
    """
    name = hashlib.sha256(f"{api_key}\n{_server(base_url)}".encode()).hexdigest()[:16]
    state_home = _state_home(environ)
    shared = state_home / "openaq-pipeline" if state_home else None
    return (shared if shared and _is_writable(shared) else data_dir) / f"budget-{name}.sqlite"


def _state_home(environ: Mapping[str, str]) -> Path | None:
    """Return where this user's programs keep their state; None if nothing says so. Relative paths do not count."""
    given, home = Path(environ.get("XDG_STATE_HOME", "")), Path(environ.get("HOME", ""))
    found = given if given.is_absolute() else home / ".local" / "state"
    return found if found.is_absolute() else None


def _server(base_url: str) -> str:
    """Return whom a base URL asks, the same for every spelling of it; the usual ports go without saying."""
    parts = urlsplit(base_url)
    return f"{parts.hostname}:{parts.port}" if parts.port not in {None, 80, 443} else f"{parts.hostname}"


def _is_writable(folder: Path) -> bool:
    """Create a folder if need be, and say whether files can be made in it."""
    with suppress(OSError):
        folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        return os.access(folder, os.W_OK | os.X_OK)
    return False


def _open(path: Path, now: float) -> sqlite3.Connection:
    """Open the ledger; a damaged one is set aside, because a lost log of requests is better than no run.

    Nobody knows then what was sent in the last minute, so none leaves in the next. Of the last hour only the server
    knows.

    One process after the other: SQLite refuses a second one while the first makes the file, and two that met the
    same damage would set aside each other's new ledger.
    """
    with _explained(path):
        lock = take_lock(path.with_name(f".{path.name}.lock"), BUSY_SECONDS)
        try:
            return _connect(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return _opened_again(path, now)
        finally:
            let_go(lock)


def _opened_again(path: Path, now: float) -> sqlite3.Connection:
    """Open a ledger that SQLite calls damaged, set aside if it does so once more.

    It says the same where the disk refuses a page for a moment. Raises `OSError` where the disk still does.
    """
    for part in (path, path.with_name(f"{path.name}-wal")):
        with suppress(FileNotFoundError):
            _read_through(part)
    try:
        return _connect(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        set_aside(path, datetime.now(UTC))
        database = _connect(path)
        _wait_out(database, now)
        return database


def _read_through(path: Path) -> None:
    """Read all of a file, as SQLite does; raises `OSError` where the disk can't."""
    with path.open("rb", buffering=0) as file:
        place = 0
        while piece := os.pread(file.fileno(), 1 << 20, place):
            place += len(piece)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite or the file system refuses into a `StorageError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageError(
            f"The request ledger {path} can't be used: {error}",
            hint="Check the folder's permissions and space; without the ledger no request may leave.",
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file and make sure that it is whole; raises what `sqlite3` has to say."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))  # SQLite's own files take after it
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")  # a reboot can be quicker than the minute that counts
        database.executescript(_SCHEMA)
        _check(database)
    except BaseException:
        database.close()
        raise
    return database


def _wait_out(database: sqlite3.Connection, now: float) -> None:
    """Let no request leave for as long as those of a lost ledger may count."""
    database.execute("UPDATE server SET blocked_until=?, blocked_at=?", (now + MINUTE_SECONDS, now))


def _check(database: sqlite3.Connection) -> None:
    """Raise `DatabaseError` if a page of the file is damaged: SQLite itself looks only at those it happens to read."""
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _number(text: str | None) -> float | None:
    """Return a header's number; None if it is absent or no finite number."""
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
