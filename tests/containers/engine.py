"""Docker as the tests use it: one command, and things with names of ours that are gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import ROOT

BUILD_SECONDS = 900
WAIT_SECONDS = 240.0
"""So long is waited for what comes within seconds on a machine that has nothing else to do.

Against what else runs on a machine all containers together count as little as one process.
"""

POLL_SECONDS = 0.1


class Failed(AssertionError):
    """A command of the engine that did not end with 0; it tells what the engine said."""


class Done(NamedTuple):
    """A command of the engine that has ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All it printed."""
        return f"{self.out}{self.err}"


class Engine:
    """An engine that answers."""

    def __init__(self, program: str) -> None:
        self._program = program

    def call(self, *arguments: str, timeout: float = WAIT_SECONDS, stdin: Any = subprocess.DEVNULL) -> Done:
        """Run one of its commands, whatever comes of it."""
        done = subprocess.run(
            [self._program, *arguments],
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            # The builder that each engine has; the newer one is an addition that some lack.
            env={"DOCKER_BUILDKIT": "0", **os.environ},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, timeout: float = WAIT_SECONDS, stdin: Any = subprocess.DEVNULL) -> str:
        """Run one of its commands and return what it prints, without the line's end; raises `Failed`."""
        done = self.call(*arguments, timeout=timeout, stdin=stdin)
        if done.code:
            raise Failed(f"docker {' '.join(arguments)} ended with {done.code}: {done.said[-3000:]}")
        return done.out.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        """Return all that the engine knows of an image, a container or a volume."""
        (found,) = json.loads(self("inspect", name))
        return dict(found)

    def has(self, image: str) -> bool:
        """Say whether an image is there."""
        return self.call("image", "inspect", image).code == 0

    def build(self, tag: str, *options: str, folder: Path = ROOT) -> str:
        """Build an image from the Dockerfile of a folder and return its tag.

        On the machine's own network: a package index that this machine reaches is then reached by the build too.
        """
        self("build", "--network", "host", "--tag", tag, *options, str(folder), timeout=BUILD_SECONDS)
        return tag


def found() -> Engine | None:
    """Return the engine that answers here; None: none does."""
    return next((each for each in clients() if each.call("version", "--format", ".").code == 0), None)


def clients() -> Iterator[Engine]:
    """Yield a client of the engine for each program that is one, in the order of the path."""
    for folder in os.get_exec_path():
        if program := shutil.which("docker", path=folder):
            yield Engine(program)


def until(true: Callable[[], object], what: str, told: Callable[[], str] = str) -> None:
    """Wait until something is so; fail with its name, and what `told` has to say, if it does not come."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise Failed(f"still not after {WAIT_SECONDS:g} s: {what}. {told()}")
        time.sleep(POLL_SECONDS)


class Container:
    """A container by its name."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self.name = engine, name

    def execute(self, *command: str, options: Sequence[str] = ()) -> Done:
        """Run a command in it."""
        return self._engine.call("exec", *options, self.name, *command)

    @property
    def log(self) -> str:
        """All it has said so far."""
        return self._engine.call("logs", self.name).said

    @property
    def state(self) -> dict[str, Any]:
        """What the engine says of it: `Status`, `ExitCode`, `Pid`, `Health` …"""
        return dict(self._engine.inspect(self.name)["State"])

    @property
    def health(self) -> str:
        """What its health check says: starting, healthy or unhealthy."""
        return str(self.state["Health"]["Status"])

    def logs(self, *texts: str) -> None:
        """Wait until all these have been said."""
        until(lambda: all(text in self.log for text in texts), f"{self.name} says {texts}", lambda: self.log[-3000:])

    def becomes(self, health: str) -> None:
        """Wait for a health."""
        until(lambda: self.health == health, f"{self.name} is {health}", lambda: str(self.state))

    def ends(self) -> int:
        """Wait for its end and return its exit code."""
        return int(self._engine("wait", self.name))

    def restart(self) -> None:
        """End it and start it again."""
        self._engine("restart", self.name)

    def stop(self, seconds: int = 30) -> int:
        """Stop it as users do, with so many seconds of grace, and return its exit code."""
        self._engine("stop", "--time", str(seconds), self.name)
        return int(self.state["ExitCode"])
