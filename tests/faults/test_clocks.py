"""Clocks that jump, and processes that stand still: the daemon's runs come in their beat, and none is made up twice."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from openaq_pipeline.simulator.server import Running
from tests.conftest import Program
from tests.daemon.conftest import Schedule, change, pages, place, resident_bytes, schedule, until, wait_for_pages
from tests.daemon.test_stopping import SHORT_PATIENCE
from tests.faults import oracle
from tests.faults.conftest import Tally, Times

__all__ = ["place", "schedule"]  # fixtures

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
INTERVAL_SECONDS = 2.5
JUMPS = ("-1h", "+3650d", "-365d", "+1d", "-3650d", "+1h", "+30d", "-1d")


@pytest.mark.skipif(LIBRARY is None, reason="NOT tested: libfaketime is not installed (apt-get install faketime)")
def test_however_the_clock_is_set_runs_come_in_their_beat_and_no_row_is_lost(
    place: Running, program: Program, schedule: Schedule, times: Times, chance: random.Random, tally: Tally
) -> None:
    if not times(0, 1):
        pytest.skip("NOT tested here but by `make faults-long`; tests/daemon/test_clock_jumps.py sets four every day")
    clock = program.folder / "clock"
    clock.write_text("+0\n")
    daemon = schedule(
        seconds=INTERVAL_SECONDS,
        LD_PRELOAD=str(LIBRARY),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    wait_for_pages(place, 1)
    daemon.logs("The next run is due at")
    memory, jumps = resident_bytes(daemon.process.pid), times(0, 24)
    for jump in chance.choices(JUMPS, k=jumps):
        before = len(pages(place))
        clock.write_text(f"{jump}\n")
        jumped = time.monotonic()
        asked = wait_for_pages(place, before + 1, INTERVAL_SECONDS + 20)
        assert asked[before] - jumped < INTERVAL_SECONDS + 10, f"no run after {jump}"
        assert asked[before] - asked[before - 1] > INTERVAL_SECONDS / 2, f"a run at once after {jump}"
        until(lambda: not daemon.runs(), "the run has ended")
        assert resident_bytes(daemon.process.pid) - memory < 20e6, f"it grew after {jump}"
    clock.write_text("+0\n")
    wait_for_pages(place, len(pages(place)) + 2)
    assert daemon.stop() == 0
    found = oracle.check(program.data, restarted=True)
    assert len({stamp.datetime for stamp in found}) >= 24
    assert max(stamp.datetime for stamp in found) <= place.clock.now(), "no watermark can be later than that"
    tally(22, "libfaketime, the real daemon", jumps)


def test_a_run_that_is_paused_together_with_its_daemon_is_not_taken_for_hung(
    place: Running, program: Program, schedule: Schedule, times: Times, tally: Tally
) -> None:
    change(program, schedule={"interval_hours": 0.0006})
    daemon, pauses = schedule(code=SHORT_PATIENCE), times(1, 10)
    for number in range(pauses):
        place.faults.inject("delay", "/measurements", seconds=0.7, count=1)
        before = len(pages(place))
        wait_for_pages(place, before + 1)
        group = [daemon.process.pid, *daemon.runs()]
        for pid in group:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(5)  # longer than a run may be silent
        for pid in reversed(group):
            os.kill(pid, signal.SIGCONT)
        asked = wait_for_pages(place, before + 2)
        place.faults.clear()
        assert asked[before + 1] - asked[before] < 5 + 10, f"pause {number}: nothing was made up"
    assert "hangs" not in daemon.log
    assert daemon.stop() == 0
    oracle.check(program.data, restarted=True)
    tally(23, "SIGSTOP of daemon and run together", pauses)


def test_a_run_that_stands_still_is_ended_within_one_interval_by_the_usual_limits(
    place: Running, schedule: Schedule, times: Times, tally: Tally
) -> None:
    if not times(0, 1):
        pytest.skip("NOT tested here but by `make faults-long`: the shortest interval for that has four minutes")
    place.faults.inject("delay", "/measurements", seconds=30, count=1)
    daemon = schedule(seconds=240)
    wait_for_pages(place, 1)
    began = time.monotonic()
    os.kill(daemon.runs()[0], signal.SIGSTOP)
    daemon.logs("The run hangs", 245)
    noticed = time.monotonic() - began
    assert noticed <= 240
    until(lambda: not daemon.runs(), "the run is ended, although it stands still")
    assert daemon.stop() == 0
    tally(23, "SIGSTOP of a run, interval of 240 s", 1, note=f"noticed after {noticed:.0f} s")
