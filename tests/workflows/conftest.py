"""A repository of somebody who runs the workflow: a bare origin with our code, and machines that run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
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
        self._folder = folder
        self.origin = folder / "origin.git"
        self._code = folder / "code"
        self.secrets = {"OPENAQ_API_KEY": "the-key-of-the-test"}
        self._code.mkdir()
        for name in CODE:
            shutil.copytree(ROOT / name, self._code / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for name in (".gitignore", "requirements.lock"):
            shutil.copy(ROOT / name, self._code / name)
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.origin))
        git(self._code, "init", "--quiet", "--initial-branch=main")
        git(self._code, "remote", "add", "origin", self.url)
        self.machines = Runner(folder / "github", self.url, sys.executable)

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
        (self._code / "config.yaml").write_text(json.dumps(settings))
        git(self._code, "add", "--all")
        git(self._code, "commit", "--quiet", "--allow-empty", "--message", "The code")
        git(self._code, "push", "--quiet", "origin", "main")

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
        place = self._folder / f"person{self.machines.runs}"
        git(self._folder, "clone", "--quiet", "--branch", "data", self.url, str(place))
        return place


@pytest.fixture
def openaq(simulate: Simulate) -> Running:
    """Two stations of two hourly sensors."""
    return simulate(named.bench(locations=2, sensors=2, days=3))


@pytest.fixture
def fork(tmp_path: Path, openaq: Running) -> Fork:
    made = Fork(tmp_path)
    made.configure(openaq.base_url, [station.id for station in openaq.world.stations])
    return made


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiver(status(200)) as made:
        yield made
