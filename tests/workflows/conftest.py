"""A repository of somebody who runs the workflow: a bare origin with our code, and machines that run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.control import NewRow
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.base import World
from tests.alerts.parts import Receiver, receiver, status
from tests.conftest import NO_LIMIT, ROOT, Simulate
from tests.workflows.runner import Run, Runner

WORKFLOW = ROOT / ".github/workflows/data-pipeline.yml"
CODE = (".github", "dataset")
AUTHOR = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
CLEAN = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def git(where: Path, *arguments: str) -> str:
    """What git says in a folder."""
    command = ["git", *AUTHOR, "-C", str(where), *arguments]
    return subprocess.run(command, check=True, env=CLEAN, text=True, capture_output=True).stdout


class Fork:
    """Somebody's repository with our code, its data branch, and the machines that GitHub lends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin = folder / "origin.git"
        self.code = folder / "code"
        self.secrets = {"OPENAQ_API_KEY": "the-key-of-the-test"}
        self.code.mkdir()
        for name in CODE:
            shutil.copytree(ROOT / name, self.code / name, ignore=shutil.ignore_patterns("*.egg-info"))
        for name in (".gitignore", "requirements.lock"):
            shutil.copy(ROOT / name, self.code / name)
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.origin))
        git(self.origin, "config", "pack.window", "0")  # it is cloned for each machine: what is small takes longer
        git(self.code, "init", "--quiet", "--initial-branch=main")
        git(self.code, "remote", "add", "origin", self.url)
        self.machines = Runner(folder / "github", self.code, self.url, sys.executable)

    @property
    def url(self) -> str:
        return self.origin.as_uri()

    def configure(self, base_url: str, locations: list[int], **more: Any) -> None:
        """Push a config.yaml with the code."""
        limits = {"requests_per_minute": NO_LIMIT, "requests_per_hour": NO_LIMIT}
        settings = {
            "locations": locations,
            "api": {"base_url": base_url, **limits},
            "data": {"initial_days": 2},
            **more,
        }
        (self.code / "config.yaml").write_text(json.dumps(settings))
        git(self.code, "add", "--all")
        git(self.code, "commit", "--quiet", "--allow-empty", "--message", "The code")
        git(self.code, "push", "--quiet", "origin", "main")

    def run(self, **given: Any) -> Run:
        return self.machines.run(WORKFLOW, **{"secrets": self.secrets, **given})

    def commits(self) -> list[str]:
        """The subjects of the data branch, the newest first."""
        known = git(self.origin, "branch", "--list", "data")
        return git(self.origin, "log", "--format=%s", "data").splitlines() if known else []

    def files(self) -> list[str]:
        return git(self.origin, "ls-tree", "-r", "--name-only", "data").splitlines()

    def show(self, path: str, commit: str = "data") -> str:
        return git(self.origin, "show", f"{commit}:{path}")

    def rows(self, location_id: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.show(f"location_{location_id}.json"))
        return found

    def clone(self) -> Path:
        """A clone of the data branch, as a person has it."""
        place = self.folder / f"person{self.machines.runs}"
        git(self.folder, "clone", "--quiet", "--branch", "data", self.url, str(place))
        return place


ROWS = 2 * 48
"""Of a station in two days: two hourly sensors."""


def ids(openaq: Running) -> list[int]:
    return [station.id for station in openaq.world.stations]


def add_late_row(openaq: Running, hours: int = 5, station: int = 0) -> str:
    """Let a row come late, between two of the hour; return its stamp."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    stamp = hour - timedelta(hours=hours, minutes=30)
    openaq.add_rows(openaq.world.stations[station].sensors[0].id, NewRow(stamp, 12.5))
    return f"{stamp:%Y-%m-%dT%H:%M:%SZ}"


def stamps(fork: Fork, location_id: int) -> list[str]:
    return [row["datetime"] for row in fork.rows(location_id)]


def assert_well(done: Run) -> None:
    assert done.conclusion == "success", done.log


def assert_each_once(fork: Fork, location_id: int) -> None:
    keys = [(row["datetime"], row["sensors_id"]) for row in fork.rows(location_id)]
    assert keys == sorted(set(keys))


def two_stations() -> World:
    """Two stations of two hourly sensors."""
    return named.bench(locations=2, sensors=2, days=3)


def forked(folder: Path, openaq: Running) -> Fork:
    """A repository that polls all stations of a simulator."""
    made = Fork(folder)
    made.configure(openaq.base_url, [station.id for station in openaq.world.stations])
    return made


@pytest.fixture
def openaq(simulate: Simulate) -> Running:
    return simulate(two_stations())


@pytest.fixture
def fork(deployments: None, tmp_path: Path, openaq: Running) -> Fork:
    del deployments
    return forked(tmp_path, openaq)


@pytest.fixture(scope="module")
def refusing(deployments: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fork]:
    """A repository for runs that are refused, which leave it as it was."""
    del deployments
    with running(two_stations(), options=Options(requests_per_minute=0)) as openaq:
        yield forked(tmp_path_factory.mktemp("refusing"), openaq)


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiver(status(200)) as made:
        yield made
