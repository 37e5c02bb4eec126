"""When the next run is due: a function of the schedule, the last run's start and the clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.settings import ScheduleSettings

if TYPE_CHECKING:
    from openaq_pipeline.incremental.cron import Cron

CRON_HINT = 'Give five fields: minute, hour, day of month, month, day of week, such as "0 */2 * * *".'


def next_due(schedule: ScheduleSettings, last: datetime | None, now: datetime) -> datetime | None:
    """Return when the next run is due, at `now` the latest overdue one; None: never again (`once`, and it has run).

    `last` is when the last run began, None if none is known. Raises `ConfigError` for a cron line that never fires.
    """
    if schedule.mode == "once":
        return now if last is None else None
    if schedule.mode == "cron":
        return due_by_cron(last, now, cron_of(schedule).after)
    return due_by_interval(last, now, timedelta(hours=schedule.interval_hours))


def due_by_interval(last: datetime | None, now: datetime, interval: timedelta) -> datetime:
    """Return a time from `now` to `now + interval`: one interval after the last start, at once if that has passed.

    Without a last run it is `now`. A start that lies ahead was written under a clock that was set back since: up to
    an interval it counts as `now`, so that a small correction doubles no run; beyond, it tells nothing.
    """
    if last is None or last > now + interval:
        return now
    return max(now, min(last, now) + interval)


def due_by_cron(last: datetime | None, now: datetime, after: Callable[[datetime], datetime]) -> datetime:
    """Return the first time after the last start; `now` if that was missed, however often, or without a last run."""
    if last is None:
        return now
    return max(now, after(min(last, now)))


def gap_of(schedule: ScheduleSettings, now: datetime) -> timedelta:
    """Return the time between two runs: the interval, or what lies between the next two times of a cron line.

    Zero for `once`.
    """
    if schedule.mode == "once":
        return timedelta(0)
    if schedule.mode == "interval":
        return timedelta(hours=schedule.interval_hours)
    cron = cron_of(schedule)
    following = cron.after(now)
    return cron.after(following) - following


def cron_of(schedule: ScheduleSettings) -> Cron:
    """Return the cron line of a schedule; raises `ConfigError`, with the reason, for one that can't ever fire."""
    from openaq_pipeline.incremental.cron import Cron  # noqa: PLC0415 - a plain run needs no APScheduler

    try:
        return Cron(schedule.cron, schedule.timezone)
    except ValueError as error:
        raise ConfigError(f"The cron line {schedule.cron!r} can't be used: {error}", hint=CRON_HINT) from None
