"""`test_pipeline.py` as users meet it: a line for each check, to the end, with what to do."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline.locks import hold_folder
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.faults import Fault
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Finished, Program, Simulate

NAMES = {
    *("dependencies", "time zones", "configuration", "locations", "data folder", "lock", "state", "log file", "disk"),
    *("schedule", "OpenAQ", "channels"),
}


@pytest.fixture
def openaq(simulate: Simulate) -> Running:
    options = Options(requests_per_minute=0, keys=frozenset({"test-key"}))
    return simulate(named.bench(locations=1, sensors=1, days=2), options)


def preflight(program: Program, *flags: str, **env: str) -> Finished:
    done = program.run("test_pipeline.py", *flags, **env)
    assert "Traceback" not in done.out + done.err
    assert done.err == ""
    return done


def checks(program: Program, *flags: str, code: int, **env: str) -> dict[str, list[dict[str, str]]]:
    """Run it and return the checks by name."""
    done = preflight(program, "--json", *flags, **env)
    assert done.code == code, done.out
    found: dict[str, list[dict[str, str]]] = {}
    for check in done.json["checks"]:
        found.setdefault(check["name"], []).append(check)
    assert done.json["passed"] == (code == 0)
    return found


def change(program: Program, **sections: Any) -> None:
    program.config.write_text(json.dumps(json.loads(program.config.read_text()) | sections))


def test_where_all_is_well_each_check_is_one_line_and_the_code_is_0(program: Program, openaq: Running) -> None:
    done = preflight(program.configure(openaq.base_url, [1]))
    assert done.code == 0
    *lines, verdict = done.out.splitlines()
    assert {line[9:23].strip() for line in lines} == NAMES
    assert {line.split()[0] for line in lines} == {"ok", "warning"}, "nobody is told is a warning"
    assert verdict == f"Ready, with 1 of {len(lines)} checks to look at."


def test_it_runs_without_pytest_and_pytest_does_not_take_it_for_tests(program: Program, openaq: Running) -> None:
    program.configure(openaq.base_url, [1])
    block = "import sys; sys.modules['pytest'] = None; sys.argv = sys.argv[1:]; import runpy; "
    start = (
        block + "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = str(ROOT / "dataset" / "test_pipeline.py")
    command = [sys.executable, "-c", start, script, "--config", str(program.config)]
    done = subprocess.run(command, env=program.env, cwd=program.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", script]
    done = subprocess.run(collect, env=program.env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "no tests collected" in done.stdout


def test_exactly_one_request_is_sent_and_counted_in_the_budget(program: Program, openaq: Running) -> None:
    checks(program.configure(openaq.base_url, [1]), code=0)
    assert openaq.requests.total == 1
    assert program.run("monitor.py", "--json").json["budget"]["hour"] == 1


def test_a_missing_and_a_wrong_key_fail_with_what_to_do_and_the_rest_is_checked(
    program: Program, openaq: Running
) -> None:
    program.configure(openaq.base_url, [1])
    missing = checks(program, code=1, OPENAQ_API_KEY="")
    assert missing["OpenAQ"][0]["message"] == "OPENAQ_API_KEY is not set"
    assert openaq.requests.total == 0
    wrong = checks(program, code=1, OPENAQ_API_KEY="canary-wrong-key")
    refused, clock = wrong["OpenAQ"]
    assert refused["status"] == "failed"
    assert "401" in refused["message"]
    assert "OPENAQ_API_KEY" in refused["hint"]
    assert clock["status"] == "ok", "the clock is compared all the same"
    assert wrong.keys() == NAMES


def test_no_network_is_a_failure_said_at_once(program: Program) -> None:
    found = checks(program.configure("http://127.0.0.1:9/v3", [1]), code=1)
    assert found["OpenAQ"][0]["message"] == "No whole answer from 127.0.0.1: Connection refused"
    assert found["OpenAQ"][0]["hint"]
    assert "channels" in found


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=500),
        Fault("html200"),
        Fault("reset"),
        Fault("bad_json"),
        Fault("redirect", url="http://127.0.0.1:9/"),
        Fault("status", status=429, reset=3),
        Fault("hang", seconds=20),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_whatever_openaq_answers_it_is_one_failed_line_after_one_request(
    program: Program, openaq: Running, fault: Fault
) -> None:
    program.configure(openaq.base_url, [1])
    change(program, api=json.loads(program.config.read_text())["api"] | {"timeout_seconds": 0.5})
    openaq.faults.add(fault)
    assert checks(program, code=1)["OpenAQ"][0]["status"] == "failed"
    assert openaq.requests.total <= 1


def test_a_budget_that_is_used_up_is_a_warning_and_not_waited_for(program: Program, openaq: Running) -> None:
    program.configure(openaq.base_url, [1])
    change(program, api={"base_url": openaq.base_url, "requests_per_minute": 1, "requests_per_hour": 1})
    checks(program, code=0)
    again = checks(program, code=0)["OpenAQ"]
    assert [check["status"] for check in again] == ["warning"]
    assert "budget" in again[0]["message"]
    assert openaq.requests.total == 1


@contextmanager
def server_with_clock(off: timedelta) -> Iterator[str]:
    """Serve an OpenAQ whose clock is off."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"meta": {}, "results": []}'
            self.send_response_only(200)
            self.send_header("Date", format_datetime(datetime.now(UTC) + off, usegmt=True))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v3"
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("off", "status", "code"),
    [
        (timedelta(seconds=20), "ok", 0),
        (timedelta(minutes=5), "warning", 0),
        (timedelta(hours=-2), "failed", 1),
    ],
)
def test_a_clock_that_is_off_is_found_by_the_servers_date(
    program: Program, off: timedelta, status: str, code: int
) -> None:
    with server_with_clock(off) as url:
        found = checks(program.configure(url, [1]), code=code)["OpenAQ"]
    assert [check["status"] for check in found] == ["ok", status]


