"""A wall clock that is set back or forward while the daemon runs (libfaketime, as Debian has it)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from openaq_pipeline.simulator.server import Running
from tests.conftest import Program
from tests.daemon.conftest import Schedule, pages, resident_bytes, wait_for_pages

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
INTERVAL_SECONDS = 6.0


@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed: apt-get install faketime")
@pytest.mark.parametrize(("jump", "while_running"), [("-1h", False), ("-1h", True), ("+1d", False), ("+3650d", True)])
def test_the_next_run_still_comes_within_about_an_interval(
    place: Running, program: Program, schedule: Schedule, jump: str, while_running: bool
) -> None:
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
    if while_running:
        place.faults.inject("delay", "/measurements", seconds=0.5, count=1)
        wait_for_pages(place, 2)
    else:
        daemon.logs("The next run is due at")
    clock.write_text(f"{jump}\n")
    jumped, before = time.monotonic(), len(pages(place))
    asked = wait_for_pages(place, before + 2)
    assert asked[before] - jumped < INTERVAL_SECONDS + 10, "the start of a run on a busy machine included"
    assert asked[before + 1] - asked[before] > 0.4, "no burst"
    assert asked[before] - asked[before - 1] > INTERVAL_SECONDS / 2, "nor one at once: the last one is not forgotten"
    daemon.logs("The clock was set (back|forward) by")
    assert resident_bytes(daemon.process.pid) < 150e6, "ten years of runs are not made up one by one"
    assert daemon.stop() == 0
