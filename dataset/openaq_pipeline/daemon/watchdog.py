"""What the watchdog sees: a clock that was set, an alarm that did not ring, a run that hangs. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

JUMP_SECONDS = 5.0
"""A wall clock this far from where it should be was set; less is NTP at its daily work."""


class Limits(msgspec.Struct, frozen=True):
    """How patient the daemon is, in seconds.

    `tick`: the watchdog looks so often. `margin`: an alarm may be so late. `hung`: so long may a run go on without a
    change in the data folder. `grace`: so long may a run take to end in order, before it is killed; together with the
    daemon's own end it stays below the ten seconds that Docker gives.
    """

    tick: float
    margin: float
    hung: float
    grace: float = 8.0


def usual_limits(gap: timedelta) -> Limits:
    """Return the limits for runs that are `gap` apart: a minute where hours lie between them, less for short gaps."""
    seconds = gap.total_seconds()
    return Limits(
        tick=min(60.0, max(0.25, seconds / 4)),
        margin=min(60.0, max(1.0, seconds / 10)),
        hung=min(max(3 * seconds, 2 * 3600.0), 24 * 3600.0),
    )


class Reading(msgspec.Struct, frozen=True):
    """What the wall clock and the steady one (in seconds) showed at one moment."""

    wall: datetime
    steady: float

    def clock_set_by(self, later: Reading) -> timedelta:
        """Return how far the wall clock was set forward until `later`; negative: back, zero: not to speak of."""
        moved = later.wall - self.wall - timedelta(seconds=later.steady - self.steady)
        return moved if abs(moved.total_seconds()) > JUMP_SECONDS else timedelta(0)


class Appointment(msgspec.Struct, frozen=True):
    """The next run: `due` by the wall clock, `due_steady` by the steady one."""

    due: datetime
    due_steady: float

    def is_missed(self, now: Reading, margin_seconds: float) -> bool:
        """Say whether the alarm should have rung."""
        return now.steady > self.due_steady + margin_seconds


def appointment(due: datetime, now: Reading) -> Appointment:
    """Return the appointment for `due`, made at the moment `now`."""
    return Appointment(due, now.steady + (due - now.wall).total_seconds())


class Progress(msgspec.Struct, frozen=True):
    """When (in awake seconds) the data folder was last seen to change, and its mark then."""

    mark: int
    at: float

    def seen(self, mark: int, at: float) -> Progress:
        """Return what is known after another look."""
        return self if mark == self.mark else Progress(mark, at)
