"""The wheel in an empty environment of each Python, with all that pip brings; the manual's way to it, as written."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from openaq_pipeline import __version__
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT
from tests.documents import blocks
from tests.installation.building import Built, built
from tests.installation.interpreters import VERSIONS, interpreter
from tests.installation.used import Installed


@pytest.fixture(scope="module")
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    if not request.config.option.long:
        pytest.skip("NOT tested here but by `make package`: whole installations from PyPI")
    return built(tmp_path_factory.mktemp("package"))


@pytest.fixture(params=VERSIONS)
def python(package: Built, request: pytest.FixtureRequest) -> Path:
    del package  # first: without `--long` no Python is looked for
    found = interpreter(request.param)
    if found is None:
        pytest.skip(f"NOT tested: there is no Python {request.param} here")
    return found


@pytest.fixture
def simulator() -> Iterator[Running]:
    with running(named.demo(), options=Options(requests_per_minute=0)) as found:
        yield found


def installed(program: Installed, command: list[str]) -> None:
    done = program.other(*command)
    if "Could not find a version" in done.err or "Connection" in done.err:
        pytest.skip(f"NOT tested: PyPI can't be reached ({done.err.strip().splitlines()[-1]})")
    assert done.code == 0, done.err


def test_pip_brings_all_it_takes_in_an_empty_environment(
    package: Built, python: Path, simulator: Running, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    subprocess.run([python, "-m", "venv", environment], check=True, timeout=120)
    program = Installed(environment / "bin", tmp_path / "home")
    installed(program, [str(environment / "bin/python"), "-m", "pip", "install", "--quiet", str(package.wheel)])
    program.env |= {"OPENAQ_API_KEY": "key", "OPENAQ_BASE_URL": simulator.base_url, "PYTHONWARNINGS": "error"}
    assert program.run("--help").code == 0
    assert program.run("--version").out == f"openaq-pipeline {__version__}\n"
    assert program.run("init").code == 0
    done = program.run("run", "--locations", "3459")
    assert done.code == 0, done.err
    ready = program.run("preflight")
    assert ready.code == 0, ready.out
    assert "packages, all in the versions asked for" in ready.out
    asked = program.run("query", "SELECT count(*) AS rows FROM measurements", "--format", "csv")
    assert asked.code == 0, asked.err
    assert int(asked.out.split()[1]) > 1000


def test_the_chapter_of_the_manual_works_as_it_is_written(package: Built, simulator: Running, tmp_path: Path) -> None:
    source = package.sdist.parent.parent / "source"
    shutil.copytree(ROOT / "deploy", source / "deploy", dirs_exist_ok=True)
    program = Installed(source, tmp_path / "home")
    program.env |= {"OPENAQ_API_KEY": "key", "OPENAQ_BASE_URL": simulator.base_url, "HOME": str(tmp_path / "home")}
    program.folder = source
    for block in blocks("pip"):
        installed(program, ["bash", "-euo", "pipefail", "-c", block])
    folder = tmp_path / "home/openaq"
    (run,) = json.loads((folder / "data/metrics.json").read_text())["runs"]
    assert run["successful_locations"] == len(simulator.world.stations)
    assert (folder / ".env").exists()
