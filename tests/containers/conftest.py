"""The images, built once a session, and containers that are gone with their test."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from tests.containers import engine as engines
from tests.containers import standin
from tests.containers.engine import Container, Engine
from tests.containers.harbour import OFTEN, Harbour, harbour, lasting
from tests.faults import oracle

EVERYTHING = "openaq-pipeline:test"
LOADER = "openaq-pipeline:test-loader"


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print what the images weigh."""
    reports = (report for reports in terminalreporter.stats.values() for report in reports)
    said = {value for each in reports for name, value in getattr(each, "user_properties", ()) if name == "image"}
    for line in sorted(said):
        terminalreporter.write_line(line)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one of the tests' processes build, and the others find what it has built."""
    with Path(tempfile.gettempdir(), "openaq-pipeline-images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def engine(deployments: None) -> Engine:
    """An engine that answers; skips loudly without one."""
    del deployments
    found = engines.found()
    if found is None:
        pytest.skip("NOT tested: no Docker answers here (docker version)")
    return found


@pytest.fixture(scope="session")
def base(engine: Engine) -> str:
    """The image that ours are built on."""
    with one_at_a_time():
        return standin.base(engine)


@pytest.fixture(scope="session")
def image(engine: Engine, base: str) -> str:
    """The image with everything, of the code as it is: its id, which no other session's build takes away."""
    assert base
    with one_at_a_time():
        return str(engine.inspect(engine.build(EVERYTHING))["Id"])


@pytest.fixture(scope="session")
def loader_image(engine: Engine, base: str) -> str:
    """The id of the small image, of the code as it is."""
    assert base
    with one_at_a_time():
        return str(engine.inspect(engine.build(LOADER, "--target", "loader"))["Id"])


@pytest.fixture(scope="session")
def port(engine: Engine, image: str) -> Iterator[Harbour]:
    """A harbour with a simulator, for the whole session."""
    with harbour(engine, image) as made:
        yield made


@pytest.fixture(scope="session")
def settled(port: Harbour) -> Container:
    """A container that has had its first run, and waits for the next; tests leave it as it is."""
    container = port.start(volume=port.volume(), options=[*OFTEN, "--publish", "127.0.0.1::8765"])
    container.becomes("healthy")
    container.logs("The next run is due")
    return container


@pytest.fixture(scope="session")
def expected(port: Harbour, settled: Container, tmp_path_factory: pytest.TempPathFactory) -> oracle.Content:
    """The rows of a folder to which nothing has happened, as `lasting` has them."""
    folder = port.copied(settled, tmp_path_factory.mktemp("settled") / "data")
    return lasting(oracle.check(folder, restarted=True))
