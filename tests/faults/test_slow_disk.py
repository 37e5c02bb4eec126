"""A disk that takes its time over a sync (scenario 8): it is taken for no hang, and a signal ends all in order."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Program, Simulate
from tests.daemon.conftest import Scheduler, ids, until
from tests.faults import oracle
from tests.faults.conftest import Tally, Times
from tests.faults.tracing import needs_strace

SLOW_SYNC = 4
"""Each process has to wait for its sync of this number: the daemon has fewer, its run has it among its data."""


@pytest.fixture
def place(simulate: Simulate, program: Program) -> Running:
    """Return a simulator with two sensors, which the program is set up for."""
    simulator = simulate(named.bench(locations=1, sensors=2, days=10))
    program.configure(simulator.base_url, ids(simulator), initial_days=2)
    return simulator


@contextmanager
def daemon(program: Program, seconds: float) -> Iterator[Scheduler]:
    """Give a daemon that polls every two seconds, with one slow sync in each of its runs."""
    needs_strace()
    trace = program.folder / "trace"
    inject = f"inject=fsync:delay_enter={int(seconds * 1_000_000)}:when={SLOW_SYNC}"
    tracer = ["strace", "-f", "-o", str(trace), "-e", "trace=fsync", "-e", inject]
    script = [sys.executable, str(ROOT / "dataset" / "scheduler.py"), "--config", str(program.config)]
    found = Scheduler(program, [*script, "--interval", repr(2 / 3600)], {})
    with subprocess.Popen([*tracer, "-p", str(found.process.pid)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        if "attached" not in line:
            found.clean_up()
            pytest.skip(f"NOT tested: slow syncs of a daemon, because strace may not trace here ({line.strip()})")
        try:
            yield found
        finally:
            found.clean_up()


def slow_syncs(program: Program) -> int:
    """Return how many syncs were made to wait so far, or wait now."""
    trace = program.folder / "trace"
    return trace.read_text().count("(DELAYED)") if trace.exists() else 0


def syncs(program: Program) -> int:
    trace = program.folder / "trace"
    return trace.read_text().count("fsync(") if trace.exists() else 0


@pytest.mark.usefixtures("place")
def test_a_slow_sync_is_taken_for_no_hang(program: Program, times: Times, tally: Tally) -> None:
    seconds = times(1, 20)
    with daemon(program, seconds) as found:
        found.logs("Run of 1 locations complete", 3 * seconds + 30)  # the daemon's own sync takes as long
        assert slow_syncs(program) >= 1
        assert not any(word in found.log for word in ("hang", "killed", "WARNING")), found.log
        assert found.stop(signal.SIGTERM, seconds + 10) == 0  # nothing ends a process in the midst of a sync
    assert len(oracle.check(program.data)) >= 2 * 47
    tally(8, f"strace: a sync of the daemon's run takes {seconds} s", 1)


@pytest.mark.usefixtures("place")
def test_a_signal_during_a_slow_sync_ends_daemon_and_run_in_order(program: Program, times: Times, tally: Tally) -> None:
    seconds = times(2, 4)
    with daemon(program, seconds) as found:
        until(lambda: syncs(program) >= SLOW_SYNC, "a slow sync", 30)
        began = time.monotonic()
        assert found.stop(signal.SIGTERM, 15) == 0
        assert time.monotonic() - began < 10
    oracle.check(program.data)
    assert program.load().code == 0
    assert len(oracle.check(program.data, restarted=True)) >= 2 * 47
    tally(8, f"strace: SIGTERM while a sync takes {seconds} s", 1)
