"""Answers that would fill the memory, against the whole program: it takes no more of it than for good ones."""

from __future__ import annotations

import os

import pytest

from openaq_pipeline.simulator.worlds import named
from tests.conftest import Program, Simulate
from tests.faults import manners
from tests.faults.conftest import Tally, Times
from tests.faults.faulty import Manner, faulty
from tests.faults.net import name_of

MOST_BYTES = 220_000_000
"""A run with good answers takes some 60 MB; the largest answer that is taken has 32 MiB, held twice for a moment."""


def peak_bytes(program: Program) -> tuple[int, int]:
    """Do a run; return its exit code and the most memory it took."""
    process = program.start("incremental_loader.py", "--json")
    assert process.stdout
    assert process.stderr
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    process.stderr.close()
    return process.returncode, used.ru_maxrss * 1024


@pytest.mark.parametrize("manner", manners.LARGE, ids=name_of)
def test_the_memory_of_a_run_is_bounded_whatever_the_size_of_an_answer(
    manner: Manner, program: Program, simulate: Simulate, times: Times, tally: Tally
) -> None:
    if manner not in times(0, 1) * manners.LARGE and manner is not manners.bomb_in_a_bomb:
        pytest.skip("NOT tested here but by `make faults-long`: one of the sizes is enough for every day")
    simulator = simulate(named.bench(locations=1, sensors=1, days=10))
    with faulty(simulator.base_url) as server:
        program.configure(server.base_url, [simulator.world.stations[0].id], initial_days=1)
        server.arm(manner)
        code, most = peak_bytes(program)
        assert code == 1
        assert most < MOST_BYTES, f"{most / 1e6:.0f} MB"
        server.clear()
        assert program.load().code == 0
    tally(19, "the whole program, its peak memory", 1, note=f"{name_of(manner)}: {most / 1e6:.0f} MB at the most")
