"""A run report in the names that scripts rely on: the object of `--json`, and later of `metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from openaq_pipeline.reports import LocationReport, Outcome, RunReport, SelectionReport, SensorReport

OUTCOMES = ("complete", "partial", "failed")
ROWS = ("new", "revised", "identical", "rejected")


class SensorMetrics(msgspec.Struct, frozen=True):
    """One sensor of a run; `watermark` is how far its data reach, None: no row yet."""

    sensors_id: int
    parameter: str
    units: str
    outcome: str
    new: int
    revised: int
    identical: int
    rejected: int
    watermark: datetime | None
    error: str | None


class LocationMetrics(msgspec.Struct, frozen=True):
    """One location of a run; `quality_score` is None without measurements, and in files of earlier versions."""

    location_id: int
    name: str | None
    outcome: Outcome
    new: int
    revised: int
    identical: int
    rejected: int
    error: str | None
    warnings: tuple[str, ...]
    sensors: tuple[SensorMetrics, ...]
    quality_score: float | None = None


class RunMetrics(msgspec.Struct, frozen=True):
    """One run; `deferred` series were left for the next one.

    `quality_score` is None without measurements, `slowest_response_seconds` None without an answer.
    `requests_by_status` is empty in files of earlier versions.
    """

    started: datetime
    duration_seconds: float
    total_records_fetched: int
    total_records_deduplicated: int
    total_locations_processed: int
    successful_locations: int
    failed_locations: int
    consecutive_failures: int
    requests: int
    requests_planned: int
    slowest_response_seconds: float | None
    quality_score: float | None
    error: str | None
    locations: tuple[LocationMetrics, ...]
    selections: tuple[SelectionReport, ...] = ()
    deferred: int = 0
    requests_by_status: dict[str, int] = {}


class Totals(msgspec.Struct, frozen=True):
    """Everything counted since a time, in whole runs; what is counted only grows, until `metrics.json` is lost.

    `runs` are counted by how they went (`complete`, `partial`, `failed`), `rows` by what became of them, `requests` by
    the status of their answers.
    """

    since: datetime
    runs: dict[str, int] = {}
    rows: dict[str, int] = {}
    requests: dict[str, int] = {}

    def and_of(self, run: RunMetrics) -> Totals:
        """Return the totals with one more run in them, of which nothing may have been left out."""
        return Totals(
            self.since,
            _sum(self.runs, {outcome_of(run): 1}),
            _sum(self.rows, rows_of(run)),
            _sum(self.requests, run.requests_by_status),
        )


def outcome_of(run: RunMetrics) -> str:
    """Return how a run went: `complete`, `partial` or `failed`."""
    if not run.successful_locations:
        return "failed"
    whole = run.error is None and all(place.outcome == "ok" for place in run.locations)
    return "complete" if whole else "partial"


def rows_of(run: RunMetrics) -> dict[str, int]:
    """Return the rows of a run by what became of them."""
    return {name: sum(getattr(place, name) for place in run.locations) for name in ROWS}


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


def metrics_of(report: RunReport) -> RunMetrics:
    """Return a run's figures. A location that was got in part counts as successful; its outcome tells."""
    failed = sum(location.outcome == "failed" for location in report.locations)
    quality, slowest = report.quality_score, report.slowest_response_seconds
    return RunMetrics(
        started=report.started,
        duration_seconds=round(report.duration_seconds, 3),
        total_records_fetched=report.counts.fetched,
        total_records_deduplicated=report.counts.identical,
        total_locations_processed=len(report.locations),
        successful_locations=len(report.locations) - failed,
        failed_locations=failed,
        consecutive_failures=report.consecutive_failures,
        requests=report.requests,
        requests_planned=report.requests_planned,
        slowest_response_seconds=None if slowest is None else round(slowest, 3),
        quality_score=None if quality is None else round(quality, 2),
        error=report.error,
        locations=tuple(map(_location, report.locations)),
        selections=report.selections,
        deferred=report.deferred,
        requests_by_status=report.requests_by_status,
    )


def _location(report: LocationReport) -> LocationMetrics:
    counts = report.counts
    return LocationMetrics(
        report.location_id,
        report.name,
        report.outcome,
        counts.new,
        counts.revised,
        counts.identical,
        counts.rejected,
        report.error,
        report.warnings,
        tuple(map(_sensor, report.sensors)),
        None if counts.quality_score is None else round(counts.quality_score, 2),
    )


def _sensor(report: SensorReport) -> SensorMetrics:
    counts = report.counts
    return SensorMetrics(
        report.sensors_id,
        report.parameter,
        report.units,
        report.outcome,
        counts.new,
        counts.revised,
        counts.identical,
        counts.rejected,
        report.watermark,
        report.error,
    )
