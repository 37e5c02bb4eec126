"""Carry the ledger of requests from one machine to the next, so that a key's limits hold across runs.

    ledger.py remember .kept    note this machine's clocks beside the ledger
    ledger.py take .kept        bring its stamps into this machine's clock

The program counts on the monotonic clock, which means nothing on another machine. The wall clock says how long ago the
note was made, and so how old each request is by now.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

Clock = Callable[[], float]
STAMPS = {"requests": ("at",), "backfill": ("at",), "server": ("blocked_until", "blocked_at", "limit_seen_at")}


def remember(kept: Path, *, monotonic: Clock = time.monotonic, wall: Clock = time.time) -> None:
    """Note what both clocks say."""
    (kept / "clocks").write_text(f"{monotonic()} {wall()}\n", encoding="ascii")


def take(kept: Path, *, monotonic: Clock = time.monotonic, wall: Clock = time.time) -> None:
    """Shift all stamps by as much as the clocks differ. A wall clock that went back counts as no time gone by."""
    if not (kept / "clocks").is_file():
        return
    monotonic_then, wall_then = map(float, (kept / "clocks").read_text(encoding="ascii").split())
    shift = monotonic() - monotonic_then - max(0.0, wall() - wall_then)
    (kept / "clocks").unlink()
    for ledger in (kept / "state" / "openaq-pipeline").glob("budget-*.sqlite"):
        with closing(sqlite3.connect(ledger)) as database, database:
            for table, columns in STAMPS.items():
                for column in columns:
                    database.execute(f"UPDATE {table} SET {column} = {column} + ?", (shift,))  # noqa: S608 - our names


if __name__ == "__main__":
    {"remember": remember, "take": take}[sys.argv[1]](Path(sys.argv[2]))
