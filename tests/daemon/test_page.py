"""The status page as the daemon's child: there, without a secret, again after a death, and gone with the daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from openaq_pipeline import config
from openaq_pipeline.daemon import child, page
from openaq_pipeline.settings import Settings, secrets_of
from openaq_pipeline.simulator.server import Running
from tests.conftest import Program
from tests.daemon.conftest import Schedule, Scheduler, change, has_ended, until, wait_for_pages

CANARIES = {name: f"canary-{name.lower()}" for name in config.SECRET_VARIABLES} | {
    "WEBHOOK_URL": "https://canary.example/canary-webhook",
    "SLACK_WEBHOOK_URL": "https://canary.example/canary-slack",
    "HEARTBEAT_URL": "http://127.0.0.1:9/canary-heart",
    "AWS_SECRET_ACCESS_KEY": "canary-of-somebody-else",
}
SERVED = re.compile(r"The status page is at (http://\S+)/")


def addresses(daemon: Scheduler) -> list[str]:
    return SERVED.findall(daemon.log)


def address(daemon: Scheduler, number: int = 1) -> str:
    """Wait until the page was served so many times; return where it is and answers."""
    until(lambda: len(addresses(daemon)) >= number, f"the page number {number}: {daemon.log}")
    found = addresses(daemon)[-1]
    until(lambda: answers(found), f"an answer of {found}")
    return found


def answers(place: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"{place}/healthz", timeout=5).status_code == 200
    return False


def page_of(daemon: Scheduler) -> int:
    """Return the id of the page's process; there is one."""
    (found,) = [pid for pid in daemon.runs() if b"\0page\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found


def memory_of(pid: int) -> bytes:
    """Return all that a process has in memory of its own."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            start, end = (int(each, 16) for each in span.split("-"))
            if rights.startswith("rw"):
                with suppress(OSError):
                    memory.seek(start)
                    found.append(memory.read(end - start))
    return b"".join(found)


def open_files(pid: int) -> list[str]:
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(each.readlink()))
    return found


@pytest.fixture
def shown(program: Program, place: Running) -> Running:
    change(program, web={"enabled": True, "port": 0})
    return place


def test_the_daemon_serves_the_page_without_a_secret_again_after_a_death_and_until_its_own(
    shown: Running, program: Program, schedule: Schedule
) -> None:
    program.folder.joinpath(".env").write_text("SMTP_PASSWORD=canary-dotenv\n")
    change(program, api=json.loads(program.config.read_text())["api"] | {"api_key": "canary-config"})
    names = CANARIES.keys() - {"SMTP_PASSWORD", "DATABASE_URL"}
    daemon = schedule("--interval", "5", **{name: CANARIES[name] for name in names})
    place = address(daemon)
    wait_for_pages(shown, 1)
    daemon.logs("The next run is due at")
    found = status_with_budget(place)
    assert found["status"] == "ok", found
    assert found["next_run"] is not None
    assert "next run in 4 h 59 min" in found["sentence"] or "next run in 5 h" in found["sentence"]
    assert found["budget"]["hour"] >= 1
    pid = page_of(daemon)
    assert b"canary" in Path(f"/proc/{daemon.process.pid}/environ").read_bytes()
    for where in ("environ", "cmdline"):
        assert b"canary" not in Path(f"/proc/{pid}/{where}").read_bytes()
    assert b"next run in" in memory_of(pid), "it is looked at"
    assert b"canary" not in memory_of(pid)
    assert not [each for each in open_files(pid) if each.startswith(str(program.folder)) and "log-" not in each]
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) >= child.PAGE_SCORE

    os.kill(pid, signal.SIGKILL)
    daemon.logs("The status page was ended by signal 9; it is started again in")
    assert address(daemon, 2)
    again = page_of(daemon)
    daemon.process.kill()
    daemon.process.wait()
    until(lambda: has_ended(again), "the page ends with a daemon that was killed", 10)


def status_with_budget(place: str) -> Any:
    """Return the status as soon as the first run shows in it."""
    found: dict[str, Any] = {}

    def told() -> bool:
        found.update(requests.get(f"{place}/api/v1/status", timeout=10).json())
        return bool(found["status"] == "ok")

    until(told, "a good run on the page")
    return found


def test_a_reload_moves_the_page_and_switches_it_off_and_the_end_of_the_daemon_ends_it(
    shown: Running, program: Program, schedule: Schedule
) -> None:
    daemon = schedule("--interval", "5")
    before = address(daemon)
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
    change(program, web={"port": port})
    daemon.send(signal.SIGHUP)
    assert address(daemon, 2) == f"http://127.0.0.1:{port}"
    until(lambda: not answers(before), "the old one is gone")
    change(program, web={"enabled": False})
    daemon.send(signal.SIGHUP)
    until(lambda: not answers(f"http://127.0.0.1:{port}"), "there is no page")
    change(program, web={"port": port})
    daemon.send(signal.SIGHUP)
    address(daemon, 3)
    pid = page_of(daemon)
    wait_for_pages(shown, 1)
    assert daemon.stop(seconds=10) == 0
    until(lambda: has_ended(pid), "the page has ended", 5)


def test_a_port_that_is_taken_is_told_once_and_had_as_soon_as_it_is_free(
    shown: Running, program: Program, schedule: Schedule
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        change(program, web={"port": port})
        daemon = schedule("--interval", "5")
        daemon.logs(f"The status page can't listen on 127.0.0.1:{port}: Address already in use")
        wait_for_pages(shown, 1)
        daemon.logs("The next run is due at")
    assert address(daemon) == f"http://127.0.0.1:{port}"
    assert daemon.log.count("can't listen") == 1
    assert daemon.stop() == 0


def test_the_page_is_given_no_secret_setting_and_all_others_as_they_are(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", ["planet", {"country": "NP"}, {"bbox": [1, 2, 3, 4]}, 7])
    written = {
        "schedule": {"mode": "cron", "cron": "0 3 * * *"},
        "notifications": {"email": {"to": ["a@canary.example"]}},
    }
    change(program, **written)
    settings = config.load(config=program.config, environ=CANARIES | {"DATA_DIR": str(program.data)})
    assert len(list(secrets_of(settings))) >= len(config.SECRET_VARIABLES)
    body = page.as_json(settings)
    assert b"canary" not in body
    found = Settings.model_validate_json(body)
    for name in ("locations", "selections", "schedule", "data", "validation", "web", "data_dir"):
        assert getattr(found, name) == getattr(settings, name), name
    assert found.api == settings.api.model_copy(update={"api_key": None})


def test_the_page_waits_longer_from_death_to_death(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = [1000.0]
    kept = page.Page(tmp_path, clock=lambda: clock[0])
    monkeypatch.setattr(page, "Child", lambda *_, **__: "a page")
    kept._wanted = page.Wanted(Settings.model_validate({"data_dir": tmp_path, "web": {"port": 0}}))
    waits: list[float | None] = []
    for _ in range(8):
        kept._step()
        assert kept._child
        kept._note(kept._number, 1)
        kept._step()
        assert kept._child is None
        waits.append(kept._patience())
        clock[0] += waits[-1] or 0.0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    kept._step()
    clock[0] += 61
    kept._note(kept._number, 1)
    kept._step()
    kept._note(kept._number, 1)
    kept._step()
    assert kept._patience() == 1, "one that has lived is started again soon"


def test_a_variable_that_only_begins_like_a_harmless_one_is_kept_from_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_SDK_KEY", "canary")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    given = child._environment(child.PAGE, None)
    assert "LD_SDK_KEY" not in given
    assert given["LD_LIBRARY_PATH"] == "/opt/lib"
