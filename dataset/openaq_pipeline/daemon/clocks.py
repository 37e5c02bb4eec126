"""The three clocks of the daemon, and how far each can be trusted."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec


def wall_time() -> datetime:
    """Return the time of day in UTC; it may be set back or forward at any moment."""
    return datetime.now(UTC)


def steady_seconds() -> float:
    """Return seconds since the machine started, sleep included; no setting of the clock touches it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Clocks(msgspec.Struct, frozen=True):
    """`wall`: what people and cron lines mean. `steady`: what intervals mean. `awake`: `steady` without sleep.

    How long a run may take is measured in `awake` seconds: a laptop that slept is no reason to call it hung.
    """

    wall: Callable[[], datetime] = wall_time
    steady: Callable[[], float] = steady_seconds
    awake: Callable[[], float] = time.monotonic
