"""What `monitor` prints: the overview as text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from openaq_pipeline.cli.show import MANY, NAME_WIDTH, count, printable, unlisted
from openaq_pipeline.monitoring.health import in_words
from openaq_pipeline.monitoring.metrics import RunMetrics
from openaq_pipeline.overview import Overview
from openaq_pipeline.reports import LocationHealth

LOCATION_ROW = "{:>10}  {:<28}  {:<8}  {:<17}  {:>10}  {:>7}"
RUN_ROW = "{:<17}  {:>9}  {:>7}  {:>9}  {:>6}  {:>8}  {:>7}  {:>8}"
REMARK_WIDTH = 400
SEVERITY = {"failing": 0, "silent": 1, "unknown": 2, "current": 3}


def text(found: Overview, now: datetime) -> str:
    """Return the whole overview for people."""
    how = found.health
    return "\n".join(
        [
            f"{how.status.upper()}: {how.sentence}.",
            *(f"! {printable(warning, REMARK_WIDTH)}" for warning in found.warnings),
            "",
            *_locations(how.locations, now),
            "",
            *_runs(found.runs),
            "",
            _budget(found),
            _next(how.next_run, now),
            f"Data: {printable(found.data_dir, REMARK_WIDTH)}",
        ]
    )


def _locations(places: tuple[LocationHealth, ...], now: datetime) -> Iterator[str]:
    """Yield a line for each location, and one for each error and parked sensor; of many only the worst."""
    odd = sorted((place for place in places if place.status != "current" or place.parked), key=_severity)
    shown = places if len(places) <= MANY else odd[:MANY]
    if shown or not places:
        yield LOCATION_ROW.format("location", "name", "status", "latest row (UTC)", "age", "sensors")
    for place in shown:
        age = "-" if place.age_seconds is None else in_words(timedelta(seconds=place.age_seconds))
        name = printable(place.name or "-", NAME_WIDTH)
        yield LOCATION_ROW.format(place.location_id, name, place.status, _minute(place.latest), age, place.sensors)
        if place.error:
            yield f"            ! {printable(place.error, REMARK_WIDTH)}"
        for sensor in place.parked:
            parameter = printable(sensor.parameter or "parameter unknown", NAME_WIDTH)
            why = printable(sensor.error or "no reason noted", REMARK_WIDTH)
            until = f"next try {_when(sensor.until, now)}"
            yield f"            ! sensor {sensor.sensors_id} ({parameter}) is parked, {until}: {why}"
    yield from unlisted(len(places) - len(shown), len(odd) - len(shown))


def _severity(place: LocationHealth) -> int:
    return SEVERITY[place.status]


def _runs(runs: tuple[RunMetrics, ...]) -> Iterator[str]:
    """Yield a line for each run, the last one at the bottom."""
    if not runs:
        yield "No run is on file."
        return
    yield RUN_ROW.format("run (UTC)", "took", "fetched", "identical", "failed", "requests", "quality", "slowest")
    for run in runs:
        quality = "-" if run.quality_score is None else f"{run.quality_score:.1f} %"
        slowest = "-" if run.slowest_response_seconds is None else f"{run.slowest_response_seconds:.2f} s"
        yield RUN_ROW.format(
            _minute(run.started),
            f"{run.duration_seconds:,.1f} s",
            f"{run.total_records_fetched:,}",
            f"{run.total_records_deduplicated:,}",
            f"{run.failed_locations}/{run.total_locations_processed}",
            f"{run.requests:,}",
            quality,
            slowest,
        )
        if run.error:
            yield f"            ! {printable(run.error, REMARK_WIDTH)}"


def _budget(found: Overview) -> str:
    """Return how much of the budget is used, or why that can't be told."""
    use = found.budget
    if use is None:
        return "Budget: unknown; set OPENAQ_API_KEY to see what this key has used."
    return (
        f"Budget: {use.minute:,} of {count(use.per_minute, 'request')} used in the last minute, "
        f"{use.hour:,} of {use.per_hour:,} in the last hour."
    )


def _next(due: datetime | None, now: datetime) -> str:
    if due is None:
        return "Next run: none is scheduled."
    return f"Next run: {_minute(due)} UTC ({_when(due, now)}), while the scheduler runs."


def _when(due: datetime, now: datetime) -> str:
    return f"in {in_words(due - now)}" if due > now else f"due {in_words(now - due)} ago"


def _minute(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
