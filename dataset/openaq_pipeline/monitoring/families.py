"""The families of metrics that Prometheus is told, one function for each part of how it is. Pure.

Names and units follow Prometheus' guide: base units, `_total` for what only grows. Figures of the last run are gauges.
Ages are left to PromQL: a time that something happened stays true between two looks, an age does not.

The number of series is bounded, however many locations there are: totals always, and a series each for the first
`MOST_LOCATIONS`, those with something amiss before the others. Label values come from outside: they are cut, cleaned of
what can't be shown, and escaped by the library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, get_args

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from openaq_pipeline.model import Location
from openaq_pipeline.monitoring.alerts import SEVERITIES, Book
from openaq_pipeline.monitoring.health import good_runs
from openaq_pipeline.monitoring.metrics import OUTCOMES, ROWS, RunMetrics, Totals, rows_of
from openaq_pipeline.reports import WORST_FIRST, Health, LocationHealth, LocationStatus, Outcome
from openaq_pipeline.settings import AlertSettings

PREFIX = "openaq_pipeline_"

MOST_LOCATIONS = 1_000
"""So many locations have series of their own; 25,000 with all of theirs would be a burden to most a Prometheus."""

LONGEST_LABEL = 100
"""Characters of a name that comes from outside."""

HEALTH = ("ok", "degraded", "down")


class Use(Protocol):
    """Requests of the last minute and hour, and the limits that hold now: `openaq.budget.BudgetUse`."""

    @property
    def minute(self) -> int:
        """Return how many were sent in the last minute."""

    @property
    def hour(self) -> int:
        """Return how many were sent in the last hour."""

    @property
    def per_minute(self) -> int:
        """Return how many may be sent in any minute."""

    @property
    def per_hour(self) -> int:
        """Return how many may be sent in any hour."""


def _gauge(name: str, help_: str, samples: Iterable[tuple[Mapping[str, str], float | None]], unit: str = "") -> Metric:
    """Return a gauge; a sample without a value is left out."""
    family = GaugeMetricFamily(PREFIX + name, help_, unit=unit)
    for labels, value in samples:
        if value is not None:
            family.add_sample(family.name, dict(labels), value)
    return family


def _one(name: str, help_: str, value: float | None, unit: str = "") -> Metric:
    return _gauge(name, help_, [({}, value)], unit)


def _by(label: str, figures: Mapping[Any, float]) -> list[tuple[Mapping[str, str], float | None]]:
    return [({label: key}, value) for key, value in figures.items()]


def _time(name: str, what: str, moment: datetime | None) -> Metric:
    return _one(f"{name}_timestamp", f"{what}, in Unix time.", _unix(moment), "seconds")


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


# --- the whole ---


def whole(how: Health, runs: Sequence[RunMetrics], version: str) -> Iterator[Metric]:
    """Yield how the whole is, and when what happened last and happens next."""
    yield _gauge("build_info", "The version of the pipeline; always 1.", [({"version": version}, 1)])
    yield _gauge(
        "health_status",
        "1 for how the whole is: ok, degraded (something is amiss) or down (no good run lately), 0 for the others.",
        _by("status", {status: float(how.status == status) for status in HEALTH}),
    )
    seen = [place.last_successful_run for place in how.locations if place.last_successful_run]
    good = [*good_runs(runs, {}), *seen]
    newest = max((place.latest for place in how.locations if place.latest), default=None)
    yield _time("last_run", "Start of the last run", how.last_run)
    yield _time("last_good_run", "When a location was last read with success", max(good, default=None))
    yield _time("next_run", "When the next run is due", how.next_run)
    yield _time("newest_row", "End of the period of the newest row of all locations", newest)
    yield _one(
        "consecutive_failures",
        "Failed runs in a row; a run has failed when no location succeeded.",
        runs[-1].consecutive_failures if runs else None,
    )


def limits(expected: AlertSettings, late_after_seconds: float) -> Iterator[Metric]:
    """Yield what the settings expect, so that alert rules go by them."""
    late = "A good run must not be older: two intervals and 15 min."
    yield _one("late_after", late, late_after_seconds, "seconds")
    stale = "A location whose newest row is older is silent (stale_after_hours)."
    yield _one("stale_after", stale, expected.stale_after_hours * 3600, "seconds")
    least = "Share of rows without an issue that is expected at least (min_quality_score)."
    yield _one("min_quality", least, expected.min_quality_score / 100, "ratio")
    most = "Failed runs in a row from which on somebody is told."
    yield _one("max_consecutive_failures", most, expected.max_consecutive_failures)


# --- runs ---


def last_run(runs: Sequence[RunMetrics]) -> Iterator[Metric]:
    """Yield the figures of the last run; none without one."""
    if not runs:
        return
    run = runs[-1]
    outcomes = Counter(place.outcome for place in run.locations)
    yield _one("last_run_duration", "How long the last run took.", run.duration_seconds, "seconds")
    yield _gauge("last_run_rows", "Rows of the last run, by what became of them.", _by("outcome", rows_of(run)))
    yield _gauge(
        "last_run_requests",
        "Requests of the last run, by the HTTP status of the answer; none: no whole answer came.",
        _by("status", run.requests_by_status or ({"other": run.requests} if run.requests else {})),
    )
    yield _one("last_run_requests_planned", "Requests that the last run's plans came to.", run.requests_planned)
    yield _one("last_run_deferred_series", "Series that the last run left for the next one.", run.deferred)
    yield _gauge(
        "last_run_locations",
        "Locations of the last run, by outcome.",
        _by("outcome", {outcome: outcomes[outcome] for outcome in get_args(Outcome)}),
    )
    slowest = "The slowest answer of the last run."
    yield _one("last_run_slowest_response", slowest, run.slowest_response_seconds, "seconds")
    quality = "Share of the last run's rows without an issue."
    yield _one("last_run_quality", quality, _share(run.quality_score), "ratio")


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def totals(found: Totals | None) -> Iterator[Metric]:
    """Yield what only grows; it begins anew where `metrics.json` was lost, and the time says when."""
    if found is None:
        return
    yield _time("counting_since", "Since when the totals are counted", found.since)
    known_runs, known_rows = dict.fromkeys(OUTCOMES, 0), dict.fromkeys(ROWS, 0)
    yield _counter("runs", "Runs, by how they went.", "outcome", known_runs | found.runs)
    yield _counter("rows", "Rows that runs got, by what became of them.", "outcome", known_rows | found.rows)
    by_status = "Requests that runs sent, by the HTTP status of the answer; none: no whole answer came."
    yield _counter("requests", by_status, "status", found.requests)


def _counter(name: str, help_: str, label: str, figures: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, help_, labels=[label])
    for key, value in figures.items():
        family.add_metric([_clean(key)], value)
    return family


def budget(use: Use | None) -> Iterator[Metric]:
    """Yield what the key's budget is; nothing where that is not known."""
    if use is None:
        return
    used, allowed = {"minute": use.minute, "hour": use.hour}, {"minute": use.per_minute, "hour": use.per_hour}
    left = {window: max(0, allowed[window] - used[window]) for window in used}
    what = "that all processes with this key sent in the last minute and hour"
    yield _gauge("budget_used_requests", f"Requests {what}.", _by("window", used))
    yield _gauge("budget_limit_requests", "Requests that may be sent in any minute and hour.", _by("window", allowed))
    yield _gauge("budget_left_requests", "Requests that may still be sent now.", _by("window", left))


