"""A real Prometheus beside real pages, on free ports of this machine."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import yaml

from tests.conftest import ROOT, Program
from tests.daemon.conftest import Scheduler
from tests.prometheus.promtool import program

DEPLOY = ROOT / "deploy"
JOB = "openaq-pipeline"
WAIT_SECONDS = 30.0
SERVED = r"The status page is at http://(\S+)/"


class Sample(NamedTuple):
    """One series of an answer."""

    labels: dict[str, str]
    value: float


class Prometheus:
    """One that is running; `targets` are the addresses of the pages by what they are called here."""

    def __init__(self, url: str, targets: Mapping[str, str]) -> None:
        self.url = url
        self.targets = targets

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """Ask for the value of an expression, now or at a Unix time; fails with what Prometheus has against it."""
        asked = {"query": expression} | ({} if at is None else {"time": str(at)})
        answer = requests.post(f"{self.url}/api/v1/query", data=asked, timeout=10).json()
        assert answer["status"] == "success", (expression, answer)
        assert answer["data"]["resultType"] == "vector", expression
        return [Sample(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def one(self, expression: str, target: str) -> float:
        """The one value that an expression has of a page; `INSTANCE` in it stands for the page's address."""
        (found,) = self.query(expression.replace("INSTANCE", f'"{self.targets[target]}"'))
        return found.value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(true: Callable[[], bool], what: str, process: subprocess.Popen[Any] | None = None) -> None:
    """Wait until something is so; fail with its name if it does not come, or the process ends before."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            pytest.fail(f"still not after {WAIT_SECONDS:g} s: {what}")
        time.sleep(0.05)


@contextmanager
def page(of: Program) -> Iterator[Callable[[], str]]:
    """Serve a folder as `monitor.py --serve` does; what is given waits for it and returns its host and port."""
    with of.start("monitor.py", "--serve") as process:
        try:
            assert process.stdout is not None
            first_line = process.stdout.readline
            yield lambda: first_line().split()[-1].removeprefix("http://").rstrip("/")
        finally:
            process.terminate()
            process.communicate(timeout=WAIT_SECONDS)


@contextmanager
def daemon(of: Program) -> Iterator[Callable[[], str]]:
    """Run the scheduler with its page; what is given waits for its first run and returns the page's host and port."""
    settings = json.loads(of.config.read_text())
    of.config.write_text(json.dumps(settings | {"web": {"enabled": True, "port": 0}}))
    command = [sys.executable, str(ROOT / "dataset/scheduler.py"), "--config", str(of.config), "--interval", "2"]
    started = Scheduler(of, command, {})

    def waited() -> str:
        started.logs(r"Run of \d+ locations complete")
        started.logs(SERVED)
        found: str = re.findall(SERVED, started.log)[-1]
        until(lambda: answers(f"http://{found}/healthz"), "the page")
        return found

    try:
        yield waited
        assert started.stop() == 0
    finally:
        started.clean_up()


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Run Prometheus with the shipped rules, and the shipped configuration but for targets and pace."""
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus/alerts.yml")]
    (scrape,) = config["scrape_configs"]
    assert scrape["job_name"] == JOB
    scrape["static_configs"] = [{"targets": list(targets.values())}]
    (folder / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    with (folder / "log.txt").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, text=True) as process:
        try:
            found = Prometheus(f"http://{address}", targets)
            until(lambda: answers(f"{found.url}/-/ready"), f"Prometheus: {(folder / 'log.txt').read_text()}", process)
            yield found
        finally:
            process.terminate()


def answers(url: str) -> bool:
    """Say whether something good comes back."""
    with suppress(requests.RequestException):
        return requests.get(url, timeout=1).ok
    return False


def dashboards() -> dict[str, dict[str, Any]]:
    """The shipped dashboards by the name of their file."""
    folder = DEPLOY / "grafana/dashboards"
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
