"""The rules on Arrow columns say of every row what the judge says of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline import columns
from openaq_pipeline.model import Measurement
from openaq_pipeline.quality import bulk
from openaq_pipeline.quality.rules import SENTINELS, Judge
from openaq_pipeline.settings import ANY_UNIT, SeriesTests, ValidationSettings
from tests.measurements import measurement
from tests.quality.rows import START, VALIDATION

JUDGE = Judge(VALIDATION)
PARAMETERS = ("pm25", "o3", "unheard_of")
UNITS = ("µg/m³", "ppm")
YEAR_1, YEAR_9999 = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def in_bulk(judge: Judge, rows: Sequence[Measurement]) -> list[tuple[str, ...]]:
    return [tuple(names) for names in bulk.issues(judge, columns.to_table(rows)).to_pylist()]


def assert_same(judge: Judge, rows: Sequence[Measurement]) -> None:
    assert in_bulk(judge, rows) == judge.issues(rows)


# Limits on both sides of what the values below do, few enough to be met exactly, and some that no number survives.
LIMITS = st.sampled_from([5e-324, 0.1, 1.0, 5.0, 10.0, 100.0, 145.0, 150.0, 295.0, 1e300, 1.7e308])
HOURS = st.sampled_from([1e-9, 0.25, 1.0, 2.0, 3.0, 3.5, 6.0, 24.0, 1000.0])
RANGES = st.sampled_from([(0.0, 1000.0), (-1000.0, 0.0), (0.0, 5e-324), (5.0, 6.0), (-1.7e308, 1.7e308)])
BY_UNIT = st.sampled_from([*UNITS, ANY_UNIT])


def by_parameter(entry: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.dictionaries(st.sampled_from(PARAMETERS), entry, max_size=3)


ANY_LIMITS = st.builds(
    lambda ranges, minutes, **tests: ValidationSettings.model_validate(
        {
            "parameter_ranges": ranges,
            "max_future_minutes": minutes,
            "series_tests": SeriesTests.model_validate(tests),
        }
    ),
    by_parameter(st.dictionaries(BY_UNIT, RANGES, max_size=3)),
    st.sampled_from([0.0, 1e-8, 0.1, 60.0, 1e300, 1.7e308]),
    neighbour_hours=HOURS,
    flat_line_hours=by_parameter(HOURS),
    spike=by_parameter(st.dictionaries(BY_UNIT, LIMITS, max_size=3)),
    rate_of_change=by_parameter(st.dictionaries(BY_UNIT, LIMITS, max_size=3)),
)

MICROSECOND = timedelta(microseconds=1)
# Steps on both sides of the limits in time, down to the last microsecond; a broken file can hold one time twice.
STEPS = st.one_of(
    st.sampled_from([0, 0.25, 1, 1, 1, 1, 1, 2, 2.5, 3, 3.5, 24]).map(lambda hours: timedelta(hours=hours)),
    st.sampled_from([3 * timedelta(hours=1) + MICROSECOND, 3 * timedelta(hours=1) - MICROSECOND, MICROSECOND]),
    st.timedeltas(timedelta(), timedelta(hours=7)),
)
VALUES = st.one_of(
    st.sampled_from([5, 5, 5, 5, 5, 5, 6, 150, 300, None, -999, 5000]),
    st.sampled_from([0.0, -0.0, 0.1, 0.3, 1e300, -1e300, 1.7e308, -1.7e308, 5e-324, *SENTINELS]),
    st.floats(allow_nan=False),
)
STARTS = st.one_of(
    st.sampled_from([START, START + MICROSECOND, datetime(2000, 12, 31, 23, tzinfo=UTC), YEAR_1, YEAR_9999]),
    st.datetimes(timezones=st.just(UTC)),
)
AHEAD = st.one_of(
    st.sampled_from([timedelta(hours=1), timedelta(hours=1) + MICROSECOND, timedelta(0), timedelta(days=-30)]),
    st.timedeltas(-timedelta(hours=2), timedelta(hours=2)),
)


def clipped(stamp: datetime, by: timedelta) -> datetime:
    """Return the stamp moved, but not beyond the first and the last that there are."""
    return min(max(by, YEAR_1 - stamp), YEAR_9999 - stamp) + stamp


@st.composite
def series(draw: st.DrawFn) -> list[Measurement]:
    """Draw rows of one sensor in ascending time, most of them of one parameter and unit."""
    steps = draw(st.lists(st.tuples(STEPS, VALUES), min_size=1, max_size=25))
    stamps = accumulate((step for step, _ in steps), clipped, initial=draw(STARTS))
    sensor, parameter, unit = draw(st.integers(1, 3)), draw(st.sampled_from(PARAMETERS)), draw(st.sampled_from(UNITS))
    change = draw(st.integers(0, 2 * len(steps)))
    return [
        measurement(
            value,
            stamp,
            first_seen=clipped(stamp, -draw(AHEAD)),
            sensors_id=sensor,
            parameter=parameter,
            units=unit if place < change else UNITS[0],
        )
        for place, (stamp, (_, value)) in enumerate(zip(stamps, steps, strict=False))
    ]


SORTED = st.lists(series(), max_size=4).map(
    lambda several: sorted(sum(several, []), key=lambda row: (row.sensors_id, row.datetime))
)
"""Rows as history keeps them, some of them with the stamp of another."""


@given(SORTED)
def test_rows_as_history_keeps_them_get_the_judges_issues(rows: list[Measurement]) -> None:
    assert_same(JUDGE, rows)


@given(SORTED, ANY_LIMITS)
def test_the_judges_issues_are_given_whatever_the_limits(
    rows: list[Measurement], validation: ValidationSettings
) -> None:
    assert_same(Judge(validation), rows)


@given(SORTED, ANY_LIMITS, st.data())
def test_the_judges_issues_are_given_whatever_the_order(
    rows: list[Measurement], validation: ValidationSettings, data: st.DataObject
) -> None:
    assert_same(Judge(validation), data.draw(st.permutations(rows)))


@given(SORTED, st.integers(0, 3))
def test_the_judges_issues_are_given_when_series_are_too_many_to_be_taken_one_by_one(
    rows: list[Measurement], many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "_MANY_SERIES", many)
        assert_same(Judge(ValidationSettings()), rows)
