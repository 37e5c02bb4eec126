"""What the watchdog sees: a clock that was set, an alarm that did not ring, a run that hangs. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

JUMP_SECONDS = 5.0
"""A wall clock this far from where it should be was set; less is NTP at its daily work."""


class Limits(msgspec.Struct, frozen=True):
    """How patient the daemon is, in seconds.

    `tick`: the watchdog looks so often. `margin`: an alarm may be so late. `hung`: so long may a run be silent.
    `grace`: so long may a run take to end in order, before it is killed; together with the
    daemon's own end it stays below the ten seconds that Docker gives.
    """

    tick: float
    margin: float
    hung: float
    grace: float = 8.0


STEP_SECONDS = 120.0
"""So long may a healthy run be silent besides the answer it waits for: a location's lock, a step of PostgreSQL, a disk
that takes half a minute to write."""

LONGEST_SILENCE_SECONDS = 900.0


def usual_limits(gap: timedelta, answer_seconds: float) -> Limits:
    """Return the limits for runs that are `gap` apart (zero: one run), and answers that may take `answer_seconds`.

    A run that hangs is noticed before the next one would be due, the watchdog's tick included, and within a quarter of
    an hour; but not before a healthy run would have given a sign of life, be the gap ever so short.
    """
    seconds = gap.total_seconds()
    patience = min(0.75 * seconds, LONGEST_SILENCE_SECONDS) if seconds else LONGEST_SILENCE_SECONDS
    return Limits(
        tick=min(60.0, max(0.25, seconds / 8)),
        margin=min(60.0, max(1.0, seconds / 10)),
        hung=max(patience, STEP_SECONDS + answer_seconds),
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


class Silence(msgspec.Struct, frozen=True):
    """How long nothing has been heard of a run when it was last listened for, both in awake seconds."""

    seconds: float
    at: float

    def after(self, at: float, *, heard: bool, most: float) -> Silence:
        """Return how it is after another look, which adds `most` seconds at the most.

        Whoever looks so much later was stopped himself, and so, perhaps, was the run: a paused container is no hang.
        """
        return Silence(0.0 if heard else self.seconds + min(at - self.at, most), at)
