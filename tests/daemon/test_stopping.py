"""How the daemon ends, and how it ends a run: in order, within ten seconds, with files whole."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import suppress

import pytest

from openaq_pipeline.simulator.server import Running
from tests.conftest import ROOT, Program
from tests.daemon.conftest import Schedule, assert_whole, change, ids, pages, until, wait_for_pages

SHORT_PATIENCE = f"""
import logging, os, sys
sys.path.insert(0, {str(ROOT / "dataset")!r})
from pathlib import Path
from openaq_pipeline.config import load
from openaq_pipeline.daemon.service import serve
from openaq_pipeline.daemon.watchdog import Limits
from openaq_pipeline.daemon.alarm import Alarm
logging.basicConfig(level="INFO")
if "DEAF" in os.environ:
    Alarm.set = lambda *_: None
limits = Limits(tick=0.1, margin=1, hung=4, grace=0.5)
sys.exit(serve(lambda: load(config=Path("config.yaml")), limits_of=lambda *_: limits))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_page_ends_run_and_daemon_in_order(
    place: Running, program: Program, schedule: Schedule, number: signal.Signals
) -> None:
    place.faults.inject("delay", "/measurements", seconds=1.5)
    daemon = schedule("--interval", "5")
    wait_for_pages(place, 1)
    assert daemon.stop(number, 10) == 0
    assert "killed" not in daemon.log
    assert_whole(program.data)


def test_a_page_that_does_not_end_is_abandoned_within_ten_seconds_and_the_next_start_makes_up_for_it(
    place: Running, program: Program, schedule: Schedule
) -> None:
    place.faults.inject("delay", "/measurements", seconds=60)
    daemon = schedule("--interval", "5")
    wait_for_pages(place, 1)
    began = time.monotonic()
    assert daemon.stop(signal.SIGTERM, 10) == 0
    assert time.monotonic() - began < 10
    assert_whole(program.data)
    place.faults.clear()
    again = schedule("--interval", "5")
    wait_for_pages(place, 2)
    again.logs("The next run is due at")
    assert len(program.rows(ids(place)[0])) >= 24
    assert again.stop() == 0


def test_a_second_signal_ends_run_and_daemon_at_once(place: Running, program: Program, schedule: Schedule) -> None:
    place.faults.inject("delay", "/measurements", seconds=60)
    daemon = schedule("--interval", "5")
    wait_for_pages(place, 1)
    daemon.send(signal.SIGTERM)
    daemon.logs("Stopping the run")
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 6
    place.faults.clear()
    assert program.load().code == 0, "nobody holds the folder any more"


def test_a_run_that_hangs_is_ended_by_the_watchdog_and_the_next_one_comes(
    place: Running, program: Program, schedule: Schedule
) -> None:
    place.faults.inject("hang", "/measurements", count=1)
    change(program, schedule={"interval_hours": 0.0003})
    daemon = schedule(code=SHORT_PATIENCE)
    wait_for_pages(place, 1)
    daemon.logs(r"The run hangs: no sign of life for \d s")
    wait_for_pages(place, 3)
    until(lambda: not daemon.runs(), "the run has ended")
    assert daemon.stop() == 0
    assert_whole(program.data)
    assert len(program.rows(ids(place)[0])) >= 24


def test_a_run_that_waits_for_its_budget_is_no_hang(place: Running, schedule: Schedule) -> None:
    place.faults.inject("status", "/measurements", status=429, reset=7, count=1)
    daemon = schedule(code=SHORT_PATIENCE)
    wait_for_pages(place, 2)
    assert pages(place)[1] - pages(place)[0] > 6.9, "longer than it may be silent"
    daemon.logs("The next run is due at")
    assert "hangs" not in daemon.log
    assert daemon.stop() == 0


def test_a_backfill_beside_it_hides_no_hang(place: Running, program: Program, schedule: Schedule) -> None:
    place.faults.inject("hang", "/measurements", count=1)
    daemon = schedule(code=SHORT_PATIENCE)
    wait_for_pages(place, 1)
    began = time.monotonic()
    while "hangs" not in daemon.log and time.monotonic() - began < 30:
        (program.data / "changed").write_text("by another process")
        (program.data / "changed").unlink()
        time.sleep(0.1)
    daemon.logs(r"The run hangs: no sign of life for \d s", 0.1)
    assert daemon.stop() == 0


def test_a_stopped_and_continued_daemon_makes_up_one_run_and_no_more(place: Running, schedule: Schedule) -> None:
    daemon = schedule(seconds=6)
    wait_for_pages(place, 1)
    until(lambda: not daemon.runs(), "the run has ended")
    daemon.send(signal.SIGSTOP)
    before = len(pages(place))
    time.sleep(12.5)
    assert len(pages(place)) == before
    continued = time.monotonic()
    daemon.send(signal.SIGCONT)
    wait_for_pages(place, before + 2)
    first, second = pages(place)[before : before + 2]
    assert first - continued < 4.5, "the missed ones are made up at once: the next by the old beat is 5 s away"
    assert second - first > 2, "as one"
    assert daemon.stop() == 0


def test_a_scheduler_that_never_rings_is_noticed_and_the_runs_come_all_the_same(
    place: Running, program: Program, schedule: Schedule
) -> None:
    change(program, schedule={"interval_hours": 0.0001})
    daemon = schedule(code=SHORT_PATIENCE, DEAF="yes")
    wait_for_pages(place, 2)
    daemon.logs("No run was started at .*, although one was due")
    assert daemon.stop() == 0


def test_systemd_hears_ready_alive_and_stopping(place: Running, program: Program, schedule: Schedule) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(program.folder / "notify"))
        channel.settimeout(10)
        env = {"NOTIFY_SOCKET": str(program.folder / "notify"), "WATCHDOG_USEC": "200000"}
        daemon = schedule("--interval", "5", **env)
        assert [channel.recv(100) for _ in range(4)] == [b"READY=1", *[b"WATCHDOG=1"] * 3]
        wait_for_pages(place, 1)
        until(lambda: not daemon.runs(), "the run has ended")
        began = time.monotonic()
        heard = [channel.recv(100) for _ in range(5)]
        assert heard == [b"WATCHDOG=1"] * 5
        assert time.monotonic() - began < 4
        assert daemon.stop() == 0
        channel.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                heard.append(channel.recv(100))
    assert b"STOPPING=1" in heard
