"""`monitor.py` as users and health checks meet it: from the files alone, beside whatever runs."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline.cli import monitor_command
from openaq_pipeline.locks import hold_folder
from openaq_pipeline.monitoring import history
from openaq_pipeline.settings import Settings
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import Program, Simulate
from tests.monitoring.runs import location, run

DEAR = {"apprise", "apscheduler", "duckdb", "fastapi", "numpy", "pyarrow", "requests", "rich", "slack_sdk", "uvicorn"}
"""What a health check, which may run twice a minute, has no use for; each takes long to load."""


@pytest.fixture
def bench(simulate: Simulate) -> Running:
    return simulate(named.bench(locations=2, sensors=2, days=5))


@pytest.fixture
def filled(program: Program, bench: Running) -> Program:
    """A folder after one good run, an hour and a half ago as the history of runs has it."""
    stations = [station.id for station in bench.world.stations]
    program.configure(bench.base_url, stations, initial_days=1)
    done = program.load()
    assert done.code == 0, done.err
    note(program.data, timedelta(minutes=90), *(location(station) for station in stations))
    return program


def note(folder: Path, ago: timedelta, *places: Any) -> None:
    (folder / "metrics.json").unlink(missing_ok=True)
    history.append(folder, run(datetime.now(UTC).replace(microsecond=0) - ago, *places), datetime.now(UTC))


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def change(program: Program, **sections: Any) -> None:
    program.config.write_text(json.dumps(json.loads(program.config.read_text()) | sections))


def age_state(folder: Path, ago: timedelta) -> None:
    """Let every location have been read last so long ago."""
    path = folder / ".state.json"
    state = json.loads(path.read_text())
    for place in state["locations"].values():
        stamp = (datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%SZ")
        place |= {"last_fetch_time": stamp, "last_successful_run": stamp}
    path.write_text(json.dumps(state))


def test_it_says_in_one_look_what_is_current_what_it_cost_and_when_it_goes_on(filled: Program) -> None:
    done = filled.run("monitor.py")
    assert done.code == 0, done.err
    assert done.out.startswith("OK: All 2 locations current; next run in ")
    assert "Budget: 7 of 1,000,000 requests used in the last minute, 7 of 1,000,000 in the last hour." in done.out
    assert "Next run: " in done.out
    assert done.out.count("  current ") == 2
    assert "99.5 %" in done.out


def test_it_needs_no_key_no_network_and_no_data(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", [3459])
    done = program.run("monitor.py", OPENAQ_API_KEY="")
    assert done.code == 0, done.err
    assert done.out.startswith("DOWN: No run was good yet; 1 of 1 location never read")
    assert "Budget: unknown" in done.out
    assert not program.data.exists()


def test_the_json_is_one_object_with_everything(filled: Program) -> None:
    found = filled.run("monitor.py", "--json").json
    assert found.keys() == {"health", "runs", "budget", "data_dir", "warnings", "totals"}
    assert found["health"]["status"] == "ok"
    assert [place["status"] for place in found["health"]["locations"]] == ["current", "current"]
    due = datetime.fromisoformat(found["health"]["next_run"])
    assert abs(due - datetime.now(UTC) - timedelta(minutes=30)) < timedelta(minutes=1)
    assert found["budget"] == {"minute": 7, "hour": 7, "per_minute": 1_000_000, "per_hour": 1_000_000}
    assert len(found["runs"]) == 1


def test_the_history_shows_as_many_of_the_last_runs_as_asked_for(filled: Program) -> None:
    for hours in range(8):
        history.append(filled.data, run(datetime.now(UTC) - timedelta(hours=8 - hours), location(1)), datetime.now(UTC))
    assert len(filled.run("monitor.py", "--json").json["runs"]) == 5
    found = filled.run("monitor.py", "--json", "--history", "3").json["runs"]
    assert len(found) == 3
    assert found[0]["started"] < found[2]["started"]
    assert filled.run("monitor.py", "--history", "0").code == 2


def test_it_works_beside_a_poller_and_writes_nothing_into_the_data_folder(filled: Program) -> None:
    before = snapshot(filled.data)
    with hold_folder(filled.data):
        for flags in ([], ["--json"], ["--check"], ["--history", "9"]):
            done = filled.run("monitor.py", *flags)
            assert done.code == 0, done.err
    assert snapshot(filled.data) == before


def test_a_parked_sensor_is_shown_with_why_and_until_when(filled: Program) -> None:
    path = filled.data / ".state.json"
    state = json.loads(path.read_text())
    sensor = next(iter(next(iter(state["locations"].values()))["sensors"].values()))
    until = (datetime.now(UTC) + timedelta(minutes=50, seconds=30)).isoformat()
    sensor |= {"parked_until": until, "failures": 2, "last_error": "OpenAQ answered 500\nto \x1b[2Jit"}
    path.write_text(json.dumps(state))
    done = filled.run("monitor.py")
    assert done.out.startswith("DEGRADED: All 2 locations current, 1 sensor parked; ")
    assert "is parked, next try in 50 min: OpenAQ answered 500 to  [2Jit" in done.out
    assert "\x1b" not in done.out


def test_damaged_files_are_told_and_the_rest_is_shown(filled: Program) -> None:
    (filled.data / "metrics.json").write_text("not JSON")
    done = filled.run("monitor.py")
    assert done.code == 0, done.err
    assert done.out.startswith("OK: All 2 locations current")
    assert "! metrics.json is damaged" in done.out
    (filled.data / ".state.json").write_text("[")
    (filled.data / "locations.json").write_text("[")
    before = snapshot(filled.data)
    done = filled.run("monitor.py")
    assert done.code == 0, done.err
    assert done.out.count(" is damaged") == 3
    assert snapshot(filled.data) == before
    (filled.data / ".state.json").write_text('{"version": 99}')
    assert "newer version" in filled.run("monitor.py").out


def test_the_check_is_0_after_a_recent_good_run_and_1_after_a_long_silence(filled: Program) -> None:
    done = filled.run("monitor.py", "--check")
    assert (done.code, done.out[:8]) == (0, "healthy:")
    age_state(filled.data, timedelta(hours=5))
    assert filled.run("monitor.py", "--check").code == 0
    note(filled.data, timedelta(hours=5), location(1))
    done = filled.run("monitor.py", "--check")
    assert (done.code, done.out[:10]) == (1, "unhealthy:")
    note(filled.data, timedelta(hours=1), location(1, "failed"))
    assert filled.run("monitor.py", "--check").code == 1, "a failed run is no sign of health"


def test_the_check_goes_by_the_interval_and_by_the_gaps_of_a_cron_line(filled: Program) -> None:
    age_state(filled.data, timedelta(hours=9))
    note(filled.data, timedelta(hours=9), location(1))
    for schedule, code in (
        ({"interval_hours": 2}, 1),
        ({"interval_hours": 6}, 0),
        ({"mode": "cron", "cron": "0 */3 * * *"}, 1),
        ({"mode": "cron", "cron": "30 7,19 * * *"}, 0),
        ({"mode": "once"}, 1),
    ):
        change(filled, schedule=schedule)
        assert filled.run("monitor.py", "--check").code == code, schedule


def test_an_impossible_cron_line_is_bad_configuration_here_too(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", [1])
    change(program, schedule={"mode": "cron", "cron": "0 0 31 2 *"})
    for flags in ([], ["--check"]):
        done = program.run("monitor.py", *flags)
        assert done.code == 2
        assert "cron line" in done.err


def test_a_location_that_was_just_read_counts_while_the_first_run_still_goes_on(filled: Program) -> None:
    (filled.data / "metrics.json").unlink()
    assert filled.run("monitor.py", "--check").code == 0


def test_after_a_recent_good_run_the_check_does_not_read_the_state_which_may_be_large(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note(tmp_path, timedelta(minutes=5), location(1))
    (tmp_path / ".state.json").mkdir()
    asked, now = Settings(data_dir=tmp_path), datetime.now(UTC)
    assert monitor_command.check(asked, now) == 0
    assert monitor_command.check(asked, now + timedelta(days=1)) == 1
    assert "Is a directory" in capsys.readouterr().out


def test_a_check_without_any_run_or_with_a_file_that_cannot_be_read_is_1_and_a_sentence(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", [3459])
    assert program.run("monitor.py", "--check").code == 1
    (program.data / "metrics.json").mkdir(parents=True)
    done = program.run("monitor.py", "--check")
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("unhealthy: ")


def test_the_check_loads_nothing_that_takes_long_to_load(filled: Program) -> None:
    done = filled.run("monitor.py", "--check", PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.err.splitlines()}
    assert {"openaq_pipeline", "pydantic"} <= loaded
    assert not loaded & DEAR


def test_a_read_only_folder_can_be_looked_at(filled: Program) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a folder read-only")
    data, copy = filled.data, filled.folder / "copy"
    data.rename(copy)
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(data)], check=True)
    try:
        shutil.copytree(copy, data, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(data)], check=True)
        for flags in ([], ["--json"], ["--check"]):
            done = filled.run("monitor.py", *flags)
            assert done.code == 0, done.err
    finally:
        subprocess.run(["umount", str(data)], check=True)


def test_two_jobs_at_once_are_bad_usage(program: Program) -> None:
    assert program.configure("http://127.0.0.1:9/v3", [1]).run("monitor.py", "--check", "--serve").code == 2


@contextmanager
def receiver(status: int) -> Iterator[tuple[str, list[bytes]]]:
    """Serve a webhook receiver that answers with one status, and keep what it got."""
    got: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/in/canary-path", got
        finally:
            server.shutdown()


def notify(program: Program, url: str, **more: Any) -> Program:
    program.configure("http://127.0.0.1:9/v3", [1])
    webhook = {"enabled": True, "allow_private": True}
    change(program, notifications={"enabled": True, "webhook": webhook, **more})
    program.env["WEBHOOK_URL"] = url
    return program


def test_a_test_alert_is_really_sent_and_what_happened_is_said(program: Program) -> None:
    with receiver(204) as (url, got):
        done = notify(program, url).run("monitor.py", "--test-alert")
    assert done.code == 0, done.err
    assert done.out.startswith("webhook  delivered (")
    assert len(got) == 1
    assert "canary-path" not in done.out + done.err


def test_a_test_alert_that_fails_says_why_without_the_address_and_exits_1(program: Program) -> None:
    with receiver(403) as (url, got):
        done = notify(program, url).run("monitor.py", "--test-alert", "webhook", "--debug")
    assert done.code == 1
    assert done.out.startswith("webhook  FAILED: ")
    assert got
    assert "canary-path" not in done.out + done.err


def test_one_channel_that_fails_does_not_keep_the_others_from_being_tried(program: Program) -> None:
    with receiver(200) as (url, got):
        notify(program, url, slack={"enabled": True})
        program.env["SLACK_WEBHOOK_URL"] = "https://127.0.0.1:9/services/canary-path"
        done = program.run("monitor.py", "--test-alert")
    assert done.code == 1
    assert "slack    FAILED" in done.out
    assert "webhook  delivered" in done.out
    assert got
    assert "canary-path" not in done.out + done.err


def test_a_test_alert_goes_to_each_address_of_apprise(program: Program) -> None:
    with receiver(200) as (url, got):
        notify(program, url, apprise={"enabled": True})
        program.env["APPRISE_URLS"] = f"{url.replace('http://', 'json://')} nonsense://canary-path"
        done = program.run("monitor.py", "--test-alert", "apprise", "--debug")
    assert done.code == 1
    first, second = done.out.splitlines()
    assert first.startswith("apprise:1 delivered (")
    assert second.startswith("apprise:2 FAILED: The address of apprise:2 is none that Apprise understands.")
    assert len(got) == 1
    assert "canary-path" not in done.out + done.err


def test_a_test_alert_without_a_channel_is_exit_2_and_says_what_to_set(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", [1])
    done = program.run("monitor.py", "--test-alert")
    assert done.code == 2
    assert "notifications.enabled" in done.err
    with receiver(200) as (url, got):
        done = notify(program, url).run("monitor.py", "--test-alert", "email")
    assert done.code == 2
    assert "email" in done.err
    assert not got
    assert program.run("monitor.py", "--test-alert", "pigeon").code == 2
