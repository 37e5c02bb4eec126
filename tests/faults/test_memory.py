"""Too little memory: the kernel kills the run, or the system refuses it more; and then there is enough."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest

from tests.daemon.conftest import until
from tests.faults import cgroup, oracle
from tests.faults.conftest import Tally, Times
from tests.faults.whole import started, whole

MEGABYTE = 1 << 20
TOO_LITTLE, ENOUGH = 18, 60
"""Megabytes with which a run does not even start, and with which it comes through."""

ROOM_FOR_HALF_A_RUN = 16


def test_killed_by_the_kernel_for_want_of_memory_a_run_loses_nothing_and_with_more_it_comes_through(
    tmp_path: Path, times: Times, tally: Tally
) -> None:
    limits = range(TOO_LITTLE, ENOUGH, times(40, 2))
    with cgroup.cage("faults-run") as cage, whole(tmp_path, locations=3, sensors=3, days=20) as program:
        for megabytes in limits:
            held = oracle.content(program.data)
            program.hours_pass(2)
            cage.confine(megabytes * MEGABYTE)
            code = program.started_with(cage.join)
            assert code in {0, -9}, f"exit code {code} with {megabytes} MB"
            if program.data.exists():
                oracle.check(program.data, held=held)
        killed = cage.kills
        program.comes_through(held)
    assert 0 < killed < len(limits), "the limits do not go from too little to enough"
    tally(24, f"memory cgroup of {TOO_LITTLE} to {ENOUGH} MB around a run", len(limits), note=f"{killed} killed")


@pytest.mark.usefixtures("only_long")
def test_a_daemon_whose_runs_are_killed_for_want_of_memory_goes_on_by_itself_when_there_is_more(
    tmp_path: Path, tally: Tally
) -> None:
    with cgroup.cage("faults-daemon") as cage, whole(tmp_path, locations=3, sensors=3, days=20) as program:
        program.program.configure(program.simulator.base_url, program.ids, initial_days=30)
        with started(program, seconds=1) as daemon:
            cage.take(daemon.process.pid)
            daemon.logs("Run of 3 locations complete")
            held = oracle.content(program.data)
            until(lambda: confined(cage, own_bytes(daemon.process.pid) + ROOM_FOR_HALF_A_RUN * MEGABYTE), "confined")
            program.hours_pass()
            before = daemon.log.count("complete")
            until(lambda: daemon.log.count("The run was ended by signal 9") >= 2, f"killed runs: {daemon.log}")
            oracle.check(program.data, held=held)
            assert daemon.process.poll() is None, "the daemon was killed in the place of its run"
            cage.confine(512 * MEGABYTE)
            until(lambda: daemon.log.count("complete") > before + 1, f"it goes on: {daemon.log}")
            assert daemon.stop() == 0
            killed = cage.kills
        program.comes_through(held)
    tally(24, "memory cgroup around the daemon and its runs", killed)


def confined(cage: cgroup.Cage, memory: int) -> bool:
    """Confine a cage as soon as no run in it holds more than that."""
    try:
        cage.confine(memory)
    except OSError:
        return False
    return True


def own_bytes(pid: int) -> int:
    """Return how much memory a process has for itself alone."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.usefixtures("only_long")
@pytest.mark.parametrize("limit", [resource.RLIMIT_AS, resource.RLIMIT_FSIZE], ids=["addresses", "file size"])
def test_what_ulimit_refuses_costs_a_run_and_no_row(tmp_path: Path, limit: int, tally: Tally) -> None:
    sizes = {
        resource.RLIMIT_AS: [megabytes * MEGABYTE for megabytes in range(40, 120, 4)],
        resource.RLIMIT_FSIZE: [kilobytes * 1024 for kilobytes in range(0, 160, 8)],
    }[limit]
    with whole(tmp_path) as program:
        for size in sizes:
            held = oracle.content(program.data)
            program.hours_pass()
            code = program.started_with(lambda size=size: resource.setrlimit(limit, (size, size)))  # type: ignore[misc]
            assert code in {0, 1, 2, 4, 127}, code
            if program.data.exists():
                oracle.check(program.data, held=held)
        program.comes_through(held)
    tally(24, f"ulimit of {'addresses' if limit == resource.RLIMIT_AS else 'file size'} around a run", len(sizes))
