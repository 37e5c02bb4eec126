"""The program where only some of its packages are, and the program as a package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT, Program
from tests.installation.environments import locked, made


@pytest.fixture(scope="session")
def plain_python(deployments: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a plain installation."""
    del deployments
    return made(tmp_path_factory.mktemp("plain"), locked(ROOT / "deploy/container/loader.lock"))


@pytest.fixture
def plain(tmp_path: Path, plain_python: Path) -> Program:
    """The program in a plain installation."""
    return Program(tmp_path, plain_python)
