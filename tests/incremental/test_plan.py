"""Which windows are asked for: never a gap, never beyond now, and what a run will cost."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.incremental import plan, watermark
from openaq_pipeline.model import SensorState, Window

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
spans = st.timedeltas(timedelta(0), timedelta(days=10))


def window(
    state: SensorState,
    now: datetime = NOW,
    *,
    initial: timedelta = 30 * DAY,
    lookback: timedelta = DAY,
    sweep: timedelta = 3 * DAY,
) -> Window | None:
    return plan.plan_window(state, now, initial=initial, lookback=lookback, sweep=sweep)


def test_a_new_sensor_is_asked_for_the_initial_span() -> None:
    assert window(SensorState()) == Window(NOW - 30 * DAY, NOW)


def test_a_known_sensor_is_asked_from_its_watermark_less_the_look_back() -> None:
    state = SensorState(watermark=NOW - 5 * HOUR, swept=NOW - HOUR)
    assert window(state) == Window(NOW - 5 * HOUR - DAY, NOW)


def test_once_a_day_the_look_back_is_the_wide_one() -> None:
    state = SensorState(watermark=NOW - HOUR, swept=NOW - DAY)
    assert window(state) == Window(NOW - HOUR - 3 * DAY, NOW)


def test_a_sweep_that_is_narrower_than_the_look_back_narrows_nothing() -> None:
    state = SensorState(watermark=NOW - HOUR, swept=NOW - DAY)
    assert window(state, lookback=3 * DAY, sweep=DAY) == Window(NOW - HOUR - 3 * DAY, NOW)


def test_a_sweep_that_had_to_wait_reaches_back_as_far_as_it_would_have_on_its_day() -> None:
    # A short room: lists kept the watermark going for five days, and what came late meanwhile was never looked for.
    state = SensorState(watermark=NOW - HOUR, swept=NOW - 5 * DAY)
    assert window(state) == Window(NOW - 5 * DAY - 2 * DAY, NOW)
    assert window(state, sweep=timedelta(0)) == Window(NOW - 5 * DAY, NOW)


def test_a_sensor_whose_window_was_never_read_whole_is_asked_for_the_first_span_again() -> None:
    # A first load that was cut off, a reset: between the first day and the watermark there may be holes.
    state = SensorState(watermark=NOW - HOUR)
    assert window(state) == Window(NOW - 30 * DAY, NOW)


def test_a_sensor_that_was_silent_when_last_read_is_asked_from_then_on_however_long_ago() -> None:
    # The daemon was off for 40 days: 30 of them would leave a gap of ten.
    state = SensorState(swept=NOW - 40 * DAY)
    assert window(state) == Window(NOW - 41 * DAY, NOW)


def test_a_sensor_silent_until_yesterday_is_asked_for_the_initial_span() -> None:
    assert window(SensorState(swept=NOW - DAY), initial=30 * DAY) == Window(NOW - 30 * DAY, NOW)


def test_a_sensor_parked_under_a_clock_that_was_set_back_is_asked() -> None:
    assert not plan.is_parked(SensorState(parked_until=NOW + timedelta(days=365)), NOW)
    assert plan.is_parked(SensorState(parked_until=NOW + DAY), NOW)


@pytest.mark.parametrize("until", [NOW + HOUR, NOW + timedelta(microseconds=1)])
def test_a_parked_sensor_is_asked_nothing(until: datetime) -> None:
    assert window(SensorState(watermark=NOW - DAY, parked_until=until)) is None


@pytest.mark.parametrize("until", [NOW, NOW - HOUR])
def test_a_sensor_whose_probe_is_due_is_asked_all_that_was_missed(until: datetime) -> None:
    state = SensorState(watermark=NOW - 9 * DAY, parked_until=until, swept=NOW)
    assert window(state) == Window(NOW - 10 * DAY, NOW)


def test_nothing_is_asked_when_there_is_no_time_to_ask_for() -> None:
    state = SensorState(watermark=NOW + HOUR, swept=NOW)
    assert window(state, lookback=timedelta(0)) is None


def test_a_clock_set_back_still_looks_back_from_now() -> None:
    state = SensorState(watermark=NOW + 900 * DAY, swept=NOW)
    assert window(state) == Window(NOW - DAY, NOW)


@pytest.mark.parametrize(
    ("swept", "due"),
    [
        (None, True),
        (NOW, False),
        (NOW - DAY + timedelta(seconds=1), False),
        (NOW - DAY, True),
        (NOW - 900 * DAY, True),
        (NOW + timedelta(seconds=1), True),  # the clock was set back
    ],
)
def test_a_sweep_is_due_daily(swept: datetime | None, due: bool) -> None:
    assert plan.is_sweep_due(SensorState(swept=swept), NOW) == due


@given(
    st.builds(SensorState, watermark=st.none() | moments, swept=st.none() | moments, parked_until=st.none() | moments),
    moments,
    spans,
    spans,
)
def test_a_window_ends_now_and_is_in_whole_seconds(
    state: SensorState, now: datetime, lookback: timedelta, sweep: timedelta
) -> None:
    found = window(state, now, lookback=lookback, sweep=sweep)
    if found is None:
        assert plan.is_parked(state, now) or lookback < timedelta(seconds=1)
        return
    assert found.start.microsecond == found.end.microsecond == 0
    assert timedelta(0) <= now - found.end < timedelta(seconds=1)
    assert found.length > timedelta(0)
    if state.watermark is not None:
        assert found.start <= min(state.watermark, now) - lookback


# One life of a sensor: how long until the next run, whether it answers, how old its newest row is (None: no rows).
lives = st.lists(
    st.tuples(
        st.timedeltas(timedelta(seconds=1), timedelta(days=60)),
        st.booleans(),
        st.none() | st.timedeltas(timedelta(0), timedelta(days=5)),
    ),
    min_size=2,
    max_size=12,
)


@given(lives, spans, spans)
def test_the_windows_that_were_read_leave_no_gap_whatever_fails_in_between(
    life: list[tuple[timedelta, bool, timedelta | None]], lookback: timedelta, sweep: timedelta
) -> None:
    state, now = SensorState(), NOW
    read: list[Window] = []
    for pause, answers, age in life:
        now += pause
        asked = window(state, now, lookback=lookback, sweep=sweep)
        if asked is None:
            continue
        if not answers:
            state = watermark.failed(state, "no", now, park=True)
            continue
        swept = state.watermark is None or plan.is_sweep_due(state, now)
        newest = asked.end - age if age is not None and asked.end - age > asked.start else None
        state = watermark.succeeded(watermark.advance(state, newest, now), now, swept=swept)
        read.append(asked)
        assert state.watermark is None or state.watermark <= now
    assert all(later.start <= earlier.end for earlier, later in itertools.pairwise(read))


@pytest.mark.parametrize(
    ("hours", "requests"), [(1, 1), (24, 1), (720, 1), (999, 1), (1000, 2), (1999, 2), (24 * 365, 9)]
)
def test_a_window_costs_a_request_for_each_page_begun(hours: int, requests: int) -> None:
    assert plan.requests_for([Window(NOW - hours * HOUR, NOW)]) == requests
    assert plan.requests_for([Window(NOW - hours * HOUR, NOW)] * 3) == 3 * requests


def test_no_windows_cost_nothing() -> None:
    assert plan.requests_for([]) == 0
    assert plan.minutes_for(0, per_minute=60, per_hour=2000) == 0


def minutes_by_schedule(requests: int, per_minute: int, per_hour: int) -> float:
    """Return the minute at which the last request leaves when each leaves as soon as it may."""
    times: list[float] = []
    for number in range(requests):
        minute = times[number - per_minute] + 1 if number >= per_minute else 0.0
        hour = times[number - per_hour] + 60 if number >= per_hour else 0.0
        times.append(max(minute, hour))
    return times[-1] if times else 0.0


# per_minute 60 and per_hour 2000, unless they are named
@pytest.mark.parametrize(
    ("requests", "used_minute", "used_hour", "minutes"),
    [
        (0, 60, 2000, 0),
        (1, 0, 0, 0),
        (60, 0, 0, 0),
        (61, 0, 0, 1),
        (1, 60, 60, 1),  # this minute is used up
        (60, 1, 1, 1),
        (1940, 60, 60, 33),  # the last of this hour: 60 gone, 32 full minutes and 20 more in the 33rd
        (1941, 60, 60, 60),  # one more than this hour has
        (1, 0, 2000, 60),  # this hour is used up
        (61, 0, 2000, 61),
        (2001, 0, 2000, 120),
        (1, 0, 5000, 60),  # the limit was lowered meanwhile
        (4000, 0, 0, 60 + 33),
    ],
)
def test_the_minutes_left_know_what_of_this_minute_and_hour_is_used(
    requests: int, used_minute: int, used_hour: int, minutes: float
) -> None:
    told = plan.minutes_left(requests, used_minute=used_minute, used_hour=used_hour, per_minute=60, per_hour=2000)
    assert told == minutes


def test_the_minutes_left_know_a_minute_that_is_narrower_than_the_hour() -> None:
    assert plan.minutes_left(2001, used_minute=0, used_hour=0, per_minute=1, per_hour=2000) == 2000


@given(
    st.integers(0, 900),
    st.integers(0, 60),
    st.integers(0, 900),
    st.integers(1, 60),
    st.integers(1, 300),
    st.integers(1, 9),
)
def test_the_minutes_left_are_never_fewer_than_on_an_unused_budget_and_grow_with_what_is_left(
    requests: int, used_minute: int, used_hour: int, per_minute: int, per_hour: int, more: int
) -> None:
    def left(number: int) -> float:
        return plan.minutes_left(
            number, used_minute=used_minute, used_hour=used_hour, per_minute=per_minute, per_hour=per_hour
        )

    assert left(requests) >= plan.minutes_for(requests, per_minute=per_minute, per_hour=per_hour)
    assert left(requests + more) >= left(requests)


@given(st.integers(0, 500), st.integers(1, 30), st.integers(1, 300))
def test_the_minutes_are_those_of_the_quickest_schedule(requests: int, per_minute: int, per_hour: int) -> None:
    told = plan.minutes_for(requests, per_minute=per_minute, per_hour=per_hour)
    assert told == minutes_by_schedule(requests, per_minute, per_hour)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, (0, 100)),
        (50, None, (49, 100)),
        (-50, 200, (0, 100)),
        (10, 60, (9, 60)),
        (200, 300, (100, 100)),
        (-300, -200, (0, 0)),
    ],
)
def test_what_a_window_costs_is_reckoned_where_its_location_has_rows(
    first: int | None, last: int | None, expected: tuple[int, int]
) -> None:
    def moment(number: int | None) -> datetime | None:
        return None if number is None else NOW + timedelta(hours=number)

    found = plan.reported(Window(NOW, NOW + timedelta(hours=100)), moment(first), moment(last))
    assert found == Window(NOW + timedelta(hours=expected[0]), NOW + timedelta(hours=expected[1]))
