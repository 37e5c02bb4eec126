"""Full disks: at every amount of room that is left, for a run and for the daemon; and then there is room again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.alerts.parts import Receiver, receiver, status
from tests.daemon.conftest import change, until
from tests.faults import disks, light, oracle, strikes
from tests.faults.conftest import Tally, Times
from tests.faults.whole import started, whole

MOST_FREE = 160 * 1024
"""With so much room the round of the light program that moves rows to the history comes through."""

MOST_NAMES = 24


class Filling:
    """A folder whose disk is full when a round begins and free when it is done again, from the same beginning on."""

    def __init__(self, disk: Path, beginning: Path) -> None:
        self._data, self._beginning = disk / "data", beginning
        self.ballast = disks.Ballast(disk)
        self.failed = 0
        assert light.store(beginning, 0, light.FIRST_MOVE - 1, lambda _: None) == 0
        self._held = oracle.content(beginning)
        shutil.copytree(beginning, self._data)
        # Once here, so that whatever a move needs is loaded in every child.
        assert light.store(self._data, light.FIRST_MOVE, light.FIRST_MOVE, lambda _: None) == 0

    def strike(self, fill: Callable[[], None]) -> None:
        """Fill the disk, do the round, look, make room, do it again, and look again."""
        shutil.rmtree(self._data, ignore_errors=True)
        shutil.copytree(self._beginning, self._data)
        fill()
        code = strikes.unstruck(self._data, light.FIRST_MOVE)
        assert code in {0, light.FAILED}
        self.failed += bool(code)
        oracle.check(self._data, held=self._held)
        self.ballast.drop()
        assert strikes.unstruck(self._data, light.FIRST_MOVE) == 0, "I7: with room again it does not go on"
        shown = {oracle.Place(*place) for key in light.LOCATIONS for place in light.held(key, light.FIRST_MOVE)}
        assert oracle.check(self._data, held=shown, restarted=True).keys() == shown


def test_however_little_room_is_left_nothing_is_damaged_or_lost_and_with_room_it_goes_on(
    tmp_path: Path, times: Times, tally: Tally
) -> None:
    with disks.tmpfs(tmp_path / "disk", "size=8m") as disk:
        filling = Filling(disk, tmp_path / "beginning")
        levels = range(0, MOST_FREE, times(32, 4) * 1024)
        for free in levels:
            filling.strike(partial(filling.ballast.leave, free))
    assert 1 < filling.failed < len(levels), "the levels do not go from too little room to enough"
    tally(7, "tmpfs with 0, 4, 8 ... kB left, light program", len(levels))


@pytest.mark.usefixtures("only_long")
def test_however_few_names_are_left_nothing_is_damaged_or_lost_and_with_more_it_goes_on(
    tmp_path: Path, tally: Tally
) -> None:
    with disks.tmpfs(tmp_path / "disk", "size=8m,nr_inodes=200") as disk:
        filling = Filling(disk, tmp_path / "beginning")
        levels = range(0, MOST_NAMES, 1)
        for free in levels:
            filling.strike(partial(filling.ballast.leave_names, free))
    assert 1 < filling.failed < len(levels), "the levels do not go from too few names to enough"
    tally(7, "tmpfs with 0, 1, 2 ... inodes left, light program", len(levels))


def told(hook: Receiver) -> list[tuple[str, str]]:
    return [(one.json["kind"], one.json["key"]) for one in hook.received]


def test_a_daemon_tells_of_a_full_disk_and_goes_on_without_a_restart_when_there_is_room_again(
    tmp_path: Path, tally: Tally
) -> None:
    fill_under_a_daemon(tmp_path, with_ledger=True)
    tally(7, "tmpfs with data and ledger filled and freed under the daemon", 1)


@pytest.mark.usefixtures("only_long")
def test_a_daemon_whose_ledger_is_elsewhere_tells_of_it_and_goes_on_too(tmp_path: Path, tally: Tally) -> None:
    fill_under_a_daemon(tmp_path, with_ledger=False)
    tally(7, "tmpfs with the data alone filled and freed under the daemon", 1)


def fill_under_a_daemon(tmp_path: Path, *, with_ledger: bool) -> None:
    """Fill the disk of a daemon until somebody is told, make room, and let it go on."""
    with (
        disks.tmpfs(tmp_path / "disk", "size=4m") as disk,
        receiver(status(200)) as hook,
        whole(tmp_path) as program,
    ):
        program.move_to(disk)
        if with_ledger:
            program.program.env["XDG_STATE_HOME"] = str(disk / "state")
        webhook = {"enabled": True, "url": hook.url(), "allow_private": True}
        change(program.program, notifications={"enabled": True, "webhook": webhook})
        ballast = disks.Ballast(disk)
        with started(program, seconds=1) as daemon:
            daemon.logs("Run of 2 locations complete")
            held = oracle.content(program.data)
            ballast.leave(0)
            program.hours_pass()
            until(lambda: ("begun", "cannot_work") in told(hook), f"somebody is told: {daemon.log}")
            until(lambda: daemon.log.count("exit code 1") >= 3, f"the runs go on to fail: {daemon.log}")
            oracle.check(program.data, held=held)
            ballast.drop()
            until(lambda: len(oracle.content(program.data)) == len(held) + 4, "the new rows are there")
            until(lambda: ("recovered", "cannot_work") in told(hook), f"its end is told too: {daemon.log}")
            assert daemon.stop() == 0
        assert told(hook).count(("begun", "cannot_work")) == 1, "told once, however many runs there were"
        assert "Traceback" not in daemon.log
        program.comes_through(held)
