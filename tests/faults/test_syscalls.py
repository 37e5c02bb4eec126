"""Faults at each system call of each path on which something is published (scenarios 2, 3 and 8)."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.faults.conftest import Tally, Times
from tests.faults.stage import Stage
from tests.faults.tracing import CHANGING, Call, needs_strace
from tests.faults.works import WORKS

ALL = 1_000_000
MOST = 400
"""So many refusals of a path are made at most; it is three times that for a move, and another choice each time."""

REFUSALS = ("EIO", "ENOSPC", "EINTR", "EIO+", "ENOSPC+")
"""Passing ones, and those that last from there on."""

REFUSABLE = CHANGING | {
    *("read", "pread64", "close", "flock", "newfstatat", "fstat", "stat", "mmap", "getdents64", "lseek"),
}


@pytest.fixture(params=WORKS.values(), ids=list(WORKS))
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    needs_strace()
    return Stage(request.param, tmp_path)


def test_no_fault_at_any_call_loses_or_doubles_anything(
    stage: Stage, chance: random.Random, times: Times, tally: Tally
) -> None:
    calls = stage.calls()
    changes = [call for call in calls if call.changes]
    killed = some(changes, times(4, ALL), chance)
    for call in killed:
        assert stage.disturb(call, "signal=KILL").code == -signal.SIGKILL
    tally(2, "strace: KILL at each call that changes a file", len(killed))
    refused = some(list(refusals(calls)), times(4, MOST), chance)
    for call, error in refused:
        stage.disturb(call, f"error={error}")
    tally(3, "strace: EIO, ENOSPC, EINTR at each call, once or from there on", len(refused))
    stage.slow_down(2_000)
    tally(8, "strace: each call 2 ms late, read all the while", len(changes))


def refusals(calls: list[Call]) -> Iterator[tuple[Call, str]]:
    """Yield what can be refused, and how."""
    for error in REFUSALS:
        for call in calls:
            if call.name in REFUSABLE and not call.lets_go and not (call.name == "close" and error.endswith("+")):
                yield call, error


T = TypeVar("T")


def some(everything: list[T], most: int, chance: random.Random) -> list[T]:
    """Return so many of them, at random; in their order."""
    if len(everything) <= most:
        return everything
    return [everything[place] for place in sorted(chance.sample(range(len(everything)), most))]
