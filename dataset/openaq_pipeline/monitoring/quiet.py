"""Hours in which only what is critical is told. Pure.

They begin and end by the clock on the wall, each day anew, and are kept as moments: from the first time that the wall
clock shows `start` until the first time after it that it shows `end`. So a day on which clocks are set has quiet hours
too, an hour longer or shorter; a time that such a day skips counts as so much later, one that it has twice counts once.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

DAY = timedelta(days=1)


class QuietHours(msgspec.Struct, frozen=True):
    """From `start` to `end` by the clocks of `zone`; an `end` that is not later is of the next day."""

    start: time
    end: time
    zone: str

    def until(self, now: datetime) -> datetime | None:
        """Return when the quiet hours that hold at `now` are over, in UTC; None: none do."""
        today = now.astimezone(ZoneInfo(self.zone)).date()
        for day in (today - DAY, today):
            begin, end = self._of(day)
            if begin <= now < end:
                return end
        return None

    def _of(self, day: date) -> tuple[datetime, datetime]:
        """Return the quiet hours that begin on a day, as moments."""
        return self._moment(day, self.start), self._moment(day if self.start < self.end else day + DAY, self.end)

    def _moment(self, day: date, clock: time) -> datetime:
        return datetime.combine(day, clock, ZoneInfo(self.zone)).astimezone(UTC)