def test_a_configuration_that_cannot_be_read_is_exit_2_with_every_problem_and_the_rest_goes_on(
    program: Program,
) -> None:
    program.config.write_text("api:\n  requests_per_minute: 0\nschedul:\n  mode: cron\n")
    done = preflight(program)
    assert done.code == 2
    assert done.out.count("failed   configuration") == 2
    assert "line 2" in done.out
    assert "did you mean `schedule`?" in done.out
    assert "ok       dependencies" in done.out
    assert not program.data.exists()
    program.config.write_text("a: [")
    found = checks(program, code=2)["configuration"]
    assert "not valid YAML" in found[0]["message"]
    assert preflight(program, "--data-dir", str(program.data), PIPELINE_CONFIG="nowhere.yaml").code == 2


def test_nothing_selected_is_a_failure(program: Program, openaq: Running) -> None:
    assert checks(program.configure(openaq.base_url, []), code=1)["locations"][0]["status"] == "failed"


@pytest.mark.parametrize(
    ("schedule", "status"),
    [
        ({"mode": "interval", "interval_hours": 0.5}, "ok"),
        ({"mode": "once"}, "ok"),
        ({"mode": "cron", "cron": "0 6 * * 1-5", "timezone": "Asia/Kathmandu"}, "ok"),
        ({"mode": "interval", "interval_hours": 0.001}, "warning"),
        ({"mode": "cron", "cron": "0 0 31 2 *"}, "failed"),
        ({"mode": "cron", "cron": "0 99 * * *"}, "failed"),
    ],
)
def test_a_schedule_is_looked_at_before_it_is_relied_on(
    program: Program, openaq: Running, schedule: dict[str, Any], status: str
) -> None:
    program.configure(openaq.base_url, [1])
    change(program, schedule=schedule)
    found = checks(program, code=int(status == "failed"))["schedule"]
    assert [check["status"] for check in found] == [status]


def test_a_folder_at_work_is_a_warning_and_is_not_disturbed(program: Program, openaq: Running) -> None:
    program.configure(openaq.base_url, [1])
    program.data.mkdir()
    with hold_folder(program.data):
        found = checks(program, code=0)
    assert found["lock"][0]["status"] == "warning"


def test_nothing_but_an_empty_log_and_the_lock_is_left_in_the_folder(program: Program, openaq: Running) -> None:
    checks(program.configure(openaq.base_url, [1]), code=0)
    assert {path.name: path.stat().st_size for path in program.data.iterdir()} == {".lock": 0, "pipeline.log": 0}


