"""Thirty days of the real daemon in minutes: everything goes wrong now and then, and nothing of it grows or is lost.

Between two runs the clocks of daemon, runs and simulator are set six hours forward (libfaketime), so that each run
sees new rows, daily sweeps come, and the rows of past months move into the history.
"""

from __future__ import annotations

import os
import random
import re
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.server import running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.base import World
from tests.alerts.parts import Receiver, hang, receiver, status
from tests.conftest import ROOT, Program
from tests.daemon.conftest import Schedule, Scheduler, change, resident_bytes, schedule, until
from tests.faults import manners, oracle
from tests.faults.conftest import Tally, Times
from tests.faults.faulty import Faulty, faulty
from tests.faults.test_clocks import LIBRARY

__all__ = ["schedule"]  # a fixture

DAYS, HOURS_PER_RUN = 30, 6
RUNS = DAYS * 24 // HOURS_PER_RUN
WARM_UP = RUNS // 5
INTERVAL_SECONDS = 0.3
OUTAGE = range(50, 53)
"""The network is gone in these runs, half a day each: they take the longest, because they try again and again."""

DAEMON = f"""
import sys
sys.path.insert(0, {str(ROOT / "dataset")!r})
from pathlib import Path
from openaq_pipeline.config import load
from openaq_pipeline.daemon.service import serve
from openaq_pipeline.daemon.watchdog import Limits
from openaq_pipeline.monitoring.log import set_up
def read():
    settings = load(config=Path("config.yaml"))
    set_up(settings, to_file=True)
    return settings
sys.exit(serve(read, limits_of=lambda *_: Limits(tick=0.25, margin=1, hung=15, grace=1)))
"""


class Size(NamedTuple):
    """What the daemon occupies."""

    memory_kb: float
    threads: int
    files: int


def size(pid: int) -> Size:
    proc = Path(f"/proc/{pid}")
    return Size(resident_bytes(pid) / 1e3, len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir())))


def slope_per_day(values: list[float]) -> float:
    days = [number * HOURS_PER_RUN / 24 for number in range(len(values))]
    return statistics.linear_regression(days, values).slope


class Soak:
    """The daemon, what it talks to, and the time they share."""

    def __init__(self, program: Program, world: World, stack: ExitStack) -> None:
        self.program = program
        # In the past, so that no row lies in the future of those who look at them in the end.
        self._passed, self._file = -timedelta(days=DAYS + 3), program.folder / "clock"
        self.clock = Clock(datetime.now().astimezone() + self._passed)
        options = Options(requests_per_minute=0)
        self.simulator = stack.enter_context(running(world, options=options, clock=self.clock))
        self.server: Faulty = stack.enter_context(faulty(self.simulator.base_url))
        self.hook: Receiver = stack.enter_context(receiver(status(200)))
        self.beats: Receiver = stack.enter_context(receiver(status(200)))
        self.forward(timedelta(0))

    def forward(self, span: timedelta) -> None:
        self._passed += span
        self._file.write_text(f"{self._passed.total_seconds():+.0f}\n")
        self.clock.advance(span.total_seconds())

    @property
    def env(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "HEARTBEAT_URL": self.beats.url("/beat"),
        }


@contextmanager
def soaking(program: Program) -> Iterator[Soak]:
    world = named.bench(locations=3, sensors=2, days=80, late_share=0.02)
    with ExitStack() as stack:
        yield Soak(program, world, stack)


def runs_ended(daemon: Scheduler) -> int:
    return len(re.findall(r"Run of \d+ locations|was ended by signal", daemon.log))


def another_run(daemon: Scheduler, during: Callable[[], None]) -> None:
    """Wait until one run more has ended."""
    before = runs_ended(daemon)
    during()
    until(lambda: runs_ended(daemon) > before, f"run {before + 1}:\n{daemon.log[-3000:]}", 60)


def mischief(soak: Soak, daemon: Scheduler, number: int, chance: random.Random) -> Callable[[], None]:
    """Let something go wrong with the next run; return what does it while the run lives."""
    soak.server.clear()
    soak.hook.answer = chance.choices([status(200), status(503), hang], [5, 4, 1])[0]
    soak.beats.answer = chance.choice([status(200), hang])
    kind = chance.random()
    if kind < 0.25:
        soak.server.arm(chance.choice((*manners.CUT, *manners.SWAPPED, *manners.LARGE)), count=2)
    elif kind < 0.3:
        soak.server.arm(manners.status(429, x_ratelimit_reset="1"), count=1)
    elif kind < 0.33:
        daemon.send(signal.SIGHUP)
    elif kind < 0.36:
        return lambda: strike(daemon, signal.SIGKILL)
    elif number % 40 == 30:
        return lambda: strike(daemon, signal.SIGSTOP)
    return lambda: None


def strike(daemon: Scheduler, number: signal.Signals) -> None:
    until(lambda: bool(daemon.runs()), "a run")
    time.sleep(0.2)
    for pid in daemon.runs():
        os.kill(pid, number)


@pytest.mark.skipif(LIBRARY is None, reason="NOT tested: libfaketime is not installed (apt-get install faketime)")
def test_thirty_days_leave_every_row_and_no_growth(
    program: Program, schedule: Schedule, times: Times, chance: random.Random, tally: Tally
) -> None:
    if not times(0, 1):
        pytest.skip("NOT tested here but by `make faults-long`: thirty days take five minutes")
    with soaking(program) as soak:
        ids = [station.id for station in soak.simulator.world.stations]
        program.configure(soak.server.base_url, ids, initial_days=3, live_days=7)
        webhook = {"enabled": True, "url": soak.hook.url(), "allow_private": True}
        change(
            program,
            schedule={"interval_hours": INTERVAL_SECONDS / 3600},
            monitoring={"alerts": {"stale_after_hours": 3 * HOURS_PER_RUN}},
            notifications={"enabled": True, "webhook": webhook},
        )
        daemon = schedule(code=DAEMON, **soak.env)
        sizes = list[Size]()
        for number in range(RUNS):
            if number == OUTAGE.start:
                soak.server.go_away()
            if number == OUTAGE.stop:
                soak.server.come_back()
            during = mischief(soak, daemon, number, chance)
            soak.forward(timedelta(hours=12 if number in OUTAGE else HOURS_PER_RUN))
            another_run(daemon, during)
            sizes.append(size(daemon.process.pid))
        soak.server.clear()
        soak.hook.answer = soak.beats.answer = status(200)
        for _ in range(4):
            another_run(daemon, lambda: None)
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log
        assert "this is a bug" not in daemon.log
        found = oracle.check(program.data, restarted=True)
        fresh = program.folder / "fresh"
        everything = program.load("--data-dir", str(fresh), **soak.env)
        assert everything.code == 0, everything.err
        shown = oracle.content(fresh)
        assert {key for key in shown if key in found} == set(shown), "no row is lost"
        assert len(found) > len(ids) * 2 * 24 * DAYS * 0.9
    assert_level(sizes, tally)


def assert_level(sizes: list[Size], tally: Tally) -> None:
    memory, threads, files = ([float(getattr(each, name)) for each in sizes[WARM_UP:]] for name in Size._fields)
    slopes = slope_per_day(memory), slope_per_day(threads), slope_per_day(files)
    note = f"a day: memory {slopes[0]:+.1f} kB, threads {slopes[1]:+.3f}, files {slopes[2]:+.3f}; {sizes[-1]}"
    assert slopes[0] < 50, note
    assert abs(slopes[1]) < 0.05, note
    assert abs(slopes[2]) < 0.05, note
    tally(16, f"soak of {DAYS} virtual days, {len(sizes)} runs", 1, note=note)
