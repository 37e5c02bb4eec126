"""How it is: the health of each location and of the whole, from what is on disk. Pure.

The last report of a location says whether reading it works, its watermarks how fresh its data are, and the last good
run whether anything happens at all. A clock that was set back makes stamps lie ahead: no age is below zero, and a
run that lies further ahead than a late one may lie behind is no evidence that runs go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Literal

from openaq_pipeline.model import Location, LocationState
from openaq_pipeline.monitoring.metrics import LocationMetrics, RunMetrics
from openaq_pipeline.reports import Health, LocationHealth, LocationStatus, ParkedSensor
from openaq_pipeline.settings import AlertSettings

GRACE = timedelta(minutes=15)
"""So much longer than two intervals may the last good run be ago: a run takes its time, and one may have failed."""

WORDS: tuple[tuple[LocationStatus, str], ...] = (
    ("failing", "failing"),
    ("silent", "silent"),
    ("unknown", "never read"),
)


def health(  # noqa: PLR0917 - the order is that of the data's way; what has no default is named
    states: Mapping[int, LocationState],
    locations: Mapping[int, Location],
    selected: Sequence[int],
    runs: Sequence[RunMetrics],
    alerts: AlertSettings,
    now: datetime,
    *,
    next_run: datetime | None,
    interval: timedelta | None,
) -> Health:
    """Return how the selected locations and the whole are at `now`.

    `runs` are the runs on file, oldest first. `next_run` is when the next one is due, None: nothing is scheduled.
    `interval` is the longest time between two runs, None: unknown, and `stale_after_hours` stands for it.
    """
    stale_after = timedelta(hours=alerts.stale_after_hours)
    reports = _last_reports(runs)
    each = tuple(
        _location(
            key,
            states.get(key, LocationState()),
            locations.get(key),
            reports.get(key),
            stale_after=stale_after,
            now=now,
        )
        for key in selected
    )
    good = list(good_runs(runs, states))
    late = not is_recent(good, now, late_after(interval, alerts))
    status = _status(each, runs, late=late)
    last_run = runs[-1].started if runs else max(_fetches(states), default=None)
    said = [_late_words(good, now)] if late else []
    sentence = "; ".join(filter(None, [*said, _words(each), _next_words(next_run, now)]))
    return Health(status, sentence[:1].upper() + sentence[1:], each, last_run, next_run)


def good_runs(runs: Sequence[RunMetrics], states: Mapping[int, LocationState]) -> Iterator[datetime]:
    """Yield when something was read with success: runs that did not fail, and locations read to the end.

    The latter count while the first long run goes on, and when `metrics.json` was lost.
    """
    yield from (run.started for run in runs if run.successful_locations)
    yield from (state.last_successful_run for state in states.values() if state.last_successful_run)


def late_after(interval: timedelta | None, alerts: AlertSettings) -> timedelta:
    """Return how long after a good run the next one must have been good: two intervals and a little."""
    return timedelta(hours=alerts.stale_after_hours) if interval is None else 2 * interval + GRACE


def is_recent(stamps: Sequence[datetime], now: datetime, span: timedelta) -> bool:
    """Say whether a stamp lies within `span` of now, before or after it: the clock may have been set back a little."""
    return any(abs(now - stamp) <= span for stamp in stamps)


def in_words(span: timedelta) -> str:
    """Return a span for people: `41 min`, `3 h 5 min`, `2 days`."""
    total_minutes = max(0, round(span.total_seconds() / 60))
    if total_minutes >= 48 * 60:
        return f"{total_minutes // (24 * 60)} days"
    hours, minutes = divmod(total_minutes, 60)
    if not hours:
        return f"{minutes} min" if minutes else "less than a minute"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _last_reports(runs: Sequence[RunMetrics]) -> dict[int, LocationMetrics]:
    """Return the last report of each location."""
    return {report.location_id: report for report in chain.from_iterable(run.locations for run in runs)}


def _location(
    key: int,
    state: LocationState,
    known: Location | None,
    report: LocationMetrics | None,
    *,
    stale_after: timedelta,
    now: datetime,
) -> LocationHealth:
    """Return how one location is."""
    latest = max((sensor.watermark for sensor in state.sensors.values() if sensor.watermark), default=None)
    age = None if latest is None else max(timedelta(0), now - latest)
    failing = _fails(state, report)
    name = known.name if known else report.name if report else None
    return LocationHealth(
        location_id=key,
        name=name,
        status=_reading(state, report, failing=failing, fresh=age is not None and age <= stale_after),
        latest=latest,
        age_seconds=None if age is None else age.total_seconds(),
        last_successful_run=state.last_successful_run,
        sensors=len(known.sensors if known else state.sensors),
        parked=tuple(_parked(state, known)),
        error=report.error if report and failing else None,
        provider=known.provider if known else None,
    )


def _fails(state: LocationState, report: LocationMetrics | None) -> bool:
    """Say whether the last try to read a location failed, be it in part.

    The report decides: the state alone can't tell a failed read from one that is under way.
    """
    if report is not None:
        return report.outcome != "ok"
    return state.last_fetch_time is not None and state.last_fetch_time != state.last_successful_run


def _reading(state: LocationState, report: LocationMetrics | None, *, failing: bool, fresh: bool) -> LocationStatus:
    if report is None and state.last_fetch_time is None:
        return "unknown"
    if failing:
        return "failing"
    return "current" if fresh else "silent"


def _parked(state: LocationState, known: Location | None) -> Iterator[ParkedSensor]:
    """Yield the parked sensors; one that OpenAQ no longer lists at the location is not waited for."""
    parameters = {sensor.id: sensor.parameter for sensor in known.sensors} if known else dict.fromkeys(state.sensors)
    for sensors_id, sensor in sorted(state.sensors.items()):
        if sensor.parked_until is not None and sensors_id in parameters:
            yield ParkedSensor(sensors_id, parameters[sensors_id], sensor.parked_until, sensor.last_error)


def _fetches(states: Mapping[int, LocationState]) -> Iterator[datetime]:
    return (state.last_fetch_time for state in states.values() if state.last_fetch_time)


def _status(
    each: Sequence[LocationHealth], runs: Sequence[RunMetrics], *, late: bool
) -> Literal["ok", "degraded", "down"]:
    """Return `down` when nothing is read any more, `degraded` when something is amiss."""
    if late or not _reads_something(each, runs):
        return "down"
    fell_short = bool(runs) and runs[-1].error is not None
    amiss = any(place.status != "current" or place.parked for place in each)
    return "degraded" if amiss or fell_short else "ok"


def _reads_something(each: Sequence[LocationHealth], runs: Sequence[RunMetrics]) -> bool:
    """Say whether the last read of some location brought it, or at least a part of it."""
    reports = _last_reports(runs)
    return any(
        reports[place.location_id].outcome != "failed"
        if place.location_id in reports
        else place.status in {"current", "silent"}
        for place in each
    )


def _words(each: Sequence[LocationHealth]) -> str:
    """Return how the locations are: what is amiss, or that nothing is."""
    if not each:
        return "no location is selected"
    total = "1 location" if len(each) == 1 else f"{len(each)} locations"
    found = [(sum(place.status == status for place in each), word) for status, word in WORDS]
    said = [f"{number} {word}" for number, word in found if number]
    parked = sum(len(place.parked) for place in each)
    if said:
        said[0] = said[0].replace(" ", f" of {total} ", 1)
    else:
        said = ["the location is current" if len(each) == 1 else f"all {total} current"]
    if parked:
        said.append("1 sensor parked" if parked == 1 else f"{parked} sensors parked")
    return ", ".join(said)


def _late_words(good: Sequence[datetime], now: datetime) -> str:
    """Return since when no run was good. What lies ahead of now tells of a clock that was set back."""
    past = [stamp for stamp in good if stamp <= now]
    if past:
        return f"no good run for {in_words(now - max(past))}"
    return "the last good run lies ahead of the clock, which was set back" if good else "no run was good yet"


def _next_words(next_run: datetime | None, now: datetime) -> str:
    if next_run is None:
        return ""
    if next_run >= now:
        return f"next run in {in_words(next_run - now)}"
    return f"the next run was due {in_words(now - next_run)} ago"