def test_damaged_files_are_warnings_and_stay_as_they_are(program: Program, openaq: Running) -> None:
    program.configure(openaq.base_url, [1])
    program.data.mkdir()
    names = (".state.json", "locations.json", "metrics.json")
    for name in names:
        (program.data / name).write_text("{")
    found = checks(program, code=0)["state"]
    assert [check["status"] for check in found] == ["warning"] * 3
    assert all((program.data / name).read_text() == "{" for name in names)
    (program.data / ".state.json").write_text('{"version": 99}')
    (newer,) = checks(program, code=1)["state"]
    assert "newer version" in newer["message"]


def test_a_read_only_folder_fails_with_the_cause_and_the_rest_is_checked(program: Program, openaq: Running) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a folder read-only")
    program.configure(openaq.base_url, [1])
    program.data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(program.data)], check=True)
    try:
        found = checks(program, code=1)
    finally:
        subprocess.run(["umount", str(program.data)], check=True)
    assert "Read-only file system" in found["data folder"][0]["message"]
    assert found["log file"][0]["status"] == "warning"
    assert found["OpenAQ"][0]["status"] == "ok"
    assert found.keys() == NAMES


def test_a_small_disk_is_a_warning_before_it_is_full(program: Program, openaq: Running) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    program.configure(openaq.base_url, [1])
    program.data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(program.data)], check=True)
    try:
        found = checks(program, code=0)["disk"][0]
    finally:
        subprocess.run(["umount", str(program.data)], check=True)
    assert found["status"] == "warning"
    assert found["message"].startswith("0.0 GB free; 90 days of 6 sensors")


def test_channels_that_cannot_work_fail_and_those_that_can_are_named(program: Program, openaq: Running) -> None:
    program.configure(openaq.base_url, [1])
    on = {"enabled": True}
    change(program, notifications={**on, "slack": on, "webhook": on, "apprise": on})
    addresses = {"SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/canary-slack-path"}
    found = checks(program, code=1, APPRISE_URLS="json://127.0.0.1:9/canary-x nonsense://canary-y", **addresses)
    assert [check["status"] for check in found["channels"]] == ["failed", "failed", "ok"]
    assert found["channels"][0]["message"].startswith("webhook: ")
    assert found["channels"][1]["message"].startswith("apprise:2: The address of apprise:2 is none")
    assert found["channels"][2]["message"].startswith("slack, apprise:1 set up")
    assert "canary" not in json.dumps(found)


def test_no_secret_is_shown_even_by_a_server_that_sends_it_back(program: Program, openaq: Running) -> None:
    program.configure(openaq.base_url, [1])
    key = "canary-key/1234"
    openaq.faults.add(Fault("status", status=401, body=f'{{"detail": "{key} and canary-key%2F1234"}}'))
    for flags in ([], ["--json"], ["--debug"]):
        done = preflight(program, *flags, OPENAQ_API_KEY=key, SMTP_PASSWORD="canary-password")  # noqa: S106
        assert done.code == 1
        assert "canary" not in done.out


def test_a_missing_dependency_is_a_line_and_not_the_end(program: Program, openaq: Running, tmp_path: Path) -> None:
    program.configure(openaq.base_url, [1])
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "requests.py").write_text("raise ModuleNotFoundError(\"No module named 'requests'\", name='requests')")
    found = checks(program, code=1, PYTHONPATH=str(hidden))
    assert found["OpenAQ"][0]["message"] == "requests is not installed"
    assert "pip install" in found["OpenAQ"][0]["hint"]
    assert "channels" in found


@pytest.mark.parametrize("name", ["pydantic", "yaml", "msgspec"])
def test_without_what_the_settings_need_it_still_says_what_is_missing(
    program: Program, openaq: Running, tmp_path: Path, name: str
) -> None:
    program.configure(openaq.base_url, [1])
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / f"{name}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')")
    done = program.run("test_pipeline.py", PYTHONPATH=str(hidden))
    assert done.code in {1, 2}, done.err
    assert f"{name} is not installed" in done.out + done.err
    assert "Traceback" not in done.out + done.err
