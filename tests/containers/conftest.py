"""The images, built once a session, and containers that are gone with their test."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.containers import engine as engines
from tests.containers import standin
from tests.containers.engine import Engine

EVERYTHING = "openaq-pipeline:test"
LOADER = "openaq-pipeline:test-loader"


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one of the tests' processes build, and the others find what it has built."""
    with Path(tempfile.gettempdir(), "openaq-pipeline-images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    """An engine that answers; skips loudly without one, and where containers are not what is tested."""
    if not request.config.getoption("--containers"):
        pytest.skip("NOT tested here but by `make containers`")
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
    """The image with everything, of the code as it is."""
    assert base
    with one_at_a_time():
        return engine.build(EVERYTHING)


@pytest.fixture(scope="session")
def loader_image(engine: Engine, base: str) -> str:
    """The small image, of the code as it is."""
    assert base
    with one_at_a_time():
        return engine.build(LOADER, "--target", "loader")
