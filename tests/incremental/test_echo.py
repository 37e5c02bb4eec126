"""What is read again of a silent sensor is known as such, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.incremental import echo
from openaq_pipeline.model import Counts, Measurement, SensorState
from tests.measurements import measurement

EDGE, SEEN = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def row(hour: int, value: float | None = 1.0, sensors_id: int = 71) -> Measurement:
    return measurement(value, EDGE + hour * HOUR, first_seen=SEEN, sensors_id=sensors_id)


def test_a_sensor_is_silent_if_all_that_was_read_of_it_lies_before_the_edge() -> None:
    rows = [row(-2), row(-1), row(-3, sensors_id=72), row(0, sensors_id=72), row(0, sensors_id=73)]
    assert echo.silent(rows, EDGE) == {71: rows[:2]}


def test_rows_that_were_read_just_so_are_identical_whenever_and_in_whatever_order_they_come() -> None:
    state = echo.remembered(SensorState(), [row(-2), row(-1)], clean=1)
    later = [msgspec.structs.replace(each, first_seen=SEEN + HOUR) for each in (row(-1), row(-2))]
    assert echo.heard(state, later) == Counts(identical=2, clean=1)
    assert echo.heard(SensorState(), later) is None


def test_the_look_back_and_the_sweep_are_known_side_by_side_and_no_more() -> None:
    reads = [[row(-number) for number in range(1, length)] for length in (3, 4, 5)]
    state = SensorState(watermark=EDGE)
    for rows in reads:
        state = echo.remembered(state, rows, clean=len(rows))
    assert [echo.heard(state, rows) is not None for rows in reads] == [False, True, True]
    assert state.watermark == EDGE


values = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
reads = st.dictionaries(st.integers(-50, -1), values, max_size=5)


@given(reads, reads)
def test_rows_that_differ_in_anything_are_not_known(
    one: dict[int, float | None], other: dict[int, float | None]
) -> None:
    before, after = ([row(hour, value) for hour, value in read.items()] for read in (one, other))
    state = echo.remembered(SensorState(), before, clean=0)
    same = {hour: repr(value) for hour, value in one.items()} == {hour: repr(value) for hour, value in other.items()}
    assert (echo.heard(state, after) is not None) == same
