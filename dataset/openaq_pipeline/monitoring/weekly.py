"""When the look back at a week is told. Pure.

A week has one moment for it, by the clocks of a zone. It is told once that moment has passed, once for each week of the
calendar: the weeks that were told are remembered by their names, so that neither a restart nor a clock that jumps
tells one twice. What was missed for longer is not made up: only the last moment counts. Of the first week nothing is
told, because it began before anything was there to tell.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

WEEK = timedelta(days=7)
REMEMBERED = 60
"""So many weeks that were told stay in the book."""


class Weekly(msgspec.Struct, frozen=True):
    """Each `weekday` (0: Monday) at the full `hour`, by the clocks of `zone`."""

    weekday: int
    hour: int
    zone: str

    def last(self, now: datetime) -> datetime:
        """Return the last moment that has come at `now`, in UTC."""
        slot = self._in_week_of(now)
        return slot if slot <= now else self._in_week_of(now, -1)

    def next(self, now: datetime) -> datetime:
        """Return the next moment after `now`, in UTC."""
        slot = self._in_week_of(now)
        return slot if slot > now else self._in_week_of(now, 1)

    def due(self, told: tuple[str, ...], now: datetime) -> str | None:
        """Return the name of the week that is to be told now, None: of the last one it was."""
        week = self.name(now)
        return None if week in told else week

    def name(self, now: datetime) -> str:
        """Return the name of the week that the last moment was in, such as `2026-W48`."""
        year, week, _ = self.last(now).astimezone(ZoneInfo(self.zone)).isocalendar()
        return f"{year}-W{week:02}"

    def _in_week_of(self, now: datetime, weeks: int = 0) -> datetime:
        today = now.astimezone(ZoneInfo(self.zone)).date()
        day = today + timedelta(days=self.weekday - today.weekday()) + weeks * WEEK
        return datetime.combine(day, time(self.hour), ZoneInfo(self.zone)).astimezone(UTC)
