"""`scheduler.py` as a process: on time, alone, through outages and restarts."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.faults import Kind
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import Program
from tests.daemon.conftest import Schedule, assert_whole, change, has_ended, ids, pages, until, wait_for_pages


def test_runs_come_at_once_and_then_at_every_interval_and_a_signal_ends_the_daemon_with_0(
    place: Running, program: Program, schedule: Schedule
) -> None:
    daemon = schedule(seconds=2)
    asked = wait_for_pages(place, 4)
    # A busy machine takes up to a second to start a run; what counts is that the daemon adds nothing to it.
    assert all(later - earlier > 0.2 for earlier, later in pairwise(asked))
    assert asked[3] - asked[0] == pytest.approx(3 * 2, abs=3)
    until(lambda: not daemon.runs(), "the run has ended")
    assert daemon.stop() == 0
    assert len(program.rows(ids(place)[0])) >= 24
    assert "Error" not in daemon.log


def test_the_daemon_outlives_an_api_that_goes_away_and_goes_on_when_it_is_back(
    program: Program, schedule: Schedule
) -> None:
    world = named.bench(locations=1, sensors=1, days=60)
    with running(world, options=Options(requests_per_minute=0)) as simulator:
        port = int(simulator.root_url.rsplit(":", 1)[1])
        program.configure(simulator.base_url, ids(simulator), initial_days=1)
        daemon = schedule(seconds=1)
        wait_for_pages(simulator, 1)
    daemon.logs(r"The run ended with exit code 1", 30)
    with running(world, options=Options(requests_per_minute=0), port=port) as simulator:
        wait_for_pages(simulator, 2, 30)
        assert daemon.stop() == 0


def test_a_restart_neither_doubles_a_run_nor_skips_one(place: Running, schedule: Schedule, program: Program) -> None:
    first = schedule("--interval", "5")
    first.logs("The next run is due at")
    assert first.stop() == 0
    again = schedule("--interval", "5")
    again.logs("The next run is due at")
    planned = [re.findall(r"due at \d{4}-\d\d-\d\dT(\d\d:\d\d)", daemon.log)[-1] for daemon in (first, again)]
    assert again.stop() == 0
    assert len(pages(place)) == 1
    fetched = next(iter(json.loads((program.data / ".state.json").read_text())["locations"].values()))
    hour, minute = int(fetched["last_fetch_time"][11:13]), int(fetched["last_fetch_time"][14:16])
    assert planned[1] == f"{(hour + 5) % 24:02}:{minute:02}"
    overdue = schedule(seconds=0.5)
    wait_for_pages(place, 2)
    assert overdue.stop() == 0


def test_by_cron_a_first_run_comes_at_once_and_the_next_at_its_time_in_the_zone_of_the_settings(
    place: Running, program: Program, schedule: Schedule
) -> None:
    change(program, schedule={"timezone": "Asia/Kathmandu"})
    daemon = schedule("--cron", "0 3 * * *")
    wait_for_pages(place, 1)
    daemon.logs(r"The next run is due at \d{4}-\d\d-\d\dT21:15:00Z")
    assert daemon.stop() == 0
    assert len(pages(place)) == 1


def test_once_runs_now_and_ends_with_the_runs_exit_code(place: Running, program: Program, schedule: Schedule) -> None:
    assert schedule("--mode", "once").process.wait(15) == 0
    assert schedule("--mode", "once").process.wait(15) == 0, "a second time too, however recent the last run"
    assert len(pages(place)) == 2
    place.faults.inject("status", "/", status=401)
    assert schedule("--mode", "once").process.wait(15) == 1
    assert program.data.is_dir()


def test_a_second_poller_is_refused_at_once_while_a_backfill_works_beside(
    place: Running, program: Program, schedule: Schedule
) -> None:
    daemon = schedule("--interval", "5")
    daemon.logs("The next run is due at")
    for script in ("scheduler.py", "incremental_loader.py"):
        refused = program.run(script)
        assert refused.code == 3
        assert "Another process is working on" in refused.err
    filled = program.load("--date-from", "2026-10-01", "--date-to", "2026-10-02")
    assert filled.code == 0, filled.err
    assert daemon.stop() == 0
    assert len(pages(place)) == 2, "one of the daemon, one of the backfill"


def test_a_run_that_outlives_a_killed_daemon_keeps_the_folder(
    place: Running, program: Program, schedule: Schedule
) -> None:
    place.faults.inject("delay", "/measurements", seconds=6, count=1)
    daemon = schedule("--interval", "5")
    wait_for_pages(place, 1)
    (run,) = daemon.runs()
    daemon.send(signal.SIGKILL)
    daemon.process.wait()
    assert program.run("scheduler.py").code == 3
    until(lambda: has_ended(run), "the run has ended")
    assert_whole(program.data)
    heir = schedule("--mode", "once")
    assert heir.process.wait(15) == 0


@pytest.mark.parametrize(
    ("kind", "fields", "most_seconds"), [("status", {"status": 429, "reset": 3000}, 3), ("hang", {}, 12)]
)
def test_a_run_whose_daemon_was_killed_ends_too_whatever_it_waits_for(
    place: Running, schedule: Schedule, tmp_path: Path, kind: Kind, fields: dict[str, int], most_seconds: int
) -> None:
    place.faults.inject(kind, "/measurements", **fields)
    daemon = schedule("--interval", "5")
    wait_for_pages(place, 1)
    (run,) = daemon.runs()
    daemon.send(signal.SIGKILL)
    daemon.process.wait()
    until(lambda: has_ended(run), "the run has ended", most_seconds)
    assert "The scheduler is gone" in daemon.log
    place.faults.clear()
    heir = schedule("--mode", "once", XDG_STATE_HOME=str(tmp_path / "another ledger"))
    assert heir.process.wait(15) == 0


def test_a_killed_run_is_told_and_the_next_one_comes(place: Running, schedule: Schedule) -> None:
    place.faults.inject("delay", "/measurements", seconds=30, count=1)
    daemon = schedule(seconds=1)
    wait_for_pages(place, 1)
    os.kill(daemon.runs()[0], signal.SIGKILL)
    daemon.logs("The run was ended by signal 9")
    wait_for_pages(place, 2)
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    "flags",
    [
        ("--interval", "0"),
        ("--interval", "-1"),
        ("--interval", "nan"),
        ("--interval", "inf"),
        ("--interval", "two"),
        ("--cron", "61 * * * *"),
        ("--cron", "* * 31 2 *"),
        ("--cron", "* * *"),
        ("--mode", "once", "--interval", "2"),
        ("--mode", "interval", "--cron", "0 * * * *"),
        ("--mode", "sometimes"),
    ],
)
def test_a_schedule_that_cannot_be_is_bad_usage(
    place: Running, program: Program, schedule: Schedule, flags: tuple[str, ...]
) -> None:
    daemon = schedule(*flags)
    assert daemon.process.wait(15) == 2
    assert re.search(r"^(Error: .+\.|.*error: argument .+)$", daemon.log, re.MULTILINE)
    assert "Traceback" not in daemon.log
    assert not program.data.exists()
    assert place.requests.total == 0


def test_a_missing_key_is_told_at_the_start(place: Running, program: Program, schedule: Schedule) -> None:
    program.env.pop("OPENAQ_API_KEY")
    daemon = schedule()
    assert daemon.process.wait(15) == 2
    assert "OPENAQ_API_KEY is not set" in daemon.log
    assert place.requests.total == 0


def test_the_module_of_a_users_folder_does_not_stand_in_for_pythons_own(
    place: Running, program: Program, schedule: Schedule
) -> None:
    (program.folder / "types.py").write_text("raise SystemExit('the wrong types.py')\n")
    assert schedule("--mode", "once").process.wait(15) == 0
    assert len(pages(place)) == 1


def test_the_settings_are_those_of_the_last_reading_until_a_sighup(
    place: Running, program: Program, schedule: Schedule
) -> None:
    change(program, schedule={"interval_hours": 5})
    daemon = schedule()
    daemon.logs("The next run is due at")
    good = program.config.read_text()
    program.config.write_text(good.replace('"interval_hours": 5', '"interval_hours": 0'))
    daemon.send(signal.SIGHUP)
    daemon.logs(r"The old settings stay: .*interval_hours.* 0")
    time.sleep(0.3)
    assert len(pages(place)) == 1
    program.config.write_text(good.replace('"interval_hours": 5', '"interval_hours": 0.0003'))
    daemon.send(signal.SIGHUP)
    daemon.logs("The settings were read again")
    program.config.write_text("locations: [not an id]\n")
    seen = len(pages(place))
    wait_for_pages(place, seen + 3)
    assert "ended with exit code" not in daemon.log, "a later edit does not count before the next SIGHUP"
    assert daemon.stop() == 0
