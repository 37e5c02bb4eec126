"""Campaigns against the light entry point: start, strike at a random moment, look, start again, thousands of times.

    python -m tests.faults.strikes kill|cut STRIKES [SEED]        for nights and weekends

A chain is a folder that is struck again and again while its rounds go on: after each strike what lies there is looked
at as it lies, and the next start is the restart of the one that was struck. At its end it comes through once without
a fault, and the whole oracle looks, beside a folder that was never struck.
"""

from __future__ import annotations

import gc
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.faults import disks, light, oracle
from tests.faults.disks import Ext4

STRIKES_PER_CHAIN = 10
ROUNDS_AHEAD = 4
"""So many rounds a start has before it, more than it comes to do."""

MOST_LINES = 5
"""A strike waits for up to so many lines of a start, which are almost two rounds."""

START_SECONDS, STEP_SECONDS = 0.02, 0.006
"""And so long after that at the most: about what it takes to the first line, and from one line to the next."""

PATIENCE_SECONDS = 10.0

MOVING = 5
"""Every fifth chain begins just before rows move to the history: a move is slow, and has more steps to be struck at."""


def _prepare() -> None:
    """Let a child look for no garbage among what it inherited, and say nothing of the disk that was taken from it."""
    gc.freeze()
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - until its end


def unstruck(folder: Path, number: int) -> int:
    """Do a round of the light program in a child process, and return its exit code."""
    with _pipe() as (_, writer):
        _, status = os.waitpid(light.forked(folder, number, number, writer, _prepare), 0)
    return os.waitstatus_to_exitcode(status)


class Struck(NamedTuple):
    """What a campaign did. `amid` is how many strikes left a half-written file behind, `acknowledged` how many rows."""

    strikes: int
    amid: int
    acknowledged: int

    @property
    def told(self) -> str:
        """Return what there was to lose."""
        return f"{self.acknowledged:,} rows acknowledged; {self.amid:,} times a file was half written"


class _Row(msgspec.Struct):
    sensors_id: int
    datetime: datetime


_decode_rows = msgspec.json.Decoder(list[_Row]).decode


def kill(child: int) -> None:
    """End a process at once, and bury it."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def cutting(disk: Ext4) -> Callable[[int], None]:
    """Return what cuts a disk's power under a process, and brings the machine up again without it."""

    def cut(child: int) -> None:
        disk.cut()
        kill(child)
        disk.restart()

    return cut


