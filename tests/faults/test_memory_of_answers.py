"""Answers that would fill the memory, against the whole program: it takes no more of it than for good ones."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from openaq_pipeline.simulator.worlds import named
from tests.conftest import Program, Simulate
from tests.faults import manners
from tests.faults.conftest import Tally, Times
from tests.faults.faulty import Manner, faulty
from tests.faults.net import name_of

MOST_BYTES = 130_000_000
"""A run with good answers takes some 50 MB; the largest answer that is taken has 32 MiB, held twice for a moment."""


def peak_bytes(program: Program) -> tuple[int, int]:
    """Do a run; return its exit code and the most memory it took.

    Looked up again and again: what the system says of an ended child may be the memory of who started it.
    """
    most = 0
    with program.start("incremental_loader.py", "--json") as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = re.search(r"VmHWM:\s+(\d+) kB", status)
            most = max(most, int(found[1]) * 1024 if found else 0)
            time.sleep(0.02)
        process.communicate()
    return process.returncode, most


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
