"""A copy of the checkout in a folder of its own, and Docker Compose in it, as users have it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.containers.engine import BUILD_SECONDS, WAIT_SECONDS, Container, Done, Engine, Failed, until
from tests.prometheus.live import free_port

PROFILES = "demo,monitoring,timescale"
STATIONS = 3
SHIM = """\
#!/bin/sh
# `docker compose`, where only its forerunner is installed.
if [ "$1" = compose ]; then shift; exec docker-compose "$@"; fi
exec {docker} "$@"
"""


class Project:
    """One installation. `variables` are what the user has in the environment; ports and volume are its own."""

    def __init__(self, engine: Engine, folder: Path, **variables: str) -> None:
        self._engine, self.folder = engine, folder
        self.ports = {name: free_port() for name in ("PAGE_PORT", "DEMO_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")}
        self.name = self.volume = f"compose-test-{self.ports['PAGE_PORT']}"
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "HOME", "DOCKER_"))}
        ports = {name: str(port) for name, port in self.ports.items()}
        # The builder that each engine has, and no other: the image is in its cache.
        builder = {"DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}
        own = {"COMPOSE_PROJECT_NAME": self.name, "DATA_VOLUME": self.volume}
        self.env = {**kept, **builder, **ports, **own, **variables}
        self.env["PATH"] = f"{_shim(folder.parent)}:{kept['PATH']}"

    def shell(self, script: str, **variables: str) -> Done:
        """Run lines of the manual, whatever comes of them."""
        command = ["bash", "-euo", "pipefail", "-c", script]
        env = {name: value for name, value in {**self.env, **variables}.items() if value}
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def run(self, script: str, **variables: str) -> str:
        """Run lines of the manual and return what they print; raises `Failed`."""
        done = self.shell(script, **variables)
        if done.code:
            raise Failed(f"{script} ended with {done.code}: {done.said[-4000:]}")
        return done.out

    def container(self, service: str) -> Container:
        """Return the container that a service has now; raises `Failed` if it has none."""
        found = self.run(f"docker compose ps --quiet {service}", COMPOSE_PROFILES=PROFILES).split()
        if len(found) != 1:
            raise Failed(f"{service} has {len(found)} containers")
        return Container(self._engine, found[0])

    def services(self) -> set[str]:
        """Return the services that run."""
        shown = self.run("docker compose ps --services --filter status=running", COMPOSE_PROFILES=PROFILES)
        return set(shown.split())

    def settings(self, service: str) -> dict[str, Any]:
        """Return what the engine was told of a service's container."""
        return self._engine.inspect(self.container(service).name)

    def query(self, sql: str, service: str = "data-pipeline") -> list[dict[str, Any]]:
        """Ask the data of a service."""
        done = self.container(service).execute("openaq-pipeline", "query", sql, "--format", "json")
        if done.code:
            raise Failed(f"{sql}: {done.said}")
        found: list[dict[str, Any]] = json.loads(done.out)
        return found

    def rows(self, service: str = "data-pipeline") -> dict[tuple[int, str], float | None]:
        """Return every row by sensor and time; fails if one is there twice."""
        sql = "SELECT sensors_id, CAST(datetime AS VARCHAR) AS at, value FROM measurements"
        found = self.query(sql, service)
        rows = {(row["sensors_id"], row["at"]): row["value"] for row in found}
        assert len(rows) == len(found)
        return rows

    def has_read_all(self, service: str = "data-pipeline") -> None:
        """Wait for the end of a run in which nothing was left to do."""
        container = self.container(service)
        until(lambda: " complete" in container.log, f"a complete run of {service}", lambda: container.log[-3000:])

    def clean_up(self) -> None:
        """Take everything away, volumes and images of its own too; nothing that another installation has made."""
        down = "docker compose down --remove-orphans --rmi local --timeout 5"
        self.shell(down, COMPOSE_PROFILES=PROFILES)
        mine = ("--quiet", "--filter", f"label=com.docker.compose.project={self.env['COMPOSE_PROJECT_NAME']}")
        for volume in self._engine("volume", "ls", *mine).split():
            self._engine.call("volume", "rm", "--force", volume)

    @contextmanager
    def twin(self) -> Iterator[Project]:
        """Give another installation on the same volume, with ports of its own."""
        other = Project(self._engine, self.folder, **_without_ports(self.env))
        other.env["COMPOSE_PROJECT_NAME"] = other.name
        try:
            yield other
        finally:
            other.clean_up()


def _without_ports(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.endswith("_PORT")}


@contextmanager
def project(engine: Engine, folder: Path, **variables: str) -> Iterator[Project]:
    """Give an installation in a new folder, which is gone afterwards."""
    copy_checkout(folder)
    made = Project(engine, folder, **variables)
    try:
        yield made
    finally:
        made.clean_up()


def copy_checkout(folder: Path) -> None:
    """Copy what git knows of, and what it would add; with fewer stations, so that a first run takes seconds."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    edit(folder, "requests_per_minute: 60", "requests_per_minute: 100000")
    lines = (folder / "config.yaml").read_text().splitlines(keepends=True)
    stations = [line for line in lines if line.startswith("  - ") and line[4:].strip().isdigit()]
    for line in stations[STATIONS:]:
        edit(folder, line, "")


def edit(folder: Path, old: str, new: str) -> None:
    """Replace a text of the configuration that stands there once."""
    path = folder / "config.yaml"
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))


def require_compose() -> None:
    """Skip, and say so, where there is no Compose."""
    if shutil.which("docker-compose") is None and not _has_compose_v2():
        pytest.skip("NOT tested: there is no Docker Compose here (Debian: docker-compose)")


def _has_compose_v2() -> bool:
    done = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False, timeout=WAIT_SECONDS)
    return done.returncode == 0


def _shim(folder: Path) -> Path:
    """Return a folder for PATH in which `docker compose` works, be it by its forerunner."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    if not _has_compose_v2():
        (place / "docker").write_text(SHIM.format(docker=shutil.which("docker")))
        (place / "docker").chmod(0o755)
    return place
