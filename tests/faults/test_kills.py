"""kill -9, thousands of times: at random moments of the way to disk, of whole runs, of the daemon and its run."""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults import disks, strikes
from tests.faults.conftest import Tally, Times


def test_killed_at_any_moment_of_its_way_to_disk_nothing_acknowledged_is_lost_and_the_next_start_goes_on(
    tmp_path: Path, chance: random.Random, times: Times, tally: Tally
) -> None:
    with disks.room(tmp_path) as room:
        done = strikes.Campaign(room / "data", tmp_path / "whole", chance, strikes.kill).run(times(60, 5_000))
    tally(1, "kill -9 of the light program", done.strikes, note=done.told)
