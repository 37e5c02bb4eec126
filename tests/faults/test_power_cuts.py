"""Power cuts on a real ext4: what was not on the device is gone, and what was acknowledged must have been there."""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults import disks, strikes
from tests.faults.conftest import Tally, Times


def test_whenever_the_power_is_cut_all_that_was_acknowledged_is_there_and_the_next_start_goes_on(
    tmp_path: Path, chance: random.Random, times: Times, tally: Tally
) -> None:
    with disks.ext4(tmp_path) as disk:
        cut = strikes.cutting(disk)
        done = strikes.Campaign(disk.folder / "data", tmp_path / "whole", chance, cut).run(times(40, 3_000))
        disk.unmount()
        disk.check()
    tally(4, "FS_IOC_SHUTDOWN of a loop-mounted ext4", done.strikes, note=done.told)
