"""The manual's chapter on the image, line by line on a real engine. Only names are ours, and a simulator is asked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.containers.engine import Container, Engine
from tests.containers.harbour import KEY, OFTEN, Harbour
from tests.documents import blocks

BLOCKS = blocks("Container image")


class Reader:
    """Somebody who types what stands there. What is called as in the manual may be the user's own: ours is not."""

    def __init__(self, port: Harbour) -> None:
        self.name = f"{port.name}-manual"
        more = f"--network {port.name} --env OPENAQ_BASE_URL={port.base_url} {' '.join(OFTEN)}"
        self._instead = {
            "docker run": f"docker run {more}",
            "--name openaq": f"--name {self.name}",
            "docker exec openaq": f"docker exec {self.name}",
            "openaq-data:": f"{self.name}:",
            "127.0.0.1:8765:": "127.0.0.1::",
            " openaq\n": f" {self.name}\n",
            "openaq-pipeline:loader": f"{self.name}:loader",
            "openaq-pipeline .": f"{self.name} .",
            " openaq-pipeline\n": f" {self.name}\n",
        }

    def types(self, block: str) -> str:
        """Type a block and return what is printed."""
        for there, here in self._instead.items():
            block = block.replace(there, here)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=ROOT,
            env={**os.environ, "DOCKER_BUILDKIT": "0", "OPENAQ_API_KEY": KEY},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def reader(port: Harbour, engine: Engine) -> Iterator[Reader]:
    made = Reader(port)
    yield made
    engine.call("rm", "--force", made.name)
    engine.call("volume", "rm", "--force", made.name)
    engine.call("rmi", "--force", made.name, f"{made.name}:loader")


def test_the_chapter_on_the_image_holds_line_by_line(engine: Engine, loader_image: str, reader: Reader) -> None:
    assert loader_image  # all stages are in the engine's cache then, whatever network a build is on
    start, look, upgrade, small = BLOCKS
    reader.types(start)
    container = Container(engine, reader.name)
    container.becomes("healthy")
    container.logs("The next run is due")
    assert "US Diplomatic Post" in reader.types(look)
    assert container.state["ExitCode"] == 0
    reader.types(upgrade)
    container.becomes("healthy")
    container.logs("The next run is due")
    assert "Run of" not in container.log  # the run of the container before still counts
    assert "usage: openaq-pipeline" in reader.types(small)
