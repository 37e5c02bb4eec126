"""What all tests share: the real data beside the project, a simulator, and the program as a process."""

from __future__ import annotations

import compileall
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import settings

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds.base import World
from tests import nursery, often
from tests.faults import table

# A deadline for each example is a timed assertion: on a busy machine it fails what is right.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parents[1]
DATASET = ROOT / "dataset"
NO_LIMIT = 1_000_000
USUAL = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error"}
"""The environment of the program's interpreter."""
LONGEST_SECONDS = 120
"""What has not ended then never will, such as a daemon that should not have got its folder."""


def pytest_addoption(parser: pytest.Parser) -> None:
    table.add_options(parser)
    parser.addoption("--deployments", action="store_true", help="deploy it for real in each way (make deployments)")


def pytest_configure(config: pytest.Config) -> None:
    table.settle_seed(config)
    often.settle(long=config.option.long)
    if not hasattr(config, "workerinput"):  # the workers of xdist start after this
        # As an installation does: hundreds of starts of the program would compile it anew, which is half of their cost.
        compileall.compile_dir(ROOT / "dataset", quiet=2)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage: thousands of tests and their modules are there to stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of xdist what belongs to the whole session."""
    node.workerinput[table.SEED] = node.config.option.faults_seed


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    table.summary(terminalreporter)


@pytest.fixture(autouse=True)
def _own_request_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test counts its requests in the ledgers of whoever runs it, nor sees their key."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("OPENAQ_API_KEY", raising=False)


class Finished(NamedTuple):
    """A program that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Program:
    """The program as users start it, in a process, with files and key of its own.

    What is started is a script in `dataset/` (`validator.py`) or a command of the console entry (`verify`).
    """

    def __init__(self, folder: Path, python: str | Path = sys.executable) -> None:
        self.folder, self.python = folder, str(python)
        self.data = folder / "data"
        self.config = folder / "config.yaml"
        self.env = {
            **USUAL,
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "OPENAQ_API_KEY": "test-key",
        }

    def configure(self, base_url: str, locations: Sequence[object], **data: object) -> Program:
        """Write a config.yaml for a simulator, with a wide budget."""
        settings = {
            "locations": locations,
            "api": {"base_url": base_url, "requests_per_minute": NO_LIMIT, "requests_per_hour": NO_LIMIT},
            "data": {"directory": "data", **data},
            "web": {"enabled": False, "port": 0},
        }
        self.config.write_text(json.dumps(settings))  # JSON is YAML
        return self

    def start(self, script: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, *self._words(script, arguments)],
            env=self.env | {"PYTHONPATH": str(DATASET)} | env,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def run(self, script: str, *arguments: str, **env: str) -> Finished:
        """Run a script to its end; `start` loads all anew, this but the program itself."""
        given = self.env | env
        if self.python != sys.executable or not nursery.fits(given, USUAL):
            return self.run_anew(script, *arguments, **env)
        home = nursery.nursery(tuple(USUAL.items()))
        done = home.run(self._words(script, arguments), given, self.folder, LONGEST_SECONDS)
        return Finished(done.code, done.out.decode(), done.err.decode())

    def _words(self, script: str, arguments: Sequence[str]) -> list[str]:
        """What follows the name of the interpreter."""
        begun = [str(DATASET / script)] if script.endswith(".py") else ["-m", "openaq_pipeline", script]
        return [*begun, "--config", str(self.config), *arguments]

    def run_anew(self, script: str, *arguments: str, **env: str) -> Finished:
        """Run a script to its end by an interpreter of its own."""
        with self.start(script, *arguments, **env) as process:
            try:
                out, err = process.communicate(timeout=LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()  # else leaving this block waits for it, for ever
                raise
        return Finished(process.returncode, out, err)

    def load(self, *arguments: str, **env: str) -> Finished:
        return self.run("incremental_loader.py", *arguments, **env)

    def rows(self, location_id: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.data / f"location_{location_id}.json").read_text())
        return found


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def programs(tmp_path: Path) -> Callable[[str], Program]:
    """Make several programs, each with a folder of its own."""

    def make(name: str) -> Program:
        (tmp_path / name).mkdir()
        return Program(tmp_path / name)

    return make


Simulate = Callable[..., Running]


@pytest.fixture
def simulate() -> Iterator[Simulate]:
    """Start simulators that end with the test; without `options` the limiter is off."""
    with ExitStack() as stack:

        def start(world: World, options: Options | None = None) -> Running:
            return stack.enter_context(running(world, options=options or Options(requests_per_minute=0)))

        yield start


@pytest.fixture(scope="session")
def deployments(request: pytest.FixtureRequest) -> None:
    """What deploys the program for real takes minutes; it skips loudly where that is not what is tested."""
    if not request.config.getoption("--deployments"):
        pytest.skip("NOT tested here but by `make deployments`")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data; a user's checkout has none, and then the tests that read them skip, and say so."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data are not here: {folder.relative_to(ROOT.parent)} is absent beside the project")
    return folder
