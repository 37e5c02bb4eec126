"""The image of an earlier day, and the present one on its volume."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.containers.conftest import EVERYTHING
from tests.containers.engine import Engine
from tests.containers.harbour import OFTEN, Harbour, lasting
from tests.faults import oracle

EARLIER = "97a66c1"
"""A commit before the lists of latest rows, the audit, and the status page."""


@pytest.fixture
def earlier(engine: Engine, base: str, tmp_path: Path) -> Iterator[str]:
    """An image of the program as it was; skips, and says so, in a clone that does not go back so far."""
    assert base
    archive = subprocess.run(
        ["git", "archive", EARLIER, "dataset", "config.yaml"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"NOT tested: this clone does not have commit {EARLIER}")
    folder = tmp_path / "context"
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    for name in ("Dockerfile", ".dockerignore", "LICENSE", "requirements.lock"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    shutil.copytree(
        ROOT / "deploy/container", folder / "deploy/container", ignore=shutil.ignore_patterns("__pycache__")
    )
    for path in (folder / "config.yaml", *(folder / "dataset").rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)  # as under umask 077: the image's user reads it all the same
    tag = f"{EVERYTHING}-earlier"
    yield engine.build(tag, "--build-arg", "VERSION=0.0.9", folder=folder)
    engine.call("rmi", "--force", tag)


def test_the_present_image_takes_over_the_data_of_an_earlier_one(
    port: Harbour, earlier: str, expected: oracle.Content, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    volume, wide = port.volume(), port.wide(tmp_path / "config")
    old = port.start(volume=volume, image=earlier, options=OFTEN)
    old.becomes("healthy")
    old.logs("The next run is due")
    held = oracle.check(port.copied(old, tmp_path / "old"), restarted=True)
    assert old.stop() == 0
    new = port.start(volume=volume, options=[*wide, *OFTEN])
    new.becomes("healthy")
    verified = new.execute("openaq-pipeline", "verify")
    assert verified.code == 0, verified.said
    assert new.stop() == 0
    loaded = port.run(["python", "dataset/incremental_loader.py"], volume=volume, options=wide)
    assert loaded.code == 0, loaded.said
    there = oracle.check(port.copied(new, tmp_path / "new"), held=held, restarted=True)
    assert lasting(there).keys() == expected.keys()