def alerts(book: Book | None) -> Iterator[Metric]:
    """Yield what the book of conditions holds; nothing where it can't be read."""
    if book is None:
        return
    found = Counter(opened.condition.severity for opened in book.open.values())
    by_severity = {severity: found[severity] for severity in SEVERITIES}
    yield _gauge("open_alerts", "Conditions that hold now, by severity.", _by("severity", by_severity))
    yield _one("waiting_notices", "Notices of alerts that are still to be delivered.", len(book.outbox))


# --- locations ---


def shown(places: Sequence[LocationHealth]) -> Sequence[LocationHealth]:
    """Return the locations that have series of their own: all, or of very many the worst, in the settings' order."""
    if len(places) <= MOST_LOCATIONS:
        return places
    return sorted(places, key=_severity)[:MOST_LOCATIONS]  # a stable sort keeps the order otherwise


def _severity(place: LocationHealth) -> tuple[int, bool]:
    return WORST_FIRST.index(place.status), not place.parked


def locations(places: Sequence[LocationHealth], with_series: int) -> Iterator[Metric]:
    """Yield the totals of all locations, of which so many have series of their own."""
    found = Counter(place.status for place in places)
    by_status = {status: found[status] for status in get_args(LocationStatus)}
    yield _gauge("locations", "Selected locations, by how they are.", _by("status", by_status))
    left_out = f"Selected locations beyond {MOST_LOCATIONS:,}, which have no series of their own."
    yield _one("locations_without_series", left_out, len(places) - with_series)
    yield _one("sensors", "Sensors of the selected locations.", sum(place.sensors for place in places))
    parked = "Sensors that are not asked for a while, because their series can't be read."
    yield _one("parked_sensors", parked, sum(len(place.parked) for place in places))


