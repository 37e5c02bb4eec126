"""The catalogue of faults: each scenario by its number and name, and what must hold when it strikes.

The numbers never change: the track record (docs/RELIABILITY.md) and every test that tells what it did name them.
"""

from __future__ import annotations

from typing import NamedTuple


class Scenario(NamedTuple):
    """A fault that is made on purpose, and what must hold while it lasts and after it."""

    fault: str
    holds: str


SCENARIOS: dict[int, Scenario] = {
    1: Scenario(
        "kill -9 at random time",
        "files whole, no watermark ahead, nothing acknowledged lost, nothing twice; the next start goes on unaided",
    ),
    2: Scenario(
        "kill at every syscall",
        "the old or the new version of each file is there whole, and the next run ends where an undisturbed one ends",
    ),
    3: Scenario(
        "EIO / ENOSPC / EINTR at every syscall",
        "the old version stays, no watermark moves, the run tells, the next run heals",
    ),
    4: Scenario("power loss", "all that was acknowledged is there, files whole, no watermark ahead"),
    5: Scenario("reordered/torn writes", "every state that the order of writes allows is recovered from"),
    6: Scenario(
        "fsync reports EIO, fs read-only",
        "the run fails and tells why, the failed sync is not believed the second time, nothing acknowledged is lost",
    ),
    7: Scenario("disk full then freed", "nothing is damaged or lost, and it goes on without a restart"),
    8: Scenario("fsync slow 30 s", "the watchdog takes it for no hang, SIGTERM is honoured, the data are whole"),
    9: Scenario(
        "state file: empty, half, NULs, `[]`, future version, wrong types, deleted",
        "a copy is set aside, the state is rebuilt from the data, nothing starts from now or all over again",
    ),
    10: Scenario(
        "data file corrupt / truncated / wrong id inside",
        "`verify` names it, it is set aside and its rows are fetched again, other locations are not touched",
    ),
    11: Scenario("two processes at once", "one works, the others exit 3 and touch no file"),
    12: Scenario("stale lock after kill -9 / PID reuse", "the next start works at once"),
    13: Scenario("SIGTERM/SIGINT in write, fetch, back-off, alert", "exit 0 within 10 s, files whole, nothing lost"),
    14: Scenario("second SIGTERM / hung job at shutdown", "ended at once or after the grace time, files whole"),
    15: Scenario(
        "429 with/without/negative/huge reset, storms",
        "the budget is kept, the wait is bounded, nothing is asked before the reset, no watermark moves",
    ),
    16: Scenario(
        "500/502/503/504, DNS fail, refused, TLS expired",
        "retries are capped and spread, other locations go on, no watermark moves",
    ),
    17: Scenario(
        "truncated/RST/bad gzip/HTML 200/empty", "the page is rejected whole, nothing of it is stored, retried"
    ),
    18: Scenario("slow drip / hang", "the deadline of the whole request ends it"),
    19: Scenario("bomb, deep nesting, 1 GB body", "refused before it is parsed; memory stays bounded"),
    20: Scenario(
        "hostile values: NaN, 1e999, surrogate, 2099, year 0, dup ids, 10 k-char names, "
        "newline/`<script>`/`<!channel>`",
        "each row is stored as it is or rejected with its reason, and nothing is read as markup",
    ),
    21: Scenario(
        "rows late, equal timestamps, correction, page shift during paging",
        "the stores end up with what OpenAQ has, each row once",
    ),
    22: Scenario(
        "clock back 1 h/1 y, forward 1 d/10 y, DST, leap",
        "the next run comes within an interval, memory is level, no watermark is later than OpenAQ's time",
    ),
    23: Scenario("suspend 8 h", "one run catches up, without a burst"),
    24: Scenario("memory pressure / OOM kill", "as kill -9"),
    25: Scenario(
        "Postgres down, killed mid-COMMIT, constraint error, slow",
        "the files are not affected, the database catches up without a row twice",
    ),
    26: Scenario(
        "alert sink down/slow/429, webhook redirect, SMTP hang",
        "the queue is bounded, each delivery has a deadline, the data are not affected, one recovery notice",
    ),
    27: Scenario(
        "read-only dir, wrong owner, bind-mounted file, symlink, EXDEV",
        "refused at the start with the exact cause, or it works and nothing is lost",
    ),
    28: Scenario("secrets", "no secret in a log, an exception, a file, a page or an alert"),
    29: Scenario("status page under slowloris / bad Host / path traversal / XSS", "4xx, and the data are not affected"),
}