class Campaign:
    """Chains of strikes in a folder. `whole` is a folder beside it for runs that nothing strikes."""

    def __init__(self, folder: Path, whole: Path, chance: random.Random, strike: Callable[[int], None]) -> None:
        self._folder, self._whole = folder, whole
        self._chance, self._strike = chance, strike
        self._amid = self._acknowledged = 0
        self._wholes: dict[int, oracle.Content] = {}
        # What is loaded here is loaded in every start that is forked off: only the first would be slow.
        light.store(whole / "warm", 0, light.FIRST_MOVE, lambda _: None)

    def run(self, strikes: int) -> Struck:
        """Strike so often; raises `AssertionError` as soon as an invariant does not hold."""
        chains = -(-strikes // STRIKES_PER_CHAIN)
        for number in range(chains):
            self._chain(light.FIRST_MOVE - 2 if number % MOVING == MOVING - 1 else 0)
        return Struck(chains * STRIKES_PER_CHAIN, self._amid, self._acknowledged)

    def _chain(self, begin: int) -> None:
        """Strike one folder again and again, whose first rounds are done already, and let it come through."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if begin:
            shutil.copytree(self._never_struck(begin - 1), self._folder)
        # What this test itself has removed and copied is no business of the fault: no cut brings it back.
        disks.run("sync", "--file-system", str(self._folder.parent))
        acked = _Acknowledged(begin)
        for _ in range(STRIKES_PER_CHAIN):
            self._one(acked)
        last = acked.round
        assert unstruck(self._folder, last) == 0, "I7: the restart did not come through"
        oracle.check(self._folder, held=acked.held(), expected=self._expected(last), restarted=True)
        self._acknowledged += len(acked.held())

    def _one(self, acked: _Acknowledged) -> None:
        """Start, strike, and look at what lies there."""
        with _pipe() as (reader, writer):
            child = light.forked(self._folder, acked.round, acked.round + ROUNDS_AHEAD, writer, _prepare)
            heard = self._wait(reader)
            self._strike(child)
            acked.take(heard + _all_of(reader))
        self._amid += bool(oracle.temporaries(self._folder))
        glance(self._folder, acked.held())

    def _wait(self, reader: int) -> bytes:
        """Wait until a start has told some things, and a random moment more; return what it told.

        By what it tells and not by the clock alone: on a busy machine all strikes would come before the first write.
        """
        wanted, heard = self._chance.randint(0, MOST_LINES), b""
        until = time.monotonic() + PATIENCE_SECONDS
        while heard.count(b"\n") < wanted and time.monotonic() < until:
            if select.select([reader], [], [], PATIENCE_SECONDS)[0]:
                heard += os.read(reader, 65536)
        time.sleep(self._chance.uniform(0, START_SECONDS if not wanted else STEP_SECONDS))
        return heard

    def _expected(self, last: int) -> oracle.Content:
        """Return what a folder holds that was never struck, after its round `last`."""
        if last not in self._wholes:
            self._wholes[last] = oracle.content(self._never_struck(last))
        return self._wholes[last]

    def _never_struck(self, last: int) -> Path:
        folder = self._whole / str(last)
        if not folder.exists():
            assert light.store(folder, 0, last, lambda _: None) == 0
        return folder


class _Acknowledged:
    """What a chain was told so far; `round` is where the next start goes on."""

    def __init__(self, begin: int) -> None:
        self.round = begin
        self._stored = dict.fromkeys(light.LOCATIONS, begin - 1)

    def take(self, lines: bytes) -> None:
        """Hear what was printed; a line that was cut short says nothing."""
        for line in lines.decode().splitlines(keepends=True):
            what, number, *location = line.split()
            if not line.endswith("\n"):
                continue
            if what == "stored":
                self._stored[int(location[0])] = max(int(number), self._stored[int(location[0])])
            elif what == "done":
                self.round = max(int(number) + 1, self.round)

    def held(self) -> set[oracle.Place]:
        """Return the rows that must be there."""
        return {place for key, number in self._stored.items() if number >= 0 for place in _held(key, number)}


@lru_cache(maxsize=512)
def _held(location_id: int, number: int) -> frozenset[oracle.Place]:
    return frozenset(oracle.Place(*place) for place in light.held(location_id, number))


def glance(folder: Path, held: set[oracle.Place]) -> None:
    """Look at a folder after a strike, before the restart: the oracle's I1 to I4, read quickly where that can be.

    With rows in the history the oracle itself looks. Raises `AssertionError`, or `DecodeError` for a torn file.
    """
    if (folder / ".sealed").exists():
        oracle.check(folder, held=held)
        return
    found: oracle.Content = {}
    for path in folder.glob("location_*.json"):
        location_id = int(path.stem.removeprefix("location_"))
        rows = [oracle.Place(location_id, row.sensors_id, row.datetime) for row in _decode_rows(path.read_bytes())]
        order = [(row.datetime, row.sensors_id) for row in rows]
        assert order == sorted(set(order)), f"I4: {path.name} is not sorted and unique"
        found |= {place: {} for place in rows}
    oracle.check_watermarks(folder, found)
    lost = sorted(held - found.keys())
    assert not lost, f"I3: {len(lost)} acknowledged rows are lost, first {lost[0]}"


def _all_of(reader: int) -> bytes:
    """Return what is in a pipe whose writer is gone or silent."""
    os.set_blocking(reader, False)
    try:
        return os.read(reader, 65536)
    except BlockingIOError:
        return b""


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def main(how: str, strikes: int, seed: int) -> None:
    """Strike so often, and print what was done; raises as soon as an invariant does not hold."""
    with tempfile.TemporaryDirectory() as name, disks.room(Path(name)) as room, ExitStack() as stack:
        disk = stack.enter_context(disks.ext4(Path(name))) if how == "cut" else None
        folder, strike = (room, kill) if disk is None else (disk.folder, cutting(disk))
        done = Campaign(folder / "data", room / "whole", random.Random(seed), strike).run(strikes)
    sys.stdout.write(f"{done.strikes:,} x {how}, seed {seed}: nothing lost; {done.told}\n")


if __name__ == "__main__":
    main(
        sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else random.SystemRandom().randrange(10**6)
    )
