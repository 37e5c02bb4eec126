"""kill -9, thousands of times: at random moments of the way to disk, of whole runs, of the daemon and its run."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from openaq_pipeline import locks
from openaq_pipeline.errors import LockHeld
from tests.faults import disks, oracle, strikes
from tests.faults.conftest import Tally, Times
from tests.faults.whole import started, whole

REQUESTS_OF_A_RUN = 12
STEP_SECONDS = 0.05
"""After its last request a run stores what it has got, and what it has learnt, in about so long."""


def test_killed_at_any_moment_of_its_way_to_disk_nothing_acknowledged_is_lost_and_the_next_start_goes_on(
    tmp_path: Path, chance: random.Random, times: Times, tally: Tally
) -> None:
    with disks.room(tmp_path) as room:
        done = strikes.Campaign(room / "data", tmp_path / "whole", chance, strikes.kill).run(times(40, 3_000))
    tally(1, "kill -9 of the light program", done.strikes, note=done.told)


def test_whole_runs_killed_at_any_moment_lose_nothing_and_the_next_start_works_at_once(
    tmp_path: Path, chance: random.Random, times: Times, tally: Tally
) -> None:
    rounds, written = times(2, 100), 0
    with whole(tmp_path, locations=3, sensors=3, days=20) as program:
        for _ in range(rounds):
            held = oracle.content(program.data)
            program.hours_pass(chance.choice([0, 1, 5]))
            with program.program.start("incremental_loader.py") as run:
                program.wait_for_requests(run, chance.randint(1, REQUESTS_OF_A_RUN))
                time.sleep(chance.uniform(0, STEP_SECONDS))
                run.kill()
            assert run.returncode in {-9, 0}, "I7: the start that came after a kill was refused"
            if program.data.exists():
                oracle.check(program.data, held=held)
                written += len(oracle.content(program.data)) > len(held)
        program.comes_through(held)
    tally(1, "kill -9 of whole runs", rounds, note=f"{written} of them had stored something")


@pytest.mark.usefixtures("only_long")
def test_daemons_and_their_runs_killed_at_any_moment_lose_nothing_and_the_next_start_goes_on(
    tmp_path: Path, chance: random.Random, tally: Tally
) -> None:
    rounds = 40
    with whole(tmp_path, locations=3, sensors=3, days=20) as program:
        for _ in range(rounds):
            held = oracle.content(program.data)
            program.hours_pass()
            with started(program, seconds=0.5) as daemon:
                time.sleep(chance.uniform(0.3, 1.5))
                victims = [*daemon.runs(), daemon.process.pid]
                chance.shuffle(victims)
                for pid in victims[: chance.choice([1, 2])]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(chance.choice([0, 0.2]))
                alive = daemon.process.poll() is None
                assert not alive or "Traceback" not in daemon.log
            if program.data.exists():
                oracle.check(program.data, held=held)
        program.comes_through(held)
    tally(1, "kill -9 of daemon, run or both", rounds)


def test_the_lock_of_a_killed_holder_is_free_at_once(tmp_path: Path, times: Times, tally: Tally) -> None:
    rounds = times(20, 500)
    (tmp_path / locks.LOCK_FILE).write_text(
        str(os.getpid())
    )  # as a program with a file of its process id would find it
    for _ in range(rounds):
        reader, writer = os.pipe()
        holder = os.fork()
        if holder == 0:
            locks.take_folder(tmp_path)
            os.write(writer, b".")
            signal.pause()
        assert os.read(reader, 1) == b"."
        with pytest.raises(LockHeld):
            locks.take_folder(tmp_path)
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        os.close(locks.take_folder(tmp_path))
        os.close(reader)
        os.close(writer)
    tally(12, "kill -9 of the holder, then a start", rounds)
