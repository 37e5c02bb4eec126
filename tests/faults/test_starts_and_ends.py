"""Several starts at once, of which one works; and being asked to end: each does so in time, with files whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openaq_pipeline import locks
from openaq_pipeline.errors import LockHeld
from openaq_pipeline.simulator.faults import Kind
from tests.alerts.parts import hang, receiver
from tests.daemon.conftest import change, until
from tests.faults import disks, oracle
from tests.faults.conftest import Tally, Times
from tests.faults.whole import Whole, started, whole

STARTERS = 6
LONGEST_END_SECONDS = 10.0
"""Docker kills after so long."""

BEFORE_THE_HANDLER = -signal.SIGTERM
"""The exit code of a program that was asked to end while Python was still loading it."""

TROUBLES: list[tuple[Kind, dict[str, object]]] = [
    ("delay", {"seconds": 0.3}),
    ("delay", {"seconds": 20}),
    ("status", {"status": 429, "reset": 5, "every": 2}),
    ("status", {"status": 503, "every": 2}),
    ("drip", {"seconds": 0.05, "every": 2}),
]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Whole]:
    """Give a program with three locations, not run yet."""
    with whole(tmp_path, locations=3, sensors=2, days=10) as found:
        yield found


# --- several starts at once ---


def test_of_starters_at_the_same_moment_exactly_one_gets_the_folder(tmp_path: Path, times: Times, tally: Tally) -> None:
    rounds = times(20, 300)
    with disks.room(tmp_path) as folder:
        for _ in range(rounds):
            assert _start_together(folder) == sorted(b"H" + b"R" * (STARTERS - 1))
    tally(11, f"{STARTERS} forked starters of one folder", rounds)


def _start_together(folder: Path) -> list[int]:
    """Start them, and return how each fared, by letters: has it (H), was refused (R), anything else (!)."""
    (hears, tells), (gate, opens) = os.pipe(), os.pipe()
    children = [_starter(folder, gate, tells, opens) for _ in range(STARTERS)]
    os.close(gate)
    os.close(opens)
    said = b""
    try:
        while len(said) < STARTERS:
            said += os.read(hears, STARTERS)
    finally:
        os.close(hears)
        os.close(tells)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return sorted(said)


def _starter(folder: Path, gate: int, tells: int, opens: int) -> int:
    """Fork a process that takes the folder when the gate opens, says how that went, and keeps what it has."""
    child = os.fork()
    if child:
        return child
    os.close(opens)
    os.read(gate, 1)
    try:
        locks.make_folder(folder)
        locks.take_folder(folder)
        os.write(tells, b"H")
    except LockHeld:
        os.write(tells, b"R")
    except BaseException:  # noqa: BLE001 - the parent must hear of it
        os.write(tells, b"!")
    while True:
        signal.pause()


@pytest.mark.usefixtures("only_long")
def test_of_programs_started_at_the_same_moment_one_works_and_the_others_touch_no_file(
    program: Whole, tally: Tally
) -> None:
    rounds = 8
    for _ in range(rounds):
        program.hours_pass()
        program.simulator.faults.inject("hang", "/v3/")
        starters = [program.program.start("incremental_loader.py") for _ in range(STARTERS)]
        until(lambda: sum(each.poll() is not None for each in starters) == STARTERS - 1, "all but one have ended", 60)  # noqa: B023
        before = _stamps(program.data)
        late = program.program.load()
        assert late.code == 3, late.err
        assert _stamps(program.data) == before
        program.simulator.faults.clear()
        for each in starters:
            each.communicate(timeout=60)
        assert sorted(each.returncode for each in starters) == [0, *[3] * (STARTERS - 1)]
    program.comes_through()
    tally(11, f"{STARTERS} whole programs at once", rounds)


def _stamps(folder: Path) -> dict[str, int]:
    """Return when each file of a folder was changed last, but for the log that all write to."""
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "pipeline.log"}


# --- asked to end ---


def _trouble(program: Whole, chance: random.Random) -> None:
    """Let OpenAQ be slow, refuse or answer by and by, or be well."""
    program.simulator.faults.clear()
    program.hours_pass(chance.choice([0, 1, 5]))
    if chance.random() < 0.7:
        kind, fields = chance.choice(TROUBLES)
        program.simulator.faults.inject(kind, chance.choice(["/measurements", "/latest", "/v3/"]), **fields)


def _end(
    process: subprocess.Popen[str] | subprocess.Popen[bytes],
    number: signal.Signals,
    said: Callable[[], str] = lambda: "",
) -> int:
    """Ask a process to end, and return its exit code; fails where it takes too long."""
    began = time.monotonic()
    process.send_signal(number)
    try:
        code = process.wait(3 * LONGEST_END_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail(f"signal {number} ends it not: {said()}")
    assert time.monotonic() - began < LONGEST_END_SECONDS, "it took too long to end"
    return code


def test_a_run_asked_to_end_at_any_moment_does_so_in_time_and_loses_nothing(
    program: Whole, chance: random.Random, times: Times, tally: Tally
) -> None:
    rounds = times(2, 100)
    for _ in range(rounds):
        held = oracle.content(program.data)
        _trouble(program, chance)
        with program.program.start("incremental_loader.py") as run:
            if chance.random() < 0.8:  # else it may be loading yet
                program.wait_for_requests(run, chance.randint(1, 8))
            time.sleep(chance.uniform(0, 0.5))
            code = _end(run, chance.choice([signal.SIGTERM, signal.SIGINT]))
            said = run.stderr.read() if run.stderr else ""
        assert code in {0, 1, BEFORE_THE_HANDLER, -signal.SIGINT}, said
        assert "Traceback" not in said or code == -signal.SIGINT, said
        if program.data.exists():
            oracle.check(program.data, held=held)
    program.simulator.faults.clear()
    _come_through(program)
    tally(13, "SIGTERM or SIGINT to a run that fetches, writes or waits", rounds)


@pytest.mark.usefixtures("only_long")
def test_a_daemon_asked_to_end_at_any_moment_does_so_in_time_and_loses_nothing(
    program: Whole, chance: random.Random, tally: Tally
) -> None:
    rounds = 50
    with receiver(hang) as hook:
        webhook = {"enabled": True, "url": hook.url(), "allow_private": True}
        change(program.program, notifications={"enabled": True, "webhook": webhook})
        for _ in range(rounds):
            held = oracle.content(program.data)
            _trouble(program, chance)
            with started(program, seconds=0.5) as daemon:
                time.sleep(chance.uniform(0.3, 2.5))
                code = _end(daemon.process, chance.choice([signal.SIGTERM, signal.SIGINT]), lambda: daemon.log)
            assert code in {0, BEFORE_THE_HANDLER, -signal.SIGINT, 1}, daemon.log
            assert code == 0 or "due" not in daemon.log, daemon.log
            assert "Traceback" not in daemon.log or code, daemon.log
            if program.data.exists():
                oracle.check(program.data, held=held)
        program.simulator.faults.clear()
        change(program.program, notifications={"enabled": False})
        _come_through(program)
    tally(13, "SIGTERM or SIGINT to a daemon that waits, runs or alerts", rounds)


def _come_through(program: Whole) -> None:
    """Run once undisturbed, with a ledger of its own: what OpenAQ refused before has a time it must be waited for."""
    program.program.env["XDG_STATE_HOME"] = str(program.program.folder / "another ledger")
    program.comes_through()


@pytest.mark.usefixtures("only_long")
def test_a_second_signal_or_a_run_that_is_frozen_ends_all_the_same_with_files_whole(
    program: Whole, chance: random.Random, tally: Tally
) -> None:
    rounds = 15
    for number in range(rounds):
        held = oracle.content(program.data)
        program.simulator.faults.clear()
        program.simulator.faults.inject("delay", "/measurements", seconds=20)
        with started(program, seconds=1) as daemon:
            until(lambda: bool(daemon.runs()), "a run")
            time.sleep(chance.uniform(0, 0.5))
            if number % 5 == 4:  # this one takes its time to be given up
                for pid in daemon.runs():
                    os.kill(pid, signal.SIGSTOP)
            else:
                daemon.send(signal.SIGTERM)
                time.sleep(chance.uniform(0, 0.5))
            # It may have ended of the first one already, and be gone but for Python's own end.
            assert _end(daemon.process, signal.SIGTERM) in {0, -signal.SIGTERM}, daemon.log
            assert not daemon.runs()
        if program.data.exists():
            oracle.check(program.data, held=held)
    program.simulator.faults.clear()
    _come_through(program)
    tally(14, "a second SIGTERM, or a run frozen by SIGSTOP", rounds)