def each(
    places: Sequence[LocationHealth], runs: Sequence[RunMetrics], known: Mapping[int, Location]
) -> Iterator[Metric]:
    """Yield what is told of each location; all but its description by its id alone."""
    ids = [({"location_id": str(place.location_id)}, place) for place in places]
    scores = _scores(runs)
    described = [(_description(place, known.get(place.location_id)), 1.0) for place in places]
    yield _gauge("location_info", "A selected location; always 1.", described)
    newest = "End of the period of the location's newest row, in Unix time."
    newest_rows = ((labels, _unix(place.latest)) for labels, place in ids)
    yield _gauge("location_newest_row_timestamp", newest, newest_rows, "seconds")
    read = "When the location was last read in full, in Unix time."
    reads = ((labels, _unix(place.last_successful_run)) for labels, place in ids)
    yield _gauge("location_last_good_read_timestamp", read, reads, "seconds")
    failing = ((labels, float(place.status == "failing")) for labels, place in ids)
    yield _gauge("location_failing", "1 if the last try to read the location failed, be it in part.", failing)
    sensors = ((labels, float(place.sensors)) for labels, place in ids)
    yield _gauge("location_sensors", "Sensors of the location.", sensors)
    parked = ((labels, float(len(place.parked))) for labels, place in ids)
    yield _gauge("location_parked_sensors", "Sensors of the location that are not asked for a while.", parked)
    quality = "Share of the location's rows without an issue, in the last run that read any."
    qualities = ((labels, _share(scores.get(place.location_id))) for labels, place in ids)
    yield _gauge("location_quality", quality, qualities, "ratio")


def _scores(runs: Sequence[RunMetrics]) -> dict[int, float]:
    """Return the last quality score of each location."""
    return {
        place.location_id: place.quality_score
        for run in runs
        for place in run.locations
        if place.quality_score is not None
    }


def _description(place: LocationHealth, known: Location | None) -> dict[str, str]:
    return {
        "location_id": str(place.location_id),
        "name": _clean(place.name) or f"Location {place.location_id}",  # Prometheus drops a label that is empty
        "country": _clean(known.country_code if known else None),
        "provider": _clean(known.provider if known else None),
    }


def _clean(text: str | None) -> str:
    """Return a label value: one line of what can be shown, of bounded length; empty for what is not known."""
    shown = "".join(char if char.isprintable() else " " for char in text or "").strip()
    return shown if len(shown) <= LONGEST_LABEL else shown[: LONGEST_LABEL - 1] + "…"
