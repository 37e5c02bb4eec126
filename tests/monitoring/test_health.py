"""Health: said rightly of each location and of the whole, whatever the clock does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.model import Location, LocationState, Sensor, SensorState
from openaq_pipeline.monitoring.health import health, in_words
from openaq_pipeline.monitoring.metrics import RunMetrics
from openaq_pipeline.reports import Health, Outcome
from openaq_pipeline.settings import AlertSettings
from tests.monitoring.runs import location, run

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
INTERVAL = 2 * HOUR


def fresh(age: timedelta = HOUR, **sensor: object) -> LocationState:
    good = NOW - timedelta(minutes=30)
    state = SensorState(watermark=NOW - age, **sensor)  # type: ignore[arg-type]
    return LocationState(good, good, None, {10: state})


def known(location_id: int, *sensors: Sensor) -> Location:
    return Location(
        id=location_id,
        name=f"Place {location_id}",
        locality=None,
        timezone="UTC",
        country_code=None,
        country_name=None,
        latitude=None,
        longitude=None,
        provider=None,
        owner=None,
        is_mobile=False,
        is_monitor=True,
        licenses=(),
        sensors=sensors,
        datetime_first=None,
        datetime_last=None,
        fetched=NOW,
    )


def judge(
    states: Mapping[int, LocationState],
    runs: Sequence[RunMetrics],
    *,
    locations: Mapping[int, Location] | None = None,
    now: datetime = NOW,
    next_run: datetime | None = NOW + timedelta(minutes=41),
    interval: timedelta | None = INTERVAL,
) -> Health:
    places = locations or {}
    return health(states, places, list(states), runs, AlertSettings(), now, next_run=next_run, interval=interval)


def recent(*outcomes: Outcome) -> list[RunMetrics]:
    places = [location(key, outcome) for key, outcome in enumerate(outcomes, start=1)]
    return [run(NOW - timedelta(minutes=30), *places)]


def test_all_is_well_is_said_in_one_sentence_with_the_next_run() -> None:
    found = judge({key: fresh() for key in (1, 2, 3)}, recent("ok", "ok", "ok"))
    assert found.status == "ok"
    assert found.sentence == "All 3 locations current; next run in 41 min"
    assert [place.status for place in found.locations] == ["current"] * 3


def test_a_location_whose_newest_row_is_old_is_silent_although_it_is_read() -> None:
    found = judge({1: fresh(), 2: fresh(7 * HOUR)}, recent("ok", "ok"))
    assert found.status == "degraded"
    assert found.locations[1].status == "silent"
    assert found.locations[1].age_seconds == 7 * 3600
    assert found.sentence.startswith("1 of 2 locations silent; ")


def test_a_location_without_a_row_is_silent_once_it_was_read_and_unknown_before() -> None:
    read = LocationState(NOW - HOUR, NOW - HOUR)
    found = judge({1: fresh(), 2: read, 3: LocationState()}, recent("ok", "ok"))
    assert [place.status for place in found.locations] == ["current", "silent", "unknown"]
    assert found.sentence.startswith("1 of 3 locations silent, 1 never read")


@pytest.mark.parametrize("outcome", ["partial", "failed"])
def test_a_location_that_could_not_be_read_is_failing_though_its_rows_are_young(outcome: Outcome) -> None:
    broken = location(2, outcome, "OpenAQ answered 500")
    found = judge({1: fresh(), 2: fresh()}, [run(NOW - HOUR, location(1), broken)])
    assert (found.status, found.locations[1].status) == ("degraded", "failing")
    assert found.locations[1].error == "OpenAQ answered 500"


def test_a_run_that_is_under_way_does_not_make_its_locations_failing() -> None:
    state = LocationState(NOW, NOW - 2 * HOUR, None, {10: SensorState(watermark=NOW - HOUR)})
    assert judge({1: state}, recent("ok")).locations[0].status == "current"


def test_parked_sensors_are_named_with_why_and_until_when() -> None:
    until = NOW + HOUR
    state = fresh(parked_until=until, last_error="OpenAQ answered 500")
    pm25 = Sensor(10, 2, "pm25", "µg/m³")
    found = judge({1: state}, recent("ok"), locations={1: known(1, pm25)})
    (parked,) = found.locations[0].parked
    assert (parked.sensors_id, parked.parameter, parked.until) == (10, "pm25", until)
    assert parked.error == "OpenAQ answered 500"
    assert (found.status, found.sentence) == (
        "degraded",
        "The location is current, 1 sensor parked; next run in 41 min",
    )


def test_a_parked_sensor_that_the_location_no_longer_has_is_not_waited_for() -> None:
    state = fresh(parked_until=NOW + HOUR)
    found = judge({1: state}, recent("ok"), locations={1: known(1, Sensor(11, 2, "pm25", "µg/m³"))})
    assert (found.status, found.locations[0].parked) == ("ok", ())


def test_all_locations_failing_is_down() -> None:
    assert judge({1: fresh(), 2: fresh()}, recent("failed", "failed")).status == "down"
    assert judge({1: fresh(), 2: fresh()}, recent("failed", "partial")).status == "degraded"


def test_no_good_run_for_more_than_two_intervals_is_down_whatever_the_age_of_the_rows() -> None:
    old = LocationState(NOW - 5 * HOUR, NOW - 5 * HOUR, None, {10: SensorState(watermark=NOW - HOUR)})
    found = judge({1: old}, [run(NOW - 5 * HOUR, location(1))], next_run=NOW - 3 * HOUR)
    assert found.status == "down"
    expected = "No good run for 5 h; the location is current; the next run was due 3 h ago"
    assert found.sentence == expected


def test_failed_runs_do_not_count_as_life() -> None:
    old = LocationState(NOW - 5 * HOUR, NOW - 5 * HOUR, None, {10: SensorState(watermark=NOW - HOUR)})
    runs = [run(NOW - 5 * HOUR, location(1)), run(NOW - HOUR, location(1, "failed"))]
    found = judge({1: old}, runs)
    assert found.status == "down"
    assert found.sentence.startswith("No good run for 5 h; 1 of 1 location failing")


def test_nothing_ever_read_is_down_and_said_plainly() -> None:
    found = judge({1: LocationState()}, [], next_run=None)
    assert (found.status, found.last_run) == ("down", None)
    assert found.sentence == "No run was good yet; 1 of 1 location never read"


def test_no_location_at_all_is_down() -> None:
    found = judge({}, [run(NOW, location(1))], next_run=None)
    assert (found.status, found.sentence) == ("down", "No location is selected")


def test_a_last_run_far_ahead_of_the_clock_is_no_sign_of_life() -> None:
    ahead = NOW + timedelta(days=365)
    state = LocationState(ahead, ahead, None, {10: SensorState(watermark=ahead)})
    found = judge({1: state}, [run(ahead, location(1))])
    assert found.status == "down"
    assert "clock" in found.sentence
    assert found.locations[0].age_seconds == 0


def test_a_clock_set_back_by_minutes_raises_no_alarm() -> None:
    assert judge({1: fresh()}, recent("ok"), now=NOW - timedelta(minutes=45)).status == "ok"


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=20), "less than a minute"),
        (timedelta(minutes=41), "41 min"),
        (2 * HOUR, "2 h"),
        (timedelta(hours=3, minutes=5), "3 h 5 min"),
        (timedelta(days=3, hours=5), "3 days"),
        (-HOUR, "less than a minute"),
    ],
)
def test_spans_are_said_for_people(span: timedelta, words: str) -> None:
    assert in_words(span) == words


moments = st.integers(-6000, 6000).map(lambda quarters: NOW + quarters * timedelta(minutes=15))
sensor_states = st.builds(
    SensorState,
    watermark=st.none() | moments,
    failures=st.integers(0, 9),
    parked_until=st.none() | moments,
    last_error=st.sampled_from([None, "OpenAQ answered 500"]),
)
states = st.dictionaries(
    st.integers(1, 5),
    st.builds(
        LocationState,
        last_fetch_time=st.none() | moments,
        last_successful_run=st.none() | moments,
        sensors=st.dictionaries(st.integers(1, 3), sensor_states, max_size=3),
    ),
    max_size=5,
)
reports = st.builds(location, st.integers(1, 6), st.sampled_from(["ok", "partial", "failed"]))
histories = st.lists(
    st.tuples(moments, st.lists(reports, max_size=4)).map(lambda pair: run(pair[0], *pair[1])), max_size=4
)


@given(states, histories, moments, st.none() | moments, st.none() | st.timedeltas(timedelta(minutes=1), 999 * HOUR))
def test_any_past_and_any_clock_give_a_health_that_does_not_contradict_itself(
    remembered: dict[int, LocationState],
    runs: list[RunMetrics],
    now: datetime,
    next_run: datetime | None,
    interval: timedelta | None,
) -> None:
    found = judge(remembered, runs, now=now, next_run=next_run, interval=interval)
    assert [place.location_id for place in found.locations] == list(remembered)
    assert all(place.age_seconds is None or place.age_seconds >= 0 for place in found.locations)
    assert all((place.latest is None) == (place.age_seconds is None) for place in found.locations)
    if found.status == "ok":
        assert found.locations
        assert all(place.status == "current" and not place.parked for place in found.locations)
        assert any(one.successful_locations for one in runs) or any(
            state.last_successful_run for state in remembered.values()
        )
    if all(place.status == "unknown" for place in found.locations):
        assert found.status == "down"
    assert "\n" not in found.sentence
    assert found.sentence[0].isupper() or found.sentence[0].isdigit()


@given(histories, st.timedeltas(timedelta(0), timedelta(days=3650)))
def test_time_that_passes_without_a_run_never_makes_it_better(runs: list[RunMetrics], later: timedelta) -> None:
    order = ["ok", "degraded", "down"]
    past = [one for one in runs if one.started <= NOW]
    before, after = (judge({1: fresh()}, past, now=moment).status for moment in (NOW, NOW + later))
    assert order.index(after) >= order.index(before)
