"""What the daemon's children are given, and what is left of a process that crashes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from openaq_pipeline import config
from openaq_pipeline.daemon import child
from openaq_pipeline.simulator.server import Running
from tests.daemon.conftest import Schedule, until


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("run", set(config.SECRET_VARIABLES) - {"HEARTBEAT_URL"}),
        ("deliver", {"APPRISE_URLS", "SLACK_WEBHOOK_URL", "SMTP_PASSWORD", "WEBHOOK_URL", "WEBHOOK_SECRET"}),
    ],
)
@pytest.mark.parametrize("suffix", ["", config.FROM_FILE])
def test_a_child_is_given_the_secrets_that_it_needs_and_no_other(
    monkeypatch: pytest.MonkeyPatch, command: str, kept: set[str], suffix: str
) -> None:
    for name in config.SECRET_VARIABLES:
        monkeypatch.setenv(name + suffix, "canary")
    given = child._environment(command, None, None)
    assert {name.removesuffix(suffix) for name, value in given.items() if value == "canary"} == kept
    assert given["PATH"] == os.environ["PATH"]


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_bytes().decode()


def test_a_run_of_the_daemon_has_no_heartbeat_and_neither_leaves_a_core(place: Running, schedule: Schedule) -> None:
    place.faults.inject("delay", "/measurements", seconds=60)
    daemon = schedule(seconds=3600, HEARTBEAT_URL="http://127.0.0.1:9/canary-heart")
    until(lambda: bool(daemon.runs()), "a run")
    (run,) = daemon.runs()
    until(lambda: "openaq_pipeline" in Path(f"/proc/{run}/cmdline").read_text(), "the run's program")
    assert "canary-heart" in environment_of(daemon.process.pid)
    assert "canary-heart" not in environment_of(run)
    until(lambda: has_no_core(daemon.process.pid) and has_no_core(run), "no core")
    daemon.send(signal.SIGABRT)
    assert daemon.process.wait(10) == -signal.SIGABRT
    assert not list(daemon.program.folder.glob("core*"))


def has_no_core(pid: int) -> bool:
    (line,) = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core" in line]
    return line.split()[4:6] == ["0", "0"]
