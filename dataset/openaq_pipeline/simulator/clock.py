"""The simulator's time: real by default, or started anywhere, frozen, set, moved on, or run faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

SECOND_US = 1_000_000


class Clock:
    """A clock that everything in the simulator reads; times are aware UTC.

    `start` is the time it shows now (None: real time); `speed` is virtual seconds per real second, 0 for a
    frozen clock.
    """

    def __init__(
        self,
        start: datetime | None = None,
        *,
        speed: float = 1.0,
        real: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._real = real
        self._monotonic = monotonic
        self._follows_real = start is None and speed == 1.0
        self.speed = speed
        self._base_us = int(real() * SECOND_US) if start is None else to_us(start)
        self._since = monotonic()

    def now_us(self) -> int:
        """Return microseconds since 1970-01-01 UTC."""
        if self._follows_real:
            return int(self._real() * SECOND_US)
        return self._base_us + int((self._monotonic() - self._since) * self.speed * SECOND_US)

    def now(self) -> datetime:
        """Return the time it shows."""
        return from_us(self.now_us())

    def set(self, instant: datetime) -> None:
        """Show `instant` from now on, running at the same speed."""
        self._leave_real(to_us(instant))

    def advance(self, seconds: float) -> None:
        """Move by `seconds` (negative: back)."""
        self._leave_real(self.now_us() + int(seconds * SECOND_US))

    def freeze(self) -> None:
        """Stand still until set, advanced or run again."""
        self.run(speed=0.0)

    def run(self, *, speed: float = 1.0) -> None:
        """Go on from the time it shows, at `speed` virtual seconds per real second."""
        self._leave_real(self.now_us())
        self.speed = speed

    def _leave_real(self, base_us: int) -> None:
        self._follows_real = False
        self._base_us = base_us
        self._since = self._monotonic()


def to_us(instant: datetime) -> int:
    """Return an aware time as microseconds since 1970-01-01 UTC, exactly."""
    delta = instant.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86400 + delta.seconds) * SECOND_US + delta.microseconds


def from_us(moment_us: int) -> datetime:
    """Return microseconds since 1970-01-01 UTC as an aware time."""
    seconds, rest = divmod(moment_us, SECOND_US)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
