"""The page of the runs: the last hundred, newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from openaq_pipeline.monitoring.metrics import LocationMetrics, RunMetrics
from openaq_pipeline.web.drawing import Bar, bars
from openaq_pipeline.web.wording import count, took

NAMED_ERRORS = 3
WIDTH, HEIGHT = 400, 87


class Run(NamedTuple):
    """A run as the page has it; `errors` are the first few of its locations, `more_errors` how many others failed."""

    started: datetime
    outcome: str
    seconds: float
    requests: int
    new: int
    revised: int
    identical: int
    successful: int
    locations: int
    quality: float | None
    slowest: float | None
    errors: tuple[str, ...]
    more_errors: int


class Chart(NamedTuple):
    """Bars of one number of each run, oldest first, with the outcome of each; `said` is the last one in words."""

    title: str
    said: str
    bars: list[tuple[Bar, str]]


def run_of(metrics: RunMetrics) -> Run:
    """Return a run as the page has it."""
    amiss = [each for each in metrics.locations if each.outcome != "ok"]
    errors = [metrics.error] if metrics.error else []
    errors += [_error(each) for each in amiss]
    return Run(
        metrics.started,
        _outcome(metrics, amiss),
        metrics.duration_seconds,
        metrics.requests,
        sum(each.new for each in metrics.locations),
        sum(each.revised for each in metrics.locations),
        metrics.total_records_deduplicated,
        metrics.successful_locations,
        metrics.total_locations_processed,
        metrics.quality_score,
        metrics.slowest_response_seconds,
        tuple(errors[:NAMED_ERRORS]),
        max(0, len(errors) - NAMED_ERRORS),
    )


def _outcome(metrics: RunMetrics, amiss: Sequence[LocationMetrics]) -> str:
    """Return `failed` if nothing was got, `partial` if something was not."""
    if not metrics.successful_locations:
        return "failed"
    return "partial" if amiss or metrics.error else "ok"


def _error(each: LocationMetrics) -> str:
    name = each.name or f"location {each.location_id}"
    return f"{name[:60]}: {each.error or 'no reason noted'}"


def charts(runs: Sequence[Run]) -> list[Chart]:
    """Return what is drawn of runs, oldest first."""
    return [
        _chart("New rows", runs, lambda run: run.new, lambda run: f"{count(run.new)} in the last run"),
        _chart("Requests", runs, lambda run: run.requests, lambda run: f"{count(run.requests)} in the last run"),
        _chart("Duration", runs, lambda run: run.seconds, lambda run: f"{took(run.seconds)} in the last run"),
    ]


def _chart(title: str, runs: Sequence[Run], value: Callable[[Run], float], say: Callable[[Run], str]) -> Chart:
    drawn = bars([value(run) for run in runs], WIDTH, HEIGHT)
    return Chart(title, say(runs[-1]), [(bar, run.outcome) for bar, run in zip(drawn, runs, strict=True)])
