"""What a person should know, judged from a run and from the health of each location."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import msgspec
import pytest

from openaq_pipeline.errors import FatalError, StorageError
from openaq_pipeline.monitoring.conditions import BRIEF_FROM, OF_A_RUN, Assessment, assess, between_runs, not_begun
from openaq_pipeline.monitoring.metrics import RunMetrics
from openaq_pipeline.reports import Health, LocationHealth
from openaq_pipeline.settings import AlertSettings
from tests.alerts.parts import NOW, condition

ALERTS = AlertSettings()
GOOD = RunMetrics(
    started=NOW,
    duration_seconds=10,
    total_records_fetched=100,
    total_records_deduplicated=0,
    total_locations_processed=1,
    successful_locations=1,
    failed_locations=0,
    consecutive_failures=0,
    requests=5,
    requests_planned=5,
    slowest_response_seconds=1.0,
    quality_score=99.0,
    error=None,
    locations=(),
)


def run(**changes: Any) -> RunMetrics:
    return msgspec.structs.replace(GOOD, **changes)


def health(*locations: LocationHealth) -> Health:
    return Health("ok", "All is well.", locations, NOW, None)


def location(
    status: Literal["current", "silent", "failing", "unknown"] = "current", age_hours: float | None = 1, number: int = 7
) -> LocationHealth:
    latest = None if age_hours is None else NOW - timedelta(hours=age_hours)
    age = None if age_hours is None else age_hours * 3600
    error = "it timed out" if status == "failing" else None
    return LocationHealth(number, "Ratna Park", status, latest, age, NOW, 3, (), error)


def keys(assessment: Assessment) -> dict[str, str]:
    return {found.key: found.severity for found in assessment.conditions}


def test_a_good_run_leaves_nothing_to_tell_and_nothing_undecided() -> None:
    found = assess(GOOD, health(location()), ALERTS)
    assert (found.conditions, found.undecided) == ((), frozenset())


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"consecutive_failures": 3}, {"failed_runs": "critical"}),
        ({"consecutive_failures": 2}, {}),
        ({"quality_score": 89.99}, {"quality": "warning"}),
        ({"quality_score": 90.0}, {}),
        ({"slowest_response_seconds": 60.1}, {"slow_response": "warning"}),
        ({"slowest_response_seconds": 60.0}, {}),
    ],
)
def test_each_limit_is_where_the_settings_have_it(changes: dict[str, Any], found: dict[str, str]) -> None:
    assert keys(assess(run(**changes), health(), ALERTS)) == found


def test_a_silent_location_is_told_by_its_name_and_id() -> None:
    (found,) = assess(GOOD, health(location("silent", 9), location(number=8)), ALERTS).conditions
    assert (found.key, found.severity) == ("silent:7", "warning")
    assert "Ratna Park (7)" in found.title
    assert "2026-11-01 03:00 UTC; one of the last 6 h is expected" in found.message
    assert (found.subject, found.since) == ("Ratna Park (7)", NOW - timedelta(hours=9))


def test_a_location_without_a_row_is_silent_too() -> None:
    (found,) = assess(GOOD, health(location("silent", None)), ALERTS).conditions
    assert "no row yet" in found.message


def test_an_error_that_needs_a_person_is_critical_at_once_with_what_to_do() -> None:
    failed = run(consecutive_failures=1, successful_locations=0)
    found = assess(failed, health(), ALERTS, fatal=FatalError("OpenAQ answered 401", hint="Set a valid key."))
    assert keys(found) == {"needs_a_person": "critical"}
    assert found.conditions[0].hint == "Set a valid key."


def test_a_run_that_could_not_begin_or_store_is_told_at_once_and_over_with_one_that_can() -> None:
    full = StorageError("The disk is full", hint="Free some.")
    failed = run(consecutive_failures=1, successful_locations=0)
    for found in (not_begun(full), assess(failed, health(), ALERTS, stuck=full)):
        assert keys(found) == {"cannot_work": "critical"}
        assert found.conditions[0].hint == "Free some."
    assert not_begun(full).leaves_open("silent:7")
    assert assess(None, health(), ALERTS).leaves_open("cannot_work")
    assert not assess(run(successful_locations=0), health(), ALERTS).leaves_open("cannot_work")


def test_a_network_that_is_gone_does_not_mean_that_the_key_is_accepted_again() -> None:
    gone = run(successful_locations=0, quality_score=None, slowest_response_seconds=None)
    assert assess(gone, health(), ALERTS).leaves_open("needs_a_person")
    assert not assess(GOOD, health(), ALERTS).leaves_open("needs_a_person")


def test_a_run_without_a_measurement_says_nothing_of_quality() -> None:
    assert assess(run(quality_score=None), health(), ALERTS).undecided == {"quality"}


def test_a_run_that_left_no_figures_says_nothing_at_all() -> None:
    assert assess(None, health(), ALERTS).undecided == OF_A_RUN - {"silent"}


def test_a_location_that_fails_for_long_is_as_silent_as_another() -> None:
    (found,) = assess(GOOD, health(location("failing", 9)), ALERTS).conditions
    assert found.key == "silent:7"
    assert "it timed out" in found.message


def test_a_location_that_fails_for_a_moment_is_not_silent() -> None:
    assert assess(GOOD, health(location("failing", 2)), ALERTS).conditions == ()


def test_when_nothing_could_be_read_the_cause_is_told_and_not_each_location() -> None:
    failed = run(consecutive_failures=9, successful_locations=0)
    found = assess(failed, health(location("failing", 99), location("failing", 99, number=8)), ALERTS)
    assert keys(found) == {"failed_runs": "critical"}
    assert found.leaves_open("silent:7")
    assert not found.leaves_open("silent:9")


def test_a_poll_of_a_few_locations_says_nothing_of_the_others() -> None:
    found = assess(GOOD, health(location()), ALERTS, only_some=True)
    assert found.leaves_open("silent:9")
    assert not found.drops("silent:9")
    assert not found.leaves_open("silent:7")


def test_a_location_that_is_not_selected_any_more_is_dropped_and_has_not_recovered() -> None:
    found = assess(GOOD, health(location()), ALERTS)
    assert found.drops("silent:9")
    assert not found.drops("silent:7")
    assert not found.drops("quality")


def silent(number: int) -> list[LocationHealth]:
    return [location("silent", 9, number=key) for key in range(1, number + 1)]


def test_many_silent_locations_are_a_condition_each_but_in_a_few_words() -> None:
    few, many = silent(BRIEF_FROM), silent(BRIEF_FROM + 1)
    assert all(found.message for found in assess(GOOD, health(*few), ALERTS).conditions)
    found = assess(GOOD, health(*many), ALERTS).conditions
    assert len(found) == len(many)
    assert {(each.message, each.hint) for each in found} == {("", "")}
    assert found[0].subject == "Ratna Park (1)"


def test_a_condition_says_nothing_that_changes_while_it_lasts() -> None:
    later = msgspec.structs.replace(location("silent", 9), age_seconds=10 * 3600.0)
    (before,) = assess(GOOD, health(location("silent", 9)), ALERTS).conditions
    (after,) = assess(GOOD, health(later), ALERTS).conditions
    assert before == after


def test_between_runs_only_the_daemon_s_own_conditions_are_judged() -> None:
    found = between_runs([condition("hung_run", "error")])
    assert keys(found) == {"hung_run": "error"}
    assert found.leaves_open("silent:7")
    assert not found.leaves_open("silent_scheduler")
