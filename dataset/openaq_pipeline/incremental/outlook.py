"""When the next run was or is due, as far as the settings and the last run tell; the scheduler's own reckoning."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from openaq_pipeline.incremental import due
from openaq_pipeline.settings import ScheduleSettings

LOOKED_AT = 50
"""So many times of a cron line are looked at for its longest gap: enough for a week of working hours."""


def next_run(schedule: ScheduleSettings, last_run: datetime | None, now: datetime) -> datetime | None:
    """Return when the next run is due, in the past if it is late; None: nothing is scheduled, or it starts at once.

    Raises `ConfigError` for a cron line that never fires.
    """
    if last_run is None or schedule.mode == "once":
        return None
    return due.next_due(schedule, last_run, min(last_run, now))


def longest_gap(schedule: ScheduleSettings, now: datetime) -> timedelta | None:
    """Return the longest time between two runs; None: nothing is scheduled. Raises `ConfigError` as `next_run`."""
    if schedule.mode == "once":
        return None
    if schedule.mode == "interval":
        return timedelta(hours=schedule.interval_hours)
    after, times = due.cron_of(schedule).after, [now]
    for _ in range(LOOKED_AT):
        times.append(after(times[-1]))
    return max(later - earlier for earlier, later in pairwise(times[1:]))
