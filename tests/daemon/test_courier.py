"""Alerts that wait are told between runs, by a child that is never in the way; and a hung run is told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from openaq_pipeline.daemon.child import Snapshot
from openaq_pipeline.daemon.courier import PAUSE_SECONDS, Courier, hung_run
from openaq_pipeline.daemon.watchdog import Reading
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Book, OpenCondition
from openaq_pipeline.monitoring.conditions import between_runs
from openaq_pipeline.monitoring.telling import Policy, update
from openaq_pipeline.reports import Condition
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.alerts.parts import Receiver, hang, policy, receiver, status
from tests.conftest import ROOT, Program, Simulate
from tests.daemon.conftest import Schedule, change, ids, pages, until, wait_for_pages

QUICK_LOOKS = f"""
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
sys.exit(serve(read, limits_of=lambda *_: Limits(tick=0.1, margin=1, hung=4, grace=0.5)))
"""
PATIENT_LOOKS = QUICK_LOOKS.replace("hung=4", "hung=60")
WEBHOOK = policy("webhook")


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """A receiver that works until a test makes it answer otherwise."""
    with receiver(status(200)) as found:
        yield found


def tell_to(program: Program, hook: Receiver, **schedule: object) -> None:
    webhook = {"enabled": True, "url": hook.url(), "allow_private": True}
    change(program, notifications={"enabled": True, "webhook": webhook}, schedule=schedule)


@pytest.fixture
def refusing(simulate: Simulate, program: Program, hook: Receiver) -> Running:
    """A simulator that takes another key than ours; the next run after the first is hours away."""
    options = Options(requests_per_minute=0, keys=frozenset({"another-key"}))
    simulator = simulate(named.bench(locations=1, sensors=1, days=60), options)
    program.configure(simulator.base_url, ids(simulator), initial_days=1)
    tell_to(program, hook, interval_hours=5)
    return simulator


def told(hook: Receiver) -> list[tuple[str, str, str]]:
    return [(one.json["kind"], one.json["key"], one.json["severity"]) for one in hook.received]


def let_the_wait_be_over(folder: Path) -> None:
    """Do to the book what a minute does: the next try of every notice is due."""

    def hurried(book: Book) -> Book:
        past = datetime.now(UTC) - timedelta(seconds=1)
        entries = tuple(msgspec.structs.replace(entry, next_try=past) for entry in book.outbox)
        return msgspec.structs.replace(book, outbox=entries)

    AlertFile(folder).change(datetime.now(UTC), hurried)


def wait_for_all_to_be_noted(program: Program) -> None:
    """Who is killed between the receiver's yes and noting it may tell it twice: another test's business."""
    until(lambda: not AlertFile(program.data).read().outbox, "what was told is noted")


def test_a_refused_key_is_told_at_once(refusing: Running, hook: Receiver, schedule: Schedule) -> None:
    daemon = schedule(code=PATIENT_LOOKS)
    until(lambda: bool(hook.received), "an alert")
    assert told(hook) == [("begun", "needs_a_person", "critical")]
    daemon.logs("The next run is due at")
    assert daemon.stop() == 0
    assert refusing.requests.total
    assert "test-key" not in daemon.log


def test_what_a_receiver_missed_is_told_once_when_it_is_back_and_without_another_run(
    refusing: Running, program: Program, hook: Receiver, schedule: Schedule
) -> None:
    hook.answer = status(503)
    daemon = schedule(code=PATIENT_LOOKS)
    daemon.logs("The next run is due at")
    (missed,), asked = hook.received, refusing.requests.total
    hook.answer = status(200)
    time.sleep(0.5)
    assert len(hook.received) == 1, "not before its time"
    let_the_wait_be_over(program.data)
    until(lambda: not AlertFile(program.data).read().outbox, "the alert is told")
    time.sleep(0.5)
    assert [one.json["id"] for one in hook.received] == [missed.json["id"]] * 2
    assert refusing.requests.total == asked
    assert hook.url() not in daemon.log
    assert daemon.stop() == 0


def test_a_receiver_that_hangs_delays_neither_the_end_of_the_daemon_nor_loses_the_alert(
    refusing: Running, program: Program, hook: Receiver, schedule: Schedule
) -> None:
    hook.answer = status(503)
    daemon = schedule(code=PATIENT_LOOKS)
    daemon.logs("The next run is due at")
    hook.answer = hang
    let_the_wait_be_over(program.data)
    until(lambda: len(hook.received) == 2, "a second try")
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 8
    assert len(AlertFile(program.data).read().outbox) == 1
    assert refusing.requests.total


def test_a_hung_run_is_told_and_so_is_the_good_run_after_it(
    place: Running, program: Program, hook: Receiver, schedule: Schedule
) -> None:
    place.faults.inject("hang", "/measurements", count=1)
    tell_to(program, hook, interval_hours=0.0003)
    daemon = schedule(code=QUICK_LOOKS)
    until(lambda: len(hook.received) >= 2, "an alert and its recovery")
    wait_for_pages(place, 4)
    wait_for_all_to_be_noted(program)
    assert daemon.stop() == 0
    assert told(hook) == [("begun", "hung_run", "critical"), ("recovered", "hung_run", "critical")]
    assert "was ended; what it had stored before is whole" in hook.received[0].json["message"]


def test_runs_that_all_hang_are_told_once_although_one_follows_the_other(
    place: Running, program: Program, hook: Receiver, schedule: Schedule
) -> None:
    place.faults.inject("hang", "/measurements")
    tell_to(program, hook, interval_hours=0.0003)
    daemon = schedule(code=QUICK_LOOKS)
    until(lambda: daemon.log.count("The run hangs") >= 2, "a second run that hangs")
    until(lambda: bool(hook.received), "an alert")
    assert told(hook) == [("begun", "hung_run", "critical")]
    assert daemon.stop() == 0


def test_a_run_that_is_killed_is_told_and_so_is_the_good_run_after_it(
    place: Running, program: Program, hook: Receiver, schedule: Schedule
) -> None:
    place.faults.inject("hang", "/measurements", count=1)
    tell_to(program, hook, interval_hours=0.0003)
    daemon = schedule(code=PATIENT_LOOKS)
    wait_for_pages(place, 1)
    os.kill(daemon.runs()[0], signal.SIGKILL)
    until(lambda: len(hook.received) >= 2, "an alert and its recovery")
    wait_for_all_to_be_noted(program)
    assert daemon.stop() == 0
    assert told(hook) == [("begun", "killed_run", "critical"), ("recovered", "killed_run", "critical")]
    assert "by signal 9" in hook.received[0].json["message"]


def test_a_run_that_a_signal_to_the_daemon_ends_is_not_told(
    place: Running, program: Program, hook: Receiver, schedule: Schedule
) -> None:
    place.faults.inject("hang", "/measurements", count=1)
    tell_to(program, hook, interval_hours=5)
    daemon = schedule(code=PATIENT_LOOKS)
    wait_for_pages(place, 1)
    daemon.send(signal.SIGTERM)
    assert daemon.stop() == 0
    assert not hook.received
    assert not AlertFile(program.data).read().open


def test_a_run_that_cannot_even_begin_is_told(
    place: Running, program: Program, hook: Receiver, schedule: Schedule
) -> None:
    tell_to(program, hook, interval_hours=0.0003)
    program.data.mkdir()
    (program.data / ".state.json").write_text('{"version": 99}')
    daemon = schedule(code=PATIENT_LOOKS)
    until(lambda: bool(hook.received), "an alert")
    assert told(hook) == [("begun", "needs_a_person", "critical")]
    assert "newer version" in hook.received[0].json["message"]
    (program.data / ".state.json").unlink()
    until(lambda: len(hook.received) >= 2, "its recovery")
    wait_for_all_to_be_noted(program)
    assert daemon.stop() == 0
    assert pages(place)


def test_a_bug_that_ends_a_run_is_told(place: Running, program: Program, hook: Receiver) -> None:
    tell_to(program, hook)
    (program.folder / "sitecustomize.py").write_text(
        "from openaq_pipeline.storage.state import StateFile\nStateFile.load = lambda *_, **__: 1 / 0\n"
    )
    done = program.load(PYTHONPATH=f"{program.folder}:{ROOT / 'dataset'}")
    assert done.code == 4
    assert told(hook) == [("begun", "cannot_work", "critical")]
    assert "ZeroDivisionError" in hook.received[0].json["message"]
    assert not pages(place)


def test_a_book_that_cannot_be_changed_ends_no_daemon(
    place: Running, program: Program, hook: Receiver, schedule: Schedule
) -> None:
    (program.data / ".alerts.json").mkdir(parents=True)
    place.faults.inject("hang", "/measurements", count=1)
    tell_to(program, hook, interval_hours=0.0003)
    daemon = schedule(code=QUICK_LOOKS)
    daemon.logs("The alerts that wait could not be read: .*alerts.json")
    daemon.logs("The run hangs")
    wait_for_pages(place, 4)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log


def test_what_waits_for_its_time_and_the_digest_come_without_another_run(
    place: Running, program: Program, hook: Receiver, schedule: Schedule
) -> None:
    tell_to(program, hook)
    daemon = schedule(code=PATIENT_LOOKS)
    daemon.logs("The next run is due at")
    assert AlertFile(program.data).read().digests, "that of the week it began in counts as told"
    assert hook.received == []
    past = datetime.now(UTC) - timedelta(hours=7)
    quality = OpenCondition(Condition("quality", "warning", "Data quality is low", "It is."), past)

    def waiting(book: Book) -> Book:
        return msgspec.structs.replace(book, open={"quality": quality}, digests=("2019-W01",), look_at=past)

    asked = place.requests.total
    AlertFile(program.data).change(datetime.now(UTC), waiting)
    until(lambda: len(hook.received) >= 2, "the alert and the digest")
    wait_for_all_to_be_noted(program)
    assert sorted(one.json["kind"] for one in hook.received) == ["begun", "digest"]
    assert place.requests.total == asked
    assert daemon.stop() == 0


class Waiting:
    """A courier with one alert to tell, looked after by hand."""

    def __init__(self, program: Program, config: str) -> None:
        program.data.mkdir()
        program.config.write_text(config)
        now = datetime.now(UTC).replace(microsecond=0)
        found = between_runs([hung_run(timedelta(hours=6))])
        AlertFile(program.data).change(now, lambda book: update(book, found, now, policy("webhook")))
        self.now = Reading(now, 1000.0)
        self.snapshot = Snapshot(program.config, program.data)
        self.courier = Courier(program.data)

    def look(self, after_seconds: float = 0.0, told: Policy = WEBHOOK) -> None:
        now = Reading(self.now.wall + timedelta(seconds=after_seconds), self.now.steady + after_seconds)
        self.courier.look(now, told, self.snapshot)


def test_a_child_that_fails_at_once_is_started_again_after_a_minute_and_not_before(
    program: Program, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAQ_API_KEY", "test-key")
    waiting = Waiting(program, "locations: [not an id]\n")
    heard = ""
    for after_seconds, children in ((0.0, 1), (1.0, 1), (PAUSE_SECONDS - 1, 1), (PAUSE_SECONDS + 1, 2)):
        waiting.look(after_seconds)
        waiting.courier.finish(10)
        heard += capfd.readouterr().err
        assert heard.count("Error: ") == children, heard
    waiting.snapshot.close()


def test_for_a_channel_that_was_switched_off_no_child_is_started(
    program: Program, capfd: pytest.CaptureFixture[str]
) -> None:
    waiting = Waiting(program, "locations: [not an id]\n")
    waiting.look(told=policy("slack"))
    waiting.courier.finish(10)
    assert capfd.readouterr().err == ""
    waiting.look()
    waiting.courier.finish(10)
    assert "Error: " in capfd.readouterr().err, "the same look with the channel on starts one"
    waiting.snapshot.close()


def test_deliver_by_hand_ends_with_0_unless_something_could_not_be_told(program: Program, hook: Receiver) -> None:
    program.configure("http://127.0.0.1:9/v3", [1])
    tell_to(program, hook)
    nothing = program.run("deliver")
    assert (nothing.code, nothing.out) == (0, "No alert is due now. Still to be told later: 0.\n")
    assert not program.data.exists(), "a look makes no folder"
    Waiting(program, program.config.read_text()).snapshot.close()
    hook.answer = status(503)
    assert program.run("deliver").code == 1
    hook.answer = status(200)
    early = program.run("deliver")
    assert (early.code, early.out) == (0, "No alert is due now. Still to be told later: 1.\n")
    let_the_wait_be_over(program.data)
    assert early.err == "", early.err
    assert program.run("deliver", "--debug").code == 0
    assert told(hook) == [("begun", "hung_run", "critical")] * 2
