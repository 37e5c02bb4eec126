"""What the fault tests did, as a table: scenario, method, repetitions, losses. Works under xdist.

`tests/conftest.py` calls this, because a conftest in here is not read by the process that prints the summary.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from _pytest.terminal import TerminalReporter

from tests.faults.catalogue import SCENARIOS

PROPERTY, SEED = "fault", "faults_seed"
Row = tuple[int, str, int, int, str]
"""Number of the scenario, method, repetitions, losses, note."""


def add_options(parser: pytest.Parser) -> None:
    """Register what chooses how much the fault tests do, and with which random moments."""
    group = parser.getgroup("faults", "the fault tests (tests/faults)")
    group.addoption("--long", action="store_true", help="repeat the fault tests thousands of times (make faults-long)")
    group.addoption("--faults-seed", type=int, default=None, help="the seed of all random moments; default: a new one")


def settle_seed(config: pytest.Config) -> None:
    """Choose the seed of this session, where none was given; a worker of xdist has that of its controller."""
    if hasattr(config, "workerinput"):
        config.option.faults_seed = config.workerinput[SEED]
    elif config.option.faults_seed is None:
        config.option.faults_seed = random.SystemRandom().randrange(1_000_000)


def told(row: Row) -> str:
    """Return a row as the table has it."""
    number, method, repetitions, losses, note = row
    name = SCENARIOS[number].fault.replace("|", "\\|")
    return f"| {number} {name} | {method} | {repetitions:,} | {losses}{f' ({note})' if note else ''} |"


def rows(reporter: TerminalReporter) -> list[Row]:
    """Return what the tests of this session recorded, by scenario; equal ones of several tests as one."""
    found: dict[tuple[int, str, str], tuple[int, int]] = {}
    for number, method, repetitions, losses, note in _recorded(reporter):
        before = found.get((number, method, note), (0, 0))
        found[number, method, note] = before[0] + repetitions, before[1] + losses
    return [(number, method, *counts, note) for (number, method, note), counts in sorted(found.items())]


def _recorded(reporter: TerminalReporter) -> Iterator[Row]:
    for category in ("passed", "failed"):
        for report in reporter.getreports(category):
            yield from (row for name, row in report.user_properties if name == PROPERTY)


def summary(reporter: TerminalReporter) -> None:
    """Print the table, if there is anything to tell."""
    found = rows(reporter)
    if not found:
        return
    reporter.section(f"faults made on purpose (--faults-seed {reporter.config.option.faults_seed})")
    reporter.line("| scenario | method | repetitions | losses |")
    reporter.line("| --- | --- | --- | --- |")
    for row in found:
        reporter.line(told(row))
