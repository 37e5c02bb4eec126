"""How far the data reach: never past now, never past what is stored, and parked sensors come back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.incremental import watermark
from openaq_pipeline.incremental.plan import is_parked
from openaq_pipeline.model import SensorState

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
states = st.builds(
    SensorState,
    watermark=st.none() | moments,
    failures=st.integers(0, 10_000),
    parked_until=st.none() | moments,
    last_error=st.none() | st.just("why"),
    swept=st.none() | moments,
)


@given(states, st.none() | moments, moments)
def test_it_is_never_past_now_never_past_what_was_reached_and_never_moves_back(
    state: SensorState, reached: datetime | None, now: datetime
) -> None:
    after = watermark.advance(state, reached, now).watermark
    if state.watermark is None and reached is None:
        assert after is None
        return
    assert after is not None
    assert after <= now
    assert after in {state.watermark, reached, now}
    assert after >= min(now, state.watermark or after)
    assert after >= min(now, reached or after)
    assert after == now or after <= max(filter(None, (state.watermark, reached)))


@given(states, st.lists(moments), moments)
def test_the_order_of_commits_does_not_matter(state: SensorState, reached: list[datetime], now: datetime) -> None:
    def after(stamps: list[datetime]) -> SensorState:
        result = state
        for stamp in stamps:
            result = watermark.advance(result, stamp, now)
        return result

    assert after(reached) == after(sorted(reached, reverse=True))


@given(states, st.none() | moments)
def test_held_by_the_file_it_is_not_past_the_stored_rows(state: SensorState, stored: datetime | None) -> None:
    held = watermark.held_by(state, stored).watermark
    if state.watermark is None or stored is None:
        assert held is None
    else:
        assert held == min(state.watermark, stored)


@given(states, moments, moments)
def test_nothing_but_the_watermark_moves(state: SensorState, stamp: datetime, now: datetime) -> None:
    for after in (watermark.advance(state, stamp, now), watermark.held_by(state, stamp)):
        assert (after.failures, after.parked_until, after.last_error, after.swept) == (
            state.failures,
            state.parked_until,
            state.last_error,
            state.swept,
        )


@given(states, moments, st.booleans())
def test_a_success_forgets_the_failures_and_keeps_the_watermark(state: SensorState, now: datetime, swept: bool) -> None:
    after = watermark.succeeded(state, now, swept=swept)
    assert after == SensorState(watermark=state.watermark, swept=now if swept else state.swept)


@given(states, moments)
def test_a_failure_keeps_the_watermark_and_the_sweep(state: SensorState, now: datetime) -> None:
    for park, counts in ((True, True), (False, True), (False, False)):
        after = watermark.failed(state, "no", now, park=park, counts=counts)
        assert (after.watermark, after.swept) == (state.watermark, state.swept)
        assert (after.failures, after.last_error) == (state.failures + counts, "no")


def test_the_wait_of_a_parked_sensor_doubles_up_to_a_day() -> None:
    state, now, waits = SensorState(), NOW, []
    for _ in range(8):
        state = watermark.failed(state, "no", now, park=True)
        assert state.parked_until is not None
        waits.append(state.parked_until - now)
        now = state.parked_until
        assert not is_parked(state, now)
    assert waits == [HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 16 * HOUR, DAY, DAY, DAY]


@given(states, moments)
def test_a_parked_sensor_is_probed_again_within_a_day(state: SensorState, now: datetime) -> None:
    after = watermark.failed(state, "no", now, park=True)
    assert after.parked_until is not None
    assert HOUR <= after.parked_until - now <= DAY
    assert is_parked(after, now)
    assert not is_parked(after, now + DAY)


@pytest.mark.parametrize("parked_until", [None, NOW - HOUR])
def test_a_failure_that_may_pass_parks_nothing(parked_until: datetime | None) -> None:
    state = SensorState(parked_until=parked_until)
    assert not is_parked(watermark.failed(state, "no", NOW, park=False), NOW)
