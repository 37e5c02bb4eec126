"""The sign for a watcher: after a good run that leaves all current, never in the way, its address in no log."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from openaq_pipeline.simulator.server import Running
from tests.conftest import Program
from tests.daemon.conftest import Schedule, change, ids, pages, until, wait_for_pages

SECRET = "canary-3f9a"  # noqa: S105 - it must not be seen, that is the test


class Watcher:
    """A watcher outside: the paths it was asked for, and what it answers."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        watcher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                watcher.paths.append(self.path)
                watcher.hold.wait(20)
                self.send_response(watcher.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/ping/{SECRET}"


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    found = Watcher()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    found.hold.set()
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def test_a_good_run_beats_once_and_one_that_fell_short_does_not(
    place: Running, schedule: Schedule, watcher: Watcher
) -> None:
    assert schedule("--mode", "once", HEARTBEAT_URL=watcher.url).process.wait(15) == 0
    assert watcher.paths == [f"/ping/{SECRET}"]
    place.faults.inject("status", "/", status=401)
    assert schedule("--mode", "once", HEARTBEAT_URL=watcher.url).process.wait(15) == 1
    assert len(watcher.paths) == 1


def test_a_good_run_with_a_silent_station_does_not_beat(
    place: Running, program: Program, schedule: Schedule, watcher: Watcher
) -> None:
    change(program, monitoring={"alerts": {"stale_after_hours": 0.0001}})
    daemon = schedule("--mode", "once", HEARTBEAT_URL=watcher.url)
    assert daemon.process.wait(15) == 0, "the run itself is good"
    assert pages(place)
    assert watcher.paths == []


def test_a_loader_without_a_scheduler_beats_too_but_not_for_a_few(
    place: Running, program: Program, watcher: Watcher
) -> None:
    few = [str(number) for number in ids(place)]
    done = program.load("--debug", "--locations", *few, HEARTBEAT_URL=watcher.url)
    assert (done.code, watcher.paths) == (0, [])
    done = program.load("--debug", HEARTBEAT_URL=watcher.url)
    assert (done.code, watcher.paths) == (0, [f"/ping/{SECRET}"])
    assert SECRET not in done.out + done.err
    change(program, monitoring={"alerts": {"stale_after_hours": 0.0001}})
    assert program.load(HEARTBEAT_URL=watcher.url).code == 0
    assert len(watcher.paths) == 1


@pytest.mark.parametrize("status", [302, 500])
def test_a_refused_beat_is_logged_without_its_address_and_not_followed(
    place: Running, schedule: Schedule, watcher: Watcher, status: int
) -> None:
    watcher.status = status
    daemon = schedule("--debug", "--mode", "once", HEARTBEAT_URL=watcher.url)
    assert daemon.process.wait(15) == 0
    assert watcher.paths == [f"/ping/{SECRET}"]
    assert f"The heartbeat to 127.0.0.1 was answered with {status}" in daemon.log
    assert SECRET not in daemon.log
    assert place.requests.total


def test_a_watcher_that_hangs_delays_no_run_and_gets_one_beat_at_a_time(
    place: Running, schedule: Schedule, watcher: Watcher
) -> None:
    watcher.hold.clear()
    daemon = schedule(seconds=0.7, HEARTBEAT_URL=watcher.url)
    asked = wait_for_pages(place, 3)
    assert asked[2] - asked[0] < 10
    assert len(watcher.paths) == 1
    assert daemon.stop(seconds=5) == 0


def test_a_watcher_that_is_not_there_is_told_by_its_host_only(place: Running, schedule: Schedule) -> None:
    daemon = schedule("--debug", "--interval", "5", HEARTBEAT_URL=f"http://127.0.0.1:9/{SECRET}")
    daemon.logs(r"The heartbeat to 127\.0\.0\.1 failed: \w+")
    assert daemon.stop() == 0
    until(lambda: daemon.process.poll() is not None, "it has ended")
    assert SECRET not in daemon.log
    assert place.requests.total
