"""What a person should know now: a pure judgement of the last run and of the health of each location."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from openaq_pipeline.errors import FatalError, PipelineError
from openaq_pipeline.monitoring.grouping import PHRASES
from openaq_pipeline.monitoring.metrics import RunMetrics
from openaq_pipeline.reports import Condition, Health, LocationHealth
from openaq_pipeline.settings import AlertSettings

FAILED_RUNS, NEEDS_A_PERSON, CANNOT_WORK, QUALITY, SLOW_RESPONSE, SILENT = (
    "failed_runs",
    "needs_a_person",
    "cannot_work",
    "quality",
    "slow_response",
    "silent",
)
OF_A_RUN = frozenset({FAILED_RUNS, NEEDS_A_PERSON, CANNOT_WORK, QUALITY, SLOW_RESPONSE, SILENT})
"""The kinds that only a run can judge; a kind is a key up to its colon."""

BRIEF_FROM = 100
"""With more silent locations each is noted in a few words: the book of 10,000 is a few megabytes, and not ten."""


class Assessment(msgspec.Struct, frozen=True):
    """The conditions that hold, and the keys or kinds that could not be judged.

    What is undecided has neither begun nor ended: a run without a measurement says nothing of quality. `looked_at` has
    the keys of the locations that were judged, None: which they were plays no part. `only_some`: there are more.
    """

    conditions: tuple[Condition, ...] = ()
    undecided: frozenset[str] = frozenset()
    looked_at: frozenset[str] | None = None
    only_some: bool = False

    def leaves_open(self, key: str) -> bool:
        """Say whether a condition that is not among `conditions` may hold all the same."""
        if self.only_some and self._is_beyond(key):
            return True
        return key in self.undecided or key.partition(":")[0] in self.undecided

    def drops(self, key: str) -> bool:
        """Say whether a condition is of no concern any more: its location is not selected, and has not recovered."""
        return not self.only_some and self._is_beyond(key)

    def _is_beyond(self, key: str) -> bool:
        return self.looked_at is not None and key.partition(":")[0] == SILENT and key not in self.looked_at


def between_runs(conditions: Iterable[Condition] = ()) -> Assessment:
    """Return what is known while no run has ended: conditions of the daemon itself (a run that hangs, was killed)."""
    return Assessment(tuple(conditions), OF_A_RUN)


def not_begun(error: PipelineError) -> Assessment:
    """Return what is known when a run could not even begin: why, and nothing else."""
    found = needs_a_person(error) if isinstance(error, FatalError) else cannot_work(error)
    return Assessment((found,), OF_A_RUN)


def assess(
    metrics: RunMetrics | None,
    health: Health,
    alerts: AlertSettings,
    *,
    fatal: FatalError | None = None,
    stuck: PipelineError | None = None,
    only_some: bool = False,
) -> Assessment:
    """Judge a run that has ended.

    `metrics` is None when it left none, `fatal` is the error that needs a person, `stuck` what kept it from storing
    what it had learnt. `only_some`: `health` is of a few of the selected locations, and nothing is said of the others.
    """
    whole = _of_whole(metrics, alerts, fatal, stuck)
    # When nothing could be read the cause is told once, not again for each location.
    cut_off = fatal is not None or metrics is None or metrics.successful_locations == 0
    conditions, undecided = _of_locations(health.locations, alerts, cut_off=cut_off)
    return Assessment(
        whole.conditions + conditions,
        whole.undecided | undecided,
        looked_at=frozenset(_key(location) for location in health.locations),
        only_some=only_some,
    )


def _of_whole(
    metrics: RunMetrics | None, alerts: AlertSettings, fatal: FatalError | None, stuck: PipelineError | None
) -> Assessment:
    found = tuple(condition for condition in _whole(metrics, alerts, fatal, stuck) if condition)
    return Assessment(found, frozenset(_undecided(metrics, fatal)))


def _whole(
    metrics: RunMetrics | None, alerts: AlertSettings, fatal: FatalError | None, stuck: PipelineError | None
) -> Iterator[Condition | None]:
    yield needs_a_person(fatal) if fatal else None
    yield cannot_work(stuck) if stuck else None
    if metrics is not None:
        yield _failed_runs(metrics, alerts.max_consecutive_failures)
        yield _quality(metrics.quality_score, alerts.min_quality_score)
        yield _slow_response(metrics.slowest_response_seconds, alerts.max_api_response_seconds)


def _undecided(metrics: RunMetrics | None, fatal: FatalError | None) -> Iterator[str]:
    """Yield the kinds on which a run has no say."""
    if metrics is None:
        yield from (FAILED_RUNS, CANNOT_WORK)
    if metrics is None or metrics.quality_score is None:
        yield QUALITY
    if metrics is None or metrics.slowest_response_seconds is None:
        yield SLOW_RESPONSE
    # Only an answer proves that the key is accepted again; a network that is gone does not.
    if fatal is None and (metrics is None or metrics.successful_locations == 0):
        yield NEEDS_A_PERSON


def needs_a_person(error: FatalError) -> Condition:
    """Return the condition of an error that no retry mends: a refused key, a block, a retired API."""
    return Condition(NEEDS_A_PERSON, "critical", "The pipeline needs a person", _sentence(str(error)), error.hint)


def cannot_work(error: PipelineError) -> Condition:
    """Return the condition of a run that could not begin, or could not store what it had learnt.

    It is told at once: where nothing can be written no count of failures grows from run to run.
    """
    message = f"{_sentence(str(error))} What was stored before is whole."
    return Condition(CANNOT_WORK, "critical", "The pipeline can't work", message, error.hint)


def _failed_runs(metrics: RunMetrics, limit: int) -> Condition | None:
    count = metrics.consecutive_failures
    if count < limit:
        return None
    reason = f" The last one: {_sentence(metrics.error)}" if metrics.error else ""
    counted = "The last run failed." if count == 1 else f"The last {count} runs failed."
    hint = "Run test_pipeline.py: it checks the network, the key and the data folder."
    return Condition(FAILED_RUNS, "critical", "No run succeeds", counted + reason, hint)


def _quality(score: float | None, limit: float) -> Condition | None:
    if score is None or score >= limit:
        return None
    message = f"{score:.1f} % of the last run's measurements are without an issue; {limit:g} % are expected."
    hint = "validator.py --all names the rules that were broken, and where; every row was kept."
    return Condition(QUALITY, "warning", "Data quality is low", message, hint)


def _slow_response(seconds: float | None, limit: float) -> Condition | None:
    if seconds is None or seconds <= limit:
        return None
    message = f"The slowest answer of the last run took {seconds:.0f} s; up to {limit:g} s are expected."
    return Condition(SLOW_RESPONSE, "warning", "OpenAQ answers slowly", message, "Nothing to do unless it lasts.")


def _of_locations(
    locations: Sequence[LocationHealth], alerts: AlertSettings, *, cut_off: bool
) -> tuple[tuple[Condition, ...], frozenset[str]]:
    """Judge each location by itself; what of them is told together is not decided here (`telling`)."""
    parts = [_of_location(location, alerts, cut_off=cut_off) for location in locations]
    found = [condition for part in parts for condition in part.conditions]
    if len(found) > BRIEF_FROM:
        found = [msgspec.structs.replace(condition, message="", hint="") for condition in found]
    return tuple(found), frozenset().union(*(part.undecided for part in parts))


def _of_location(location: LocationHealth, alerts: AlertSettings, *, cut_off: bool) -> Assessment:
    """Judge one location: silent, or failing for so long that its data are as old as those of a silent one."""
    key = _key(location)
    if location.status == "silent":
        return Assessment((_silent(key, location, alerts.stale_after_hours),))
    if location.status == "current":
        return Assessment()
    age_seconds = location.age_seconds
    if cut_off or location.status == "unknown" or age_seconds is None:
        return Assessment(undecided=frozenset({key}))
    is_old = age_seconds > alerts.stale_after_hours * 3600
    return Assessment((_silent(key, location, alerts.stale_after_hours),)) if is_old else Assessment()


def _key(location: LocationHealth) -> str:
    return f"{SILENT}:{location.location_id}"


def _name(location: LocationHealth) -> str:
    return f"{location.name} ({location.location_id})" if location.name else f"Location {location.location_id}"


def _silent(key: str, location: LocationHealth, limit_hours: float) -> Condition:
    """Return the condition of a location without a new row; it says nothing that changes while that lasts."""
    newest = f"The newest row is of {location.latest:%Y-%m-%d %H:%M} UTC" if location.latest else "It has no row yet"
    why = f" The last try failed: {_sentence(location.error)}" if location.error else ""
    return Condition(
        key,
        "warning",
        f"{_name(location)} is silent",
        f"{newest}; one of the last {limit_hours:g} h is expected.{why}",
        PHRASES[SILENT].hint,
        provider=location.provider or "",
        subject=_name(location),
        since=location.latest,
    )


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."
