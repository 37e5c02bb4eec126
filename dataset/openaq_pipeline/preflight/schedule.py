"""When the scheduler would run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from openaq_pipeline.incremental.due import gap_of, next_due
from openaq_pipeline.preflight.checks import Finding
from openaq_pipeline.settings import Settings


def schedule(settings: Settings) -> Iterator[Finding]:
    """See whether the schedule ever fires; an impossible cron line raises `ConfigError`."""
    given, now = settings.schedule, datetime.now(UTC)
    gap = gap_of(given, now)
    if given.mode == "once":
        yield Finding("ok", "one run and no more (mode once)")
        return
    following = next_due(given, now, now)
    stamp = f"{following:%Y-%m-%d %H:%M} UTC" if following else "never"
    rhythm = f"every {given.interval_hours:g} h" if given.mode == "interval" else f"cron {given.cron}"
    short = gap < timedelta(minutes=1)
    hint = "OpenAQ's data change hourly: an interval under a minute spends the budget for nothing." if short else ""
    yield Finding("warning" if short else "ok", f"{rhythm}; after a run now the next one would be at {stamp}", hint)
