"""Faults at each system call of each path on which something is published (scenarios 2, 3 and 8)."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path
from typing import TypeVar

import pytest

from tests.faults.conftest import Tally, Times
from tests.faults.tracing import BUG, CHANGING, DONE, Call, Ended, calls_of, injected, needs_strace, slowed
from tests.faults.works import WORKS, Work

ALL = 1_000_000
REFUSALS = ("EIO", "ENOSPC", "EINTR")
REFUSABLE = CHANGING | {
    *("read", "pread64", "close", "flock", "newfstatat", "fstat", "stat", "mmap", "getdents64", "lseek"),
}


class Stage:
    """A deed with what there is before it and after it, and its system calls."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.work = work
        self._old, self._scratch = folder / "old", folder / "scratch"
        self._old.mkdir()
        self._scratch.mkdir()
        work.prepare(self._old)
        self.before = work.seen(self._old)
        with self.copied() as copy:
            work.act(copy)  # here, so that what is loaded lazily is loaded
            self.after = work.seen(copy)
        with self.copied() as copy:
            self.calls = calls_of(lambda: work.act(copy), self._scratch)

    def copied(self) -> _Copy:
        """Give a fresh copy of the folder as it is before the deed."""
        return _Copy(self._old, self._scratch / "copy")

    def disturb(self, call: Call, what: str) -> Ended:
        """Do the deed with one call disturbed, judge what is left, and judge it again when it was done anew."""
        with self.copied() as copy:
            ended = injected(lambda: self.work.act(copy), self._scratch, call, what)
            told = f"{self.work.name}: {what} at {call.name} {call.number} ended with {ended.code}: {ended.said}"
            assert ended.code != BUG, told
            try:
                self.work.after_fault(copy, self.before, self.after, done=ended.code == DONE)
                self.work.again(copy)
                self.work.after_restart(copy, self.after)
            except Exception as error:
                raise AssertionError(told) from error
        return ended

    def slow_down(self, microseconds: int) -> None:
        """Do the deed slowly, and read beside it all the time."""
        with self.copied() as copy:
            ended = slowed(
                lambda: self.work.act(copy),
                self._scratch,
                microseconds,
                lambda: self.work.look(copy, self.before, self.after),
            )
            assert ended.code == DONE, ended.said
            self.work.after_restart(copy, self.after)


class _Copy:
    def __init__(self, source: Path, place: Path) -> None:
        self._source, self._place = source, place

    def __enter__(self) -> Path:
        shutil.copytree(self._source, self._place, symlinks=True)
        return self._place

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._place)


@pytest.fixture(params=WORKS.values(), ids=list(WORKS))
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    needs_strace()
    return Stage(request.param, tmp_path)


def test_no_fault_at_any_call_loses_or_doubles_anything(
    stage: Stage, chance: random.Random, times: Times, tally: Tally
) -> None:
    changes = [call for call in stage.calls if call.changes]
    killed = some(changes, times(5, ALL), chance)
    for call in killed:
        assert stage.disturb(call, "signal=KILL").code == -signal.SIGKILL
    tally(2, "strace: KILL at each call that changes a file", len(killed))
    refusals = [(call, error) for error in REFUSALS for call in stage.calls if call.name in REFUSABLE]
    refused = some(refusals, times(5, ALL), chance)
    for call, error in refused:
        stage.disturb(call, f"error={error}")
    tally(3, "strace: EIO, ENOSPC, EINTR at each call", len(refused))
    stage.slow_down(2_000)
    tally(8, "strace: each call 2 ms late, read all the while", len(changes))


T = TypeVar("T")


def some(everything: list[T], most: int, chance: random.Random) -> list[T]:
    """Return so many of them, at random; in their order."""
    if len(everything) <= most:
        return everything
    return [everything[place] for place in sorted(chance.sample(range(len(everything)), most))]
