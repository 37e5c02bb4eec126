"""A scheduler as users start it, with what it says in a file, and nothing of it left when the test ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Program, Simulate

WAIT_SECONDS = 90.0
HOUR = 3600


def until(true: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until something is so; fail with its name if it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds:g} s still not: {what}")
        time.sleep(0.02)


class Scheduler:
    """One started daemon. Runs are counted by the measurement pages that the simulator is asked for."""

    def __init__(self, program: Program, command: list[str], env: dict[str, str]) -> None:
        self.program = program
        self.log_path = program.folder / f"log-{time.monotonic_ns()}.txt"
        with self.log_path.open("w") as file:
            self.process = subprocess.Popen(
                command, env=program.env | env, cwd=program.folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def logs(self, pattern: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait for a line."""
        until(lambda: re.search(pattern, self.log) is not None, f"{pattern!r} in the log:\n{self.log}", seconds)

    def runs(self) -> list[int]:
        """Return the ids of the runs alive now."""
        children = [path.read_text() for path in Path(f"/proc/{self.process.pid}/task").glob("*/children")]
        return [int(pid) for pid in " ".join(children).split()]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = WAIT_SECONDS) -> int:
        self.send(number)
        return self.process.wait(seconds)

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            for pid in self.runs():
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()


Schedule = Callable[..., Scheduler]


@pytest.fixture
def schedule(program: Program) -> Iterator[Schedule]:
    """Start daemons on the program's folder: `seconds` is the interval, or give flags, or code to run instead."""
    started: list[Scheduler] = []

    def start(*flags: str, seconds: float | None = None, code: str | None = None, **env: str) -> Scheduler:
        script = ["-c", code] if code else [str(ROOT / "dataset" / "scheduler.py")]
        interval = [] if seconds is None else ["--interval", repr(seconds / HOUR)]
        config = [] if code else ["--config", str(program.config)]
        started.append(Scheduler(program, [sys.executable, *script, *config, *interval, *flags], env))
        return started[-1]

    yield start
    for scheduler in started:
        scheduler.clean_up()


@pytest.fixture
def place(simulate: Simulate, program: Program) -> Running:
    """A simulator with one sensor, so that a run is one page of measurements; the program is set up for it."""
    simulator = simulate(named.bench(locations=1, sensors=1, days=60))
    program.configure(simulator.base_url, ids(simulator), initial_days=1)
    return simulator


def ids(simulator: Running) -> list[int]:
    return [station.id for station in simulator.world.stations]


def pages(simulator: Running) -> list[float]:
    """Return when each run asked for measurements, on the monotonic clock."""
    return [entry.monotonic_seconds for entry in simulator.requests.entries() if "/measurements" in entry.path]


def wait_for_pages(simulator: Running, count: int, seconds: float = WAIT_SECONDS) -> list[float]:
    until(lambda: len(pages(simulator)) >= count, f"{count} runs", seconds)
    return pages(simulator)


def change(program: Program, **sections: object) -> None:
    """Put sections into the configuration."""
    program.config.write_text(json.dumps(json.loads(program.config.read_text()) | sections))


def assert_whole(folder: Path) -> None:
    """Every file that is published in a data folder can be read as a whole."""
    for path in [*folder.glob("*.json"), folder / ".state.json"]:
        if path.exists():
            json.loads(path.read_text())
    assert not list(folder.glob(".*.tmp"))


def has_ended(pid: int) -> bool:
    """Say whether a process is gone, or only waits to be buried by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def resident_bytes(pid: int) -> int:
    """Return how much memory a process occupies."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
