"""Too little memory: a cgroup whose processes the kernel kills when they want more, and a limit of addresses."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")
REMOVE_SECONDS = 5.0


class Cage:
    """A cgroup. A process that joins it stays in it with all its children."""

    def __init__(self, path: Path, limit: str, killed: tuple[str, str]) -> None:
        self.path = path
        self._limit = limit
        self._killed = killed

    def confine(self, memory: int) -> None:
        """Let the processes in it have so many bytes together, the pages of files they read included.

        Raises `OSError` if they have more already.
        """
        (self.path / self._limit).write_text(str(memory))
        with suppress(OSError):  # without swap there is no such file
            (self.path / "memory.swap.max").write_text("0")

    def join(self) -> None:
        """Put the calling process into it."""
        self.take(os.getpid())

    def take(self, pid: int) -> None:
        """Put a process into it."""
        (self.path / "cgroup.procs").write_text(str(pid))

    @property
    def kills(self) -> int:
        """Return how many processes the kernel has killed in it for want of memory."""
        name, field = self._killed
        counts = dict(line.split() for line in (self.path / name).read_text().splitlines())
        return int(counts[field])


@contextmanager
def cage(name: str) -> Iterator[Cage]:
    """Give a new memory cgroup, of version 1 or 2; skip where there can be none."""
    found = _new(f"{name}-{os.getpid()}")
    try:
        yield found
    finally:
        _remove(found.path)


def _new(name: str) -> Cage:
    if os.geteuid() != 0:
        pytest.skip("NOT tested: to make a cgroup takes root")
    first, second = ROOT / "memory" / name, ROOT / name
    try:
        if first.parent.is_dir():
            first.mkdir()
            return Cage(first, "memory.limit_in_bytes", ("memory.oom_control", "oom_kill"))
        with suppress(OSError):
            (ROOT / "cgroup.subtree_control").write_text("+memory")
        second.mkdir()
        if (second / "memory.max").exists():
            return Cage(second, "memory.max", ("memory.events", "oom_kill"))
        second.rmdir()
    except OSError as error:
        pytest.skip(f"NOT tested: no memory cgroup can be made here: {error}")
    pytest.skip("NOT tested: there is no memory cgroup here")


def _remove(path: Path) -> None:
    """Remove a cgroup as soon as its last process is gone."""
    until = time.monotonic() + REMOVE_SECONDS
    while True:
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return
