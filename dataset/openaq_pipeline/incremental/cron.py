"""A line of five cron fields as a function from a moment to the next one at which it fires."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = 5
ANY_WEEKDAY = "*"
LONGEST_GAP = timedelta(hours=3)
"""Longer than any clock is put forward by for summer: two hours, at Antarctica/Troll."""


class Cron:
    """A cron line in a time zone, as `cron(8)` reads it: 0 and 7 are Sunday, and two restricted days mean either.

    Raises ValueError, with the reason, for a line that can't be read or never fires.
    """

    def __init__(self, line: str, timezone: str) -> None:
        fields = line.lower().split()
        if len(fields) != FIELDS:
            raise ValueError(f"it has {len(fields)} fields instead of {FIELDS}")
        minute, hour, day, month, weekday = fields
        self._zone = zone = ZoneInfo(timezone)
        days = [(day, _weekdays(weekday))]
        if not day.startswith("*") and not weekday.startswith("*"):
            # "0 0 1 * 1" is the first of the month and every Monday; APScheduler would want both at once.
            days = [(day, ANY_WEEKDAY), ("*", _weekdays(weekday))]
        self._triggers = [
            CronTrigger(minute=minute, hour=hour, day=each, month=month, day_of_week=names, timezone=zone)
            for each, names in days
        ]
        try:
            self.after(datetime(2000, 1, 1, tzinfo=UTC))
        except LookupError:
            raise ValueError("it never fires") from None

    def after(self, moment: datetime) -> datetime:
        """Return the first time it fires later than `moment`, in UTC."""
        fires = moment - LONGEST_GAP if self._skipped_hours_before(moment) else moment
        while (fires := self._next(fires)) <= moment:
            pass
        return fires

    def _skipped_hours_before(self, moment: datetime) -> bool:
        """Say whether clocks were put forward just before.

        A time in the hour that they skipped fires after it, but only for who asks from before it.
        """
        before, now = (each.astimezone(self._zone).utcoffset() for each in (moment - LONGEST_GAP, moment))
        return before is not None and now is not None and before < now

    def _next(self, moment: datetime) -> datetime:
        """Return the first time that a trigger gives after `moment`."""
        start = moment.astimezone(UTC) + timedelta(microseconds=1)
        found: list[datetime | None] = [trigger.get_next_fire_time(None, start) for trigger in self._triggers]
        times = [time.astimezone(UTC) for time in found if time is not None]
        if not times:
            raise LookupError("it never fires again")
        return min(times)


def _weekdays(field: str) -> str:
    """Return cron's field of weekdays as names: APScheduler 3 counts from Monday, so that its 0 is not cron's."""
    if field in {"*", "?"}:
        return ANY_WEEKDAY
    days = {day for part in field.split(",") for day in _weekdays_of(part)}
    return ",".join(WEEKDAYS[day] for day in sorted(days))


def _weekdays_of(part: str) -> set[int]:
    """Return the days, Sunday being 0, of one part: `1`, `mon-fri`, `5-7`, `*/2`, `1-5/2`."""
    found = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d?))?", part, re.ASCII)
    if found is None:
        raise ValueError(f"{part!r} is no day of the week")
    first, last, step = found.groups()
    start = _weekday(first) if first else 0
    end = _weekday(last) if last else start if first and not step else 6
    if end < start and last == "sun":
        end = 7
    if end < start:
        raise ValueError(f"{part!r} is upside down")
    return {day % 7 for day in range(start, end + 1, int(step or 1))}


def _weekday(text: str) -> int:
    if text in WEEKDAYS:
        return WEEKDAYS.index(text)
    if re.fullmatch("[0-7]", text, re.ASCII):
        return int(text)
    raise ValueError(f"{text!r} is no day of the week")
