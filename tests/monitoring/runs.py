"""Runs as `metrics.json` has them, for the tests of the watching."""

from __future__ import annotations

from datetime import datetime

from openaq_pipeline.monitoring.metrics import LocationMetrics, RunMetrics
from openaq_pipeline.reports import Outcome


def location(location_id: int, outcome: Outcome = "ok", error: str | None = None) -> LocationMetrics:
    return LocationMetrics(location_id, f"Station {location_id}", outcome, 1, 0, 2, 0, error, (), ())


def run(started: datetime, *places: LocationMetrics, error: str | None = None) -> RunMetrics:
    failed = sum(place.outcome == "failed" for place in places)
    return RunMetrics(
        started=started,
        duration_seconds=1.5,
        total_records_fetched=3 * len(places),
        total_records_deduplicated=2 * len(places),
        total_locations_processed=len(places),
        successful_locations=len(places) - failed,
        failed_locations=failed,
        consecutive_failures=0,
        requests=len(places),
        requests_planned=len(places),
        slowest_response_seconds=0.25,
        quality_score=99.5,
        error=error,
        locations=places,
    )
