"""Which requests a poll is worth: as few as show what is new, the most urgent first."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.incremental import planner
from openaq_pipeline.incremental.planner import Ask, Due, Probes, Standing, Urgency, Verdict
from openaq_pipeline.model import Latest, LocationState, Rhythm, Sensor, SensorState

NOW = datetime(2026, 11, 25, 12, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOON = NOW.replace(minute=0)
HOURLY = Rhythm(3600, NOW - HOUR)


def state(
    watermark: datetime | None = NOON - HOUR, rhythm: Rhythm = HOURLY, swept: datetime | None = NOW - HOUR
) -> SensorState:
    return SensorState(watermark=watermark, swept=swept, rhythm=rhythm)


def latest(stamp: datetime, value: float | None = 7.0) -> Latest:
    return Latest(1, 11, stamp, "local", value)


# What can be expected of a sensor


@pytest.mark.parametrize(
    ("known", "looked_at", "expected"),
    [
        (SensorState(), None, Standing.FIRST),
        (state(swept=None), NOW - HOUR, Standing.FIRST),
        (state(watermark=None), NOW - HOUR, Standing.SILENT),
        (SensorState(parked_until=NOW + HOUR), NOW, Standing.PARKED),
        (SensorState(parked_until=NOW - HOUR), NOW, Standing.AGAIN),
        (state(NOON), NOW - HOUR, Standing.IDLE),
        (state(NOON - HOUR), NOW - HOUR, Standing.STEP),
        (state(NOON - HOUR), None, Standing.BEHIND),
        (state(NOON - 2 * HOUR), NOW - 2 * HOUR, Standing.BEHIND),
        (state(NOON - 30 * HOUR), NOW - 30 * HOUR, Standing.BEHIND),
        (state(NOON - 30 * HOUR), NOW - HOUR, Standing.SILENT),
        (state(NOON - HOUR, Rhythm(None, NOW - HOUR)), NOW - HOUR, Standing.STEP),
        (state(NOON - HOUR, Rhythm(900, NOW - HOUR)), NOW - HOUR, Standing.BEHIND),
        (state(NOON - HOUR, Rhythm(86_400, NOW - HOUR)), NOW - HOUR, Standing.IDLE),
    ],
)
def test_a_sensor_stands_by_what_is_due_since_the_last_look(
    known: SensorState, looked_at: datetime | None, expected: Standing
) -> None:
    assert planner.standing(known, looked_at, NOW) is expected


def test_a_provider_that_is_always_two_hours_behind_still_has_one_new_row_an_hour() -> None:
    assert planner.standing(state(NOON - 3 * HOUR), NOW - HOUR, NOW) is Standing.STEP


# Where a list is cheaper than the series


def test_a_location_with_two_sensors_to_settle_is_listed_and_one_with_a_single_one_is_not() -> None:
    open_ = {1: Counter({2: 1, 10: 1}), 2: Counter({2: 1}), 3: Counter({2: 2})}
    assert planner.probes(open_, Counter(), Counter({2: 4, 10: 1})) == Probes((), (1, 3))


def test_a_thousand_locations_are_cheaper_by_parameter() -> None:
    open_ = {key: Counter({1: 1, 2: 1, 7: 1, 10: 1}) for key in range(1, 1001)}
    found = planner.probes(open_, Counter(), Counter({1: 1000, 2: 1000, 7: 1000, 10: 1000}))
    assert found == Probes((1, 2, 7, 10), ())


def test_a_parameter_of_a_few_sensors_is_left_to_the_lists_of_their_locations() -> None:
    open_ = {key: Counter({2: 1}) for key in range(1, 1000)} | {1000: Counter({2: 1, 150: 1, 151: 1})}
    found = planner.probes(open_, Counter(), Counter({2: 1000, 150: 1, 151: 1}))
    assert found == Probes((2,), (1000,))


def test_lists_come_before_a_first_load_only_where_they_are_a_small_part_of_it() -> None:
    assert planner.probes({}, Counter({2: 10}), Counter({2: 10})) == Probes((), ())
    assert planner.probes({}, Counter({2: 5000}), Counter({2: 5000})) == Probes((2,), ())


def test_of_all_of_openaq_a_list_has_a_page_for_each_thousand_sensors() -> None:
    assert planner.pages_of(2, Counter({2: 22_435, 1: 77_565})) == 23


@given(
    st.dictionaries(
        st.integers(1, 60),
        st.dictionaries(st.integers(1, 6), st.integers(1, 3), min_size=1, max_size=4).map(Counter),
        max_size=40,
    )
)
def test_every_sensor_is_listed_or_alone_in_its_location_and_never_at_more_requests_than_one_a_location(
    open_: dict[int, Counter[int]],
) -> None:
    selected: Counter[int] = sum(open_.values(), Counter())
    found = planner.probes(open_, Counter(), selected)
    alone = 0
    for key, counts in open_.items():
        uncovered = sum(n for parameter, n in counts.items() if parameter not in found.parameters)
        assert (key in found.locations) == (uncovered > 1)
        alone += uncovered == 1
    pages = sum(planner.pages_of(parameter, selected) for parameter in found.parameters)
    assert pages + len(found.locations) + alone <= len(open_)


# What a list says


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (latest(NOON - HOUR), Verdict.NOTHING),
        (latest(NOON - 2 * HOUR), Verdict.NOTHING),
        (latest(NOON), Verdict.NEXT),
        (latest(NOON, value=None), Verdict.MORE),
        (latest(NOON + HOUR), Verdict.MORE),
        (latest(NOON - HOUR / 2), Verdict.MORE),
        (None, Verdict.MORE),
    ],
)
def test_only_the_very_next_row_is_taken_from_a_list(row: Latest | None, expected: Verdict) -> None:
    assert planner.verdict(state(NOON - HOUR), Standing.STEP, row) is expected


def test_a_row_behind_a_gap_is_not_the_missing_one() -> None:
    assert planner.verdict(state(NOON - 2 * HOUR), Standing.STEP, latest(NOON)) is Verdict.MORE


def test_a_sensor_without_a_known_interval_has_no_next_row() -> None:
    assert planner.verdict(state(rhythm=Rhythm()), Standing.STEP, latest(NOON)) is Verdict.MORE


@pytest.mark.parametrize("standing", [Standing.SILENT, Standing.FIRST])
def test_a_sensor_that_may_well_be_dead_is_not_missed_in_a_list(standing: Standing) -> None:
    assert planner.verdict(state(), standing, None) is Verdict.NOTHING


def test_a_latest_row_becomes_a_measurement_with_the_unit_of_its_sensor_and_no_word_on_flags() -> None:
    row = planner.as_measurement(1, latest(NOON), Sensor(11, 10, "o3", "ppm"), HOURLY, NOW)
    assert (row.sensors_id, row.parameters_id, row.parameter, row.units, row.value) == (11, 10, "o3", "ppm", 7.0)
    assert (row.datetime, row.datetime_local, row.interval_seconds, row.has_flags) == (NOON, "local", 3600, None)
    assert (row.source, row.first_seen) == ("latest", NOW)


# What a series is worth a request for


def due(
    known: SensorState, standing: Standing, found: Verdict | None, *, again: bool = False, now: datetime = NOW
) -> Due | None:
    return planner.due(known, standing, found, look_back=DAY, again=again, now=now)


def test_nothing_is_asked_of_a_sensor_that_has_all_its_rows() -> None:
    assert due(state(NOON), Standing.IDLE, None) is None
    assert due(state(), Standing.STEP, Verdict.NOTHING) is None


@pytest.mark.parametrize(
    ("known", "standing", "found", "expected"),
    [
        (state(), Standing.STEP, Verdict.MORE, Due(Urgency.NEWS, NOW - HOUR)),
        (state(), Standing.BEHIND, None, Due(Urgency.NEWS, NOW - HOUR)),
        (state(NOON - 9 * DAY), Standing.SILENT, Verdict.MORE, Due(Urgency.NEWS, NOW - HOUR)),
        (state(NOON, Rhythm(3600, NOW - DAY)), Standing.STEP, Verdict.MORE, Due(Urgency.NEWS, NOON)),
        (SensorState(), Standing.FIRST, None, Due(Urgency.FIRST_LOAD, NOW)),
        (SensorState(), Standing.FIRST, Verdict.NOTHING, Due(Urgency.ROUTINE, NOW)),
        (SensorState(parked_until=NOW - HOUR), Standing.AGAIN, None, Due(Urgency.ROUTINE, NOW - HOUR)),
        (SensorState(parked_until=NOW + HOUR), Standing.PARKED, None, None),
        (state(swept=NOW - 25 * HOUR), Standing.IDLE, None, Due(Urgency.ROUTINE, NOW - HOUR)),
    ],
)
def test_a_series_is_asked_for_what_it_is_due_for(
    known: SensorState, standing: Standing, found: Verdict | None, expected: Due | None
) -> None:
    assert due(known, standing, found) == expected


def test_a_hole_is_urgent_when_its_age_has_doubled_and_looked_at_while_there_is_room_until_the_look_back_ends() -> None:
    hole = NOON - 8 * HOUR
    urgent, spare, read_at = [], [], hole + HOUR
    for hours in range(2, 30):
        now = hole + hours * HOUR
        known = state(hole + hours * HOUR, Rhythm(3600, read_at, (hole,)), swept=now)
        match due(known, Standing.IDLE, None, now=now):
            case Due(Urgency.LOOK_BACK):
                urgent.append(hours)
                read_at = now
            case Due(Urgency.SPARE):
                spare.append(hours)
    assert urgent == [2, 4, 8, 16]
    assert sorted([*urgent, *spare]) == list(range(2, 25))


def test_a_hole_keeps_no_sensor_from_its_sweep_where_there_is_always_news() -> None:
    rhythm = Rhythm(3600, NOW - 3 * DAY, (NOON - 9 * HOUR,))
    assert due(state(NOON, rhythm, swept=NOW - 40 * HOUR), Standing.IDLE, None) == Due(
        Urgency.LOOK_BACK, NOON - 9 * HOUR
    )
    assert due(state(NOON, rhythm, swept=NOW - 2 * DAY), Standing.IDLE, None) == Due(Urgency.ROUTINE, NOW - DAY)


def test_the_oldest_hole_that_is_due_speaks_for_its_sensor() -> None:
    rhythm = Rhythm(3600, NOW - 3 * HOUR, (NOON - 40 * HOUR, NOON - 20 * HOUR, NOON - 4 * HOUR))
    assert due(state(NOON, rhythm), Standing.IDLE, None) == Due(Urgency.LOOK_BACK, NOON - 4 * HOUR)


def test_who_looks_again_at_once_has_everything_read_again_if_there_is_room() -> None:
    assert due(state(NOON), Standing.IDLE, None, again=True) == Due(Urgency.SPARE, NOW)
    assert due(SensorState(parked_until=NOW + HOUR), Standing.PARKED, None, again=True) is None


def test_a_look_back_is_the_usual_one_until_a_location_has_told_enough() -> None:
    few, many = (state(rhythm=Rhythm(3600, NOW, (), (n, *[0] * 8))) for n in (400, 700))
    bounds = {"usual": DAY, "least": 6 * HOUR, "most": 3 * DAY}
    assert planner.look_back_of([few], **bounds) == DAY
    assert planner.look_back_of([few, many, SensorState()], **bounds) == 6 * HOUR


@pytest.mark.parametrize(("usual", "most"), [(timedelta(0), timedelta(0)), (96 * HOUR, 72 * HOUR)])
def test_a_look_back_that_the_user_has_set_beyond_the_bounds_holds(usual: timedelta, most: timedelta) -> None:
    assert planner.look_back_of([], usual=usual, least=6 * HOUR, most=most) == usual


# Which of them fit


def asks(*urgencies: Urgency, location_id: int = 1, requests: int = 1) -> list[Ask]:
    return [Ask(location_id, number, each, NOW, requests) for number, each in enumerate(urgencies)]


def test_the_most_urgent_are_taken_first_and_the_rest_waits() -> None:
    choice = planner.choose(asks(Urgency.ROUTINE, Urgency.FIRST_LOAD, Urgency.LOOK_BACK, Urgency.NEWS), 3)
    assert [ask.urgency for ask in choice.taken] == [Urgency.NEWS, Urgency.LOOK_BACK, Urgency.FIRST_LOAD]
    assert [ask.urgency for ask in choice.deferred] == [Urgency.ROUTINE]


def test_without_a_limit_nothing_waits() -> None:
    assert planner.choose(asks(*[Urgency.NEWS] * 9), None).deferred == []


def test_the_oldest_comes_first() -> None:
    old, new = Ask(1, 1, Urgency.NEWS, NOW - DAY), Ask(2, 2, Urgency.NEWS, NOW)
    assert planner.choose([new, old], 1).taken == [old]


def test_each_location_has_its_first_turn_before_any_has_its_second() -> None:
    many = [Ask(1, number, Urgency.NEWS, NOW - DAY) for number in range(5)]
    other = Ask(2, 9, Urgency.NEWS, NOW)
    assert [ask.location_id for ask in planner.choose([*many, other], 2).taken] == [1, 2]


def test_what_costs_more_than_the_whole_room_is_taken_alone_and_not_put_off_for_ever() -> None:
    large = Ask(1, 1, Urgency.FIRST_LOAD, NOW - DAY, 9)
    choice = planner.choose([large, Ask(2, 2, Urgency.FIRST_LOAD, NOW)], 3)
    assert choice.taken == [large]
    assert planner.choose([large], 0).taken == []


def test_where_there_is_always_news_the_others_still_have_their_part() -> None:
    wanted = [*asks(*[Urgency.NEWS] * 40), *asks(*[Urgency.FIRST_LOAD] * 40, location_id=2)]
    taken = planner.choose(wanted, 16).taken
    assert Counter(ask.urgency for ask in taken) == {Urgency.NEWS: 14, Urgency.FIRST_LOAD: 2}
    assert Counter(ask.urgency for ask in planner.choose(wanted, 2).taken) == {Urgency.NEWS: 1, Urgency.FIRST_LOAD: 1}
    assert len(planner.choose(asks(*[Urgency.NEWS] * 40, *[Urgency.SPARE] * 9), 16).taken) == 16


@pytest.mark.parametrize(
    ("gap", "requests"),
    [
        (HOUR, 100 + 100 + math.ceil(100 * 4 / 24)),
        (HOUR / 4, 400 + 100),
        (2 * HOUR, 400 + 100),
    ],
)
def test_a_backfill_leaves_polls_what_they_ask_now(gap: timedelta, requests: int) -> None:
    location = LocationState(sensors={number: state() for number in range(4)})
    assert planner.usual_requests([location] * 100, gap) == requests


def test_what_was_never_read_and_what_is_irregular_is_asked_for_each_time() -> None:
    location = LocationState(sensors={1: SensorState(), 2: state(rhythm=Rhythm(None, NOW)), 3: state()})
    assert planner.usual_requests([location], HOUR) == 2 + 1 + 1 + 1


@given(
    st.lists(
        st.builds(
            Ask,
            st.integers(1, 4),
            st.integers(1, 9),
            st.sampled_from(Urgency),
            st.integers(0, 9).map(lambda hours: NOW - hours * HOUR),
            st.integers(1, 4),
        ),
        unique_by=lambda ask: (ask.location_id, ask.sensors_id),
    ),
    st.integers(0, 40),
)
def test_every_ask_is_taken_or_waits_by_its_turn_and_the_room_is_kept(wanted: list[Ask], room: int) -> None:
    choice = planner.choose(wanted, room)
    assert sorted(map(repr, (*choice.taken, *choice.deferred))) == sorted(map(repr, wanted))
    for urgent in (True, False):
        taken, waits = (
            [ask.urgency for ask in part if (ask.urgency <= Urgency.LOOK_BACK) is urgent]
            for part in (choice.taken, choice.deferred)
        )
        assert not taken or not waits or max(taken) <= min(waits)
    if all(ask.requests == 1 for ask in wanted):
        assert len(choice.taken) == min(room, len(wanted))
    largest = max((ask.requests for ask in wanted), default=0)
    assert sum(ask.requests for ask in choice.taken) <= room + largest
