"""Which grid a sensor reports on, what is missing there, and what is its next step."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from openaq_pipeline.incremental.rhythm import holes, interval_of, is_next

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)

steps = st.sampled_from([60, 300, 600, 900, 1800, 3600, 7200, 10800, 86400])


def at(*hours: float) -> list[datetime]:
    return [BEGINNING + hour * HOUR for hour in hours]


@given(steps, st.integers(0, 10**6), st.integers(4, 60), st.data())
def test_rows_on_a_grid_have_its_step_in_whatever_order_and_however_often(
    step: int, start: int, count: int, data: st.DataObject
) -> None:
    rows = [BEGINNING + (start + number * step) * SECOND for number in range(count)]
    again = data.draw(st.lists(st.sampled_from(rows), max_size=5))
    assert interval_of(data.draw(st.permutations(rows + again))) == step


@given(steps, st.sets(st.integers(1, 98), max_size=20))
def test_holes_hide_no_grid(step: int, missing: set[int]) -> None:
    rows = [BEGINNING + number * step * SECOND for number in range(100) if number not in missing]
    assert interval_of(rows) == step


@given(steps, st.integers(4, 40), st.data())
def test_one_row_off_the_grid_is_passed_over(step: int, count: int, data: st.DataObject) -> None:
    rows = [BEGINNING + number * step * SECOND for number in range(count)]
    off = data.draw(st.integers(-step, count * step).filter(lambda second: second % step != 0))
    assert interval_of([*rows, BEGINNING + off * SECOND]) == step


@given(st.lists(st.integers(0, 59), min_size=4, max_size=40))
def test_rows_at_any_second_are_irregular(seconds: list[int]) -> None:
    rows = [BEGINNING + (number * 3600 + second) * SECOND for number, second in enumerate(seconds)]
    spacings = [late - early for early, late in pairwise(rows)]
    common = max(spacings.count(spacing) for spacing in spacings)
    assume(common < len(spacings) / 2 and max(map(seconds.count, seconds)) < len(seconds) - 1)
    assert interval_of(rows) is None


@pytest.mark.parametrize(
    ("rows", "interval"),
    [
        ([], None),
        (at(0, 1, 2), None),
        (at(0, 1, 2, 2, 2), None),
        (at(0, 1, 2, 3), 3600),
        (at(0, 1, 3, 9, 10, 11), 3600),
        (at(0, 1, 1.3, 2), None),  # three rows and a stray one are too few
        (at(0, 1, 1.5, 2), 1800),
        (at(0, 1, 1.5, 2, 3), 3600),
        (at(0, 0.5, 1, 1.5, 2), 1800),
        (at(0, 1, 2, 3, 4.5, 5.5, 6.5, 7.5), 3600),  # the station changed its minute of the hour
        ([BEGINNING + number * SECOND for number in range(0, 600, 30)], None),
        ([BEGINNING + number * SECOND for number in range(600)], None),
        # whole minutes, but now one and now another number of them: no grid that tells what is missing
        ([BEGINNING + timedelta(minutes=minute) for minute in (0, 1, 4, 9, 10, 12, 19, 20, 26)], None),
        (at(0, 1, 2, 3, 3.3, 4.7, 5.9), None),
    ],
)
def test_what_counts_as_a_grid(rows: list[datetime], interval: int | None) -> None:
    assert interval_of(rows) == interval


def test_rows_stamped_in_the_year_1_and_in_9999_break_nothing() -> None:
    edges = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    rows = [*at(*range(20)), *edges]
    assert interval_of(rows) == 3600
    assert holes(rows, 3600, since=BEGINNING, until=BEGINNING + 20 * HOUR) == ()


@given(steps, st.sets(st.integers(1, 58)), st.integers(-5, 65), st.integers(-5, 65), st.integers(1, 30))
def test_holes_are_what_is_missing_between_two_rows_the_newest_ones_first_to_be_kept(
    step: int, missing: set[int], since: int, until: int, most: int
) -> None:
    def moment(number: int) -> datetime:
        return BEGINNING + number * step * SECOND

    there = [number for number in (0, 1, *range(2, 58), 58, 59) if number not in missing - {1, 58}]
    last = max((number for number in there if number <= until), default=0)
    expected = [moment(number) for number in sorted(missing - {1, 58}) if since < number <= until and number < last]
    found = holes([moment(number) for number in reversed(there)], step, moment(since), moment(until), most)
    if until >= 1:  # with a single row nothing tells the grid
        assert list(found) == expected[-most:]
    else:
        assert found == ()


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        ([], []),
        (at(3), []),
        (at(0, 1, 3), [2]),
        (at(0, 1, 1.5, 3), [2]),  # a row off the grid neither fills nor makes a hole
        (at(0, 1, 3, 3.5), [2]),  # nor does it as the last one
        (at(-0.5, 0, 1, 3), [2]),
        (at(0, 1, 2, 4.5, 5.5, 7.5), [6.5]),  # since it changed its minute, not before
        (at(0.1, 1.3, 2.4, 3.6), []),
        (at(0, 1, 2, 9), [3, 4, 5, 6, 7, 8]),
        (at(0, 1, 2, 900), []),  # a row of the future
    ],
)
def test_what_counts_as_a_hole(rows: list[datetime], missing: list[float]) -> None:
    found = holes(rows, 3600, since=BEGINNING - HOUR, until=BEGINNING + 10 * HOUR)
    assert list(found) == at(*missing)


def test_of_a_window_the_start_is_out_and_the_end_is_in() -> None:
    rows = at(0, 1, 5, 6)
    assert holes(rows, 3600, since=at(2)[0], until=at(6)[0]) == tuple(at(3, 4))
    assert holes([*rows, *at(8)], 3600, since=at(6)[0], until=at(8)[0]) == tuple(at(7))


def test_a_row_that_comes_late_closes_its_hole() -> None:
    rows = at(*(hour for hour in range(72) if hour not in {40, 50}))
    until = BEGINNING + 72 * HOUR
    assert holes(rows, 3600, BEGINNING, until) == tuple(at(40, 50))
    assert holes([*rows, *at(40)], 3600, BEGINNING, until) == tuple(at(50))


@pytest.mark.parametrize(
    ("watermark", "interval", "stamp", "is_it"),
    [
        (BEGINNING, 3600, BEGINNING + HOUR, True),
        (BEGINNING, 3600, BEGINNING + 2 * HOUR, False),
        (BEGINNING, 3600, BEGINNING + HOUR + SECOND, False),
        (BEGINNING, 3600, BEGINNING, False),
        (BEGINNING, 3600, BEGINNING - HOUR, False),
        (BEGINNING, None, BEGINNING + HOUR, False),
        (None, 3600, BEGINNING + HOUR, False),
    ],
)
def test_the_next_step_is_exactly_one_ahead(
    watermark: datetime | None, interval: int | None, stamp: datetime, is_it: bool
) -> None:
    assert is_next(watermark, interval, stamp) == is_it


def test_two_thousand_rows_cost_next_to_nothing() -> None:
    rows = at(*(hour for hour in range(2_100) if hour % 21))
    start = time.process_time()
    for _ in range(10):
        interval = interval_of(rows)
        found = holes(rows, interval or 0, since=rows[0], until=rows[-1])
    assert len(found) == 24
    assert time.process_time() - start < 0.5  # measured: 0.03
