"""How late rows come is counted, and the look-back is just long enough for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.incremental.lateness import (
    BOUNDS_HOURS,
    HALVED_ABOVE,
    LEAST_COUNTED,
    counted,
    late_by,
    look_back,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
USUAL, LEAST, MOST = 24 * HOUR, 3 * HOUR, 72 * HOUR
ON_TIME = timedelta(0)

spans = st.timedeltas(timedelta(0), timedelta(days=12))
lengths = st.timedeltas(timedelta(hours=1), timedelta(days=5))


def learnt(histogram: tuple[int, ...]) -> timedelta:
    return look_back(histogram, usual=USUAL, least=LEAST, most=MOST)


def rows(on_time: int, **late: int) -> list[timedelta]:
    """So many rows on time, and `h30=5`: five that are 30 hours late."""
    return [ON_TIME] * on_time + [float(key[1:]) * HOUR for key, count in late.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("hours", "bucket"),
    [(0, 0), (0.99, 0), (1, 1), (2.5, 2), (3, 3), (6, 4), (23.99, 5), (24, 6), (71.99, 7), (72, 8), (999, 8)],
)
def test_a_bucket_ends_where_a_look_back_of_its_length_reads_no_more(hours: float, bucket: int) -> None:
    assert counted((), [hours * HOUR])[bucket] == 1


@given(st.lists(spans, max_size=60), st.lists(spans, max_size=60))
def test_it_does_not_matter_in_which_portions_rows_are_counted(one: list[timedelta], other: list[timedelta]) -> None:
    assert counted(counted((), one), other) == counted((), one + other)
    assert sum(counted((), one)) == len(one)


@given(st.lists(st.integers(0, 9000), min_size=9, max_size=9), st.lists(spans, max_size=9))
def test_the_sum_stays_bounded_and_nothing_seen_is_ever_forgotten(before: list[int], late: list[timedelta]) -> None:
    after = counted(tuple(before), late)
    assert sum(after) <= HALVED_ABOVE
    assert all(count > 0 for count, old in zip(after, before, strict=True) if old)


def test_what_is_kept_of_other_bounds_is_begun_anew() -> None:
    assert counted((5, 5, 5), [ON_TIME]) == (1, *[0] * len(BOUNDS_HOURS))
    assert learnt((5000, 5)) == USUAL


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (rows(0), USUAL),
        (rows(LEAST_COUNTED - 1), USUAL),
        (rows(LEAST_COUNTED), LEAST),
        (rows(995, h30=5), LEAST),
        (rows(994, h30=6), 48 * HOUR),
        (rows(985, h5=10, h30=5), 6 * HOUR),
        (rows(985, h5=5, h30=10), 48 * HOUR),
        (rows(990, h100=10), MOST),
        (rows(0, h1=2000), LEAST),
        (rows(0, h10=2000), 12 * HOUR),
    ],
)
def test_the_look_back_finds_995_of_1000_rows_and_is_bounded(late: list[timedelta], expected: timedelta) -> None:
    assert learnt(counted((), late)) == expected


@given(st.lists(st.integers(0, 2000), min_size=9, max_size=9), lengths, lengths, lengths)
def test_the_look_back_is_one_of_the_bounds_or_a_limit(
    histogram: list[int], usual: timedelta, least: timedelta, most: timedelta
) -> None:
    least, most = min(least, most), max(least, most)
    found = look_back(tuple(histogram), usual=usual, least=least, most=most)
    if sum(histogram) < LEAST_COUNTED:
        assert found == usual
        return
    assert least <= found <= most
    later = sum(
        count
        for bound, count in zip(BOUNDS_HOURS, histogram[1:], strict=True)
        if found <= bound * HOUR  # the bucket that begins at this bound is not read by a look-back up to it
    )
    assert later <= sum(histogram) * 0.005 or found == most


@given(st.lists(st.integers(0, 1500), min_size=9, max_size=9), st.integers(0, 8))
def test_more_rows_of_one_lateness_never_move_the_look_back_away_from_it(histogram: list[int], place: int) -> None:
    more = [count + 500 * (number == place) for number, count in enumerate(histogram)]
    before, after = learnt(tuple(histogram)), learnt(tuple(more))
    bound = BOUNDS_HOURS[place] * HOUR if place < len(BOUNDS_HOURS) else MOST
    bound = max(LEAST, min(bound, MOST))
    if sum(histogram) >= LEAST_COUNTED:
        assert min(before, bound) <= after <= max(before, bound)


def test_a_sensor_that_becomes_punctual_is_believed_after_some_months_and_one_that_becomes_late_within_days() -> None:
    def days_until(histogram: tuple[int, ...], day: list[timedelta], expected: timedelta) -> int:
        days = 0
        while learnt(histogram) != expected:
            histogram, days = counted(histogram, day), days + 1
        return days

    late = counted((), rows(3900, h30=100))
    assert learnt(late) == 48 * HOUR
    assert 150 <= days_until(late, rows(24), LEAST) <= 400
    assert days_until(counted((), rows(4000)), rows(20, h30=4), 48 * HOUR) <= 7


def test_eight_buckets_that_keep_one_row_each_do_not_lengthen_the_look_back() -> None:
    kept = counted((), [HOUR * (bound + 0.5) for bound in (*BOUNDS_HOURS,)])
    for _ in range(2000):
        kept = counted(kept, rows(10))
    assert min(kept) > 0
    assert learnt(kept) == LEAST


@given(spans, spans)
def test_what_lies_after_the_last_read_is_on_time_and_the_rest_as_late_as_it_is_old(
    age: timedelta, since: timedelta
) -> None:
    found = late_by(NOW - age, NOW - since, NOW)
    assert found == (ON_TIME if age < since else age)


def test_a_row_of_the_future_is_on_time_whatever_the_clock_says() -> None:
    assert late_by(NOW + HOUR, NOW + 2 * HOUR, NOW) == ON_TIME
