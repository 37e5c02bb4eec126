"""Restores that are killed or lose their power at random: nothing is there or everything, and a second try works."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from openaq_pipeline import restored
from openaq_pipeline.locks import make_folder
from tests.backup.archives import content, files, forged, put_back
from tests.faults import disks
from tests.faults.conftest import Tally, Times
from tests.faults.strikes import cutting, kill

MANY = [(f"location_{number}.json", b"[]\n" * number) for number in range(1, 60)]


def forked(body: bytes, folder: Path) -> int:
    """Restore in a child process, and return its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        put_back(body, folder)
        code = 0
    finally:
        os._exit(code)


def strike_at_random(body: bytes, back: Path, chance: random.Random, strike: Callable[[int], None], times: int) -> str:
    """Restore, strike, look, and restore again; return how often nothing and how often all was there after it."""
    nothing = everything = 0
    began = time.monotonic()
    put_back(body, back.with_name("rehearsal"))
    took = time.monotonic() - began
    for number in range(times):
        place = back / str(number)
        child = forked(body, place)
        time.sleep(chance.uniform(0, 1.5 * took))
        strike(child)
        if place.exists():
            make_folder(place)
        there = files(place) if place.exists() else {}
        there = {name: found for name, found in there.items() if not name.startswith(f"{restored.STAGING}/")}
        assert there in ({}, content(body)), "half a restore"
        nothing, everything = nothing + (not there), everything + bool(there)
        if not there:
            put_back(body, place)
        assert files(place) == content(body)
        shutil.rmtree(place)
    return f"{nothing} times nothing was there, {everything} times everything"


def test_killed_at_any_moment_it_has_brought_nothing_or_everything(
    tmp_path: Path, chance: random.Random, times: Times, tally: Tally
) -> None:
    repetitions = times(15, 500)
    (tmp_path / "back").mkdir()
    told = strike_at_random(forged(MANY), tmp_path / "back", chance, kill, repetitions)
    tally(1, "kill -9 of a restore", repetitions, note=told)


def test_without_power_at_any_moment_it_has_brought_nothing_or_everything(
    tmp_path: Path, chance: random.Random, times: Times, tally: Tally
) -> None:
    repetitions = times(4, 200)
    with disks.ext4(tmp_path) as disk:
        (disk.folder / "back").mkdir()
        disks.run("sync", "--file-system", str(disk.folder))
        body = forged(MANY)
        told = strike_at_random(body, disk.folder / "back", chance, cutting(disk), repetitions)
    tally(4, "ext4 without its power during a restore", repetitions, note=told)
