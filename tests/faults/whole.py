"""The whole program against a simulator, for faults that take its processes, its memory or its disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Program
from tests.daemon.conftest import HOUR, Scheduler
from tests.faults import oracle

BEHIND = timedelta(days=2)
"""The simulator's time stands still so far in the past, and moves only when a test says so."""


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
        """Let new rows be there to be fetched."""
        self.simulator.clock.advance(hours * 3600)

    def started_with(self, prepare: Callable[[], object]) -> int:
        """Run once in a process that calls `prepare` first, and return its exit code."""
        script = str(ROOT / "dataset" / "incremental_loader.py")
        command = [sys.executable, script, "--config", str(self.program.config)]
        return subprocess.run(
            command, env=self.program.env, cwd=self.program.folder, capture_output=True, preexec_fn=prepare, check=False
        ).returncode

    def content(self) -> oracle.Content:
        """Return what is stored, but for the way by which a row came: a list of latest rows, or its series."""
        return plain(oracle.content(self.data))

    def beside(self, name: str) -> Whole:
        """Return another data folder of the same settings, for a run that nothing disturbs."""
        folder = self.program.folder / name
        folder.mkdir()
        other = Program(folder)
        other.config.write_bytes(self.program.config.read_bytes())
        return Whole(other, self.simulator)

    def undisturbed(self) -> oracle.Content:
        """Return what a run into an empty folder stores now."""
        other = self.beside(f"undisturbed-{datetime.now(UTC):%H%M%S%f}")
        done = other.program.load()
        assert done.code == 0, done.err
        return other.content()

    def comes_through(self, held: oracle.Content | None = None) -> oracle.Content:
        """Run once without a fault, and return the content, of which all invariants hold."""
        done = self.program.load()
        assert done.code == 0, f"I7: {done.err}"
        oracle.check(self.data, held=held or (), restarted=True)
        found = self.content()
        oracle.check_same(found, self.undisturbed())
        return found


@contextmanager
def started(program: Whole, *flags: str, seconds: float, **env: str) -> Iterator[Scheduler]:
    """Give a daemon with a run every so many seconds; nothing of it is left behind."""
    command = [sys.executable, str(ROOT / "dataset" / "scheduler.py"), "--config", str(program.program.config)]
    found = Scheduler(program.program, [*command, "--interval", repr(seconds / HOUR), *flags], env)
    try:
        yield found
    finally:
        found.clean_up()


def plain(content: oracle.Content) -> oracle.Content:
    """Return rows without the way by which they came."""
    return {place: {name: value for name, value in row.items() if name != "source"} for place, row in content.items()}


@contextmanager
def whole(folder: Path, *, locations: int = 2, sensors: int = 2, days: int = 3) -> Iterator[Whole]:
    """Give a program that is set up for a simulator with `days` of rows; nothing was run yet."""
    clock = Clock(datetime.now(UTC) - BEHIND, speed=0.0)
    world = named.bench(locations=locations, sensors=sensors, days=days, now=clock.now())
    with running(world, options=Options(requests_per_minute=0), clock=clock) as simulator:
        found = Whole(Program(folder), simulator)
        found.program.configure(simulator.base_url, found.ids, initial_days=days + BEHIND.days)
        yield found
