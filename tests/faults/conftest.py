"""What the fault tests share: how often to repeat, the seed of random moments, and telling what was done."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

import pytest

from tests.faults.catalogue import SCENARIOS
from tests.faults.table import PROPERTY


class Tally(Protocol):
    """Records what a test did."""

    def __call__(self, number: int, method: str, repetitions: int, losses: int = 0, note: str = "") -> None:
        """Record so many repetitions of a scenario by a method, and how often something was lost."""


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    def record(number: int, method: str, repetitions: int, losses: int = 0, note: str = "") -> None:
        assert number in SCENARIOS, f"no scenario {number}"
        record_property(PROPERTY, (number, method, repetitions, losses, note))
        assert not losses, f"{losses} of {repetitions} repetitions lost something: {note}"

    return record


Times = Callable[[int, int], int]


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Times:
    """Choose between how often `make test` repeats and how often `make faults-long` does."""
    long = bool(request.config.option.long)
    return lambda quick, often: often if long else quick


@pytest.fixture
def only_long(request: pytest.FixtureRequest) -> None:
    """Leave a test to `make faults-long`: it starts the whole program many times, and other tests have its like."""
    if not request.config.option.long:
        pytest.skip("only with --long (make faults-long)")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of this session; it is printed where a test that asks for it fails."""
    found: int = request.config.option.faults_seed
    request.node.add_report_section("setup", "seed", f"again with --faults-seed {found}")
    return found


@pytest.fixture
def chance(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """Return the source of a test's random moments: the same for the same seed, another for each test."""
    return random.Random(f"{seed} {request.node.name}")
