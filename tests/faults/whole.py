"""The whole program against a simulator, for faults that take its processes, its memory or its disk."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock, from_us
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Program
from tests.daemon.conftest import HOUR, Scheduler
from tests.faults import oracle

BEHIND = timedelta(days=10)
"""The simulator's time begins so far in the past, and moves only when a test says so."""

PATIENCE_SECONDS = 3.0
"""So long a test waits for a request that a slow answer to the one before holds up."""


class Whole:
    """A program with its data folder, and the simulator that it asks."""

    def __init__(self, program: Program, simulator: Running) -> None:
        self.program, self.simulator = program, simulator
        self.data = program.data

    @property
    def ids(self) -> list[int]:
        """Return the ids of the locations, as configured."""
        return [station.id for station in self.simulator.world.stations]

    def move_to(self, disk: Path) -> None:
        """Let the data folder be on a disk."""
        self.data = self.program.data = disk / "data"
        self.program.env["DATA_DIR"] = str(self.data)

    def hours_pass(self, hours: float = 1) -> None:
        """Let new rows be there to be fetched; the future, for which nobody asks, does not come."""
        left = (datetime.now(UTC) - self.simulator.clock.now()).total_seconds()
        self.simulator.clock.advance(max(0, min(hours * 3600, left)))

    def wait_for_requests(self, process: subprocess.Popen[str], count: int) -> None:
        """Wait until a program that was just started has asked so often, has ended, or has taken long enough."""
        enough, last = self.simulator.requests.total + count, time.monotonic() + PATIENCE_SECONDS
        while self.simulator.requests.total < enough and process.poll() is None and time.monotonic() < last:
            time.sleep(0.005)

    def started_with(self, prepare: Callable[[], object]) -> int:
        """Run once in a process that calls `prepare` first, and return its exit code."""
        script = str(ROOT / "dataset" / "incremental_loader.py")
        command = [sys.executable, script, "--config", str(self.program.config)]
        return subprocess.run(
            command, env=self.program.env, cwd=self.program.folder, capture_output=True, preexec_fn=prepare, check=False
        ).returncode

    def shown(self) -> dict[oracle.Place, float | None]:
        """Return the values of all rows that the simulator shows by now: what a run that nothing disturbs stores."""
        world, now = self.simulator.world, self.simulator.clock.now_us()
        return {
            oracle.Place(station.id, sensor.id, from_us(row.stamp_us)): row.value
            for station in world.stations
            for sensor in station.sensors
            for row in world.rows(sensor, 0, now, now)
        }

    def comes_through(self, held: oracle.Content | None = None) -> None:
        """Run once without a fault; raises `AssertionError` unless all invariants hold then."""
        done = self.program.load()
        assert done.code == 0, f"I7: {done.err}"
        found = oracle.check(self.data, held=held or (), restarted=True)
        assert {place: row["value"] for place, row in found.items()} == self.shown(), "I5: not what OpenAQ shows"


@contextmanager
def started(program: Whole, *flags: str, seconds: float, **env: str) -> Iterator[Scheduler]:
    """Give a daemon with a run every so many seconds; nothing of it is left behind."""
    command = [sys.executable, str(ROOT / "dataset" / "scheduler.py"), "--config", str(program.program.config)]
    found = Scheduler(program.program, [*command, "--interval", repr(seconds / HOUR), *flags], env)
    try:
        yield found
    finally:
        found.clean_up()


@contextmanager
def whole(folder: Path, *, locations: int = 2, sensors: int = 2, days: int = 3) -> Iterator[Whole]:
    """Give a program that is set up for a simulator with `days` of rows; nothing was run yet."""
    clock = Clock(datetime.now(UTC) - BEHIND, speed=0.0)
    world = named.bench(locations=locations, sensors=sensors, days=days, now=clock.now())
    with running(world, options=Options(requests_per_minute=0), clock=clock) as simulator:
        found = Whole(Program(folder), simulator)
        found.program.configure(simulator.base_url, found.ids, initial_days=days + BEHIND.days)
        yield found
