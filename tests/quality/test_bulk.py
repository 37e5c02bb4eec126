"""The rules on Arrow columns say of every row what the judge says of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openaq_pipeline import columns
from openaq_pipeline.model import Measurement
from openaq_pipeline.quality import bulk
from openaq_pipeline.quality.rules import RULES, SENTINELS, Judge
from openaq_pipeline.settings import ANY_UNIT, SeriesTests, ValidationSettings
from tests.measurements import measurement
from tests.quality.rows import SEEN, START, VALIDATION, hourly, row
from tests.quality.test_real_data import guadalajara

T = TypeVar("T")

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


def mostly(usual: st.SearchStrategy[T], odd: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    return st.integers(0, 6).flatmap(lambda n: odd if n == 6 else usual)


MICROSECOND, HOUR = timedelta(microseconds=1), timedelta(hours=1)
# Steps on both sides of the limits in time, down to the last microsecond; a broken file can hold one time twice.
EVEN_STEPS = st.sampled_from([0, 0.25, 1, 1, 1, 1, 1, 2, 2.5, 3, 3.5, 24]).map(lambda hours: hours * HOUR)
ODD_STEPS = st.one_of(
    st.sampled_from([3 * HOUR + MICROSECOND, 3 * HOUR - MICROSECOND, 6 * HOUR - MICROSECOND, MICROSECOND]),
    st.timedeltas(timedelta(), 7 * HOUR),
)
USUAL_VALUES = st.sampled_from([5, 5, 5, 5, 5, 5, 6, 105, 106, 150, 155, 156, 300])
ODD_VALUES = st.one_of(
    st.sampled_from([None, -999, 5000, -0.0, 0.0, 0.1, 0.3, 1e300, -1e300, 1.7e308, -1.7e308, 5e-324, *SENTINELS]),
    st.floats(allow_nan=False),
)
LENGTHS = st.sampled_from([1, 1, 1, 1, 1, 2, 4, 8])
STRETCHES = st.lists(
    st.tuples(mostly(EVEN_STEPS, ODD_STEPS), mostly(USUAL_VALUES, ODD_VALUES), LENGTHS),
    min_size=1,
    max_size=20,
)
"""What a sensor says for some time: the step from row to row, the value, how many rows."""

STARTS = mostly(
    st.sampled_from([START, START + MICROSECOND]),
    st.one_of(
        st.sampled_from([datetime(2000, 12, 31, 23, tzinfo=UTC), YEAR_1, YEAR_9999]),
        st.datetimes(timezones=st.just(UTC)),
    ),
)
AHEAD = st.one_of(
    st.sampled_from([timedelta(days=-30), HOUR, HOUR + MICROSECOND, timedelta()]),
    st.timedeltas(-2 * HOUR, 2 * HOUR),
)
"""How long a period ends after the row was first seen."""


def clipped(stamp: datetime, by: timedelta) -> datetime:
    """Return the stamp moved, but not beyond the first and the last that there are."""
    return min(max(by, YEAR_1 - stamp), YEAR_9999 - stamp) + stamp


@st.composite
def series(draw: st.DrawFn) -> list[Measurement]:
    """Draw rows of one sensor in ascending time, which may be set to another unit on the way."""
    steps = [(step, value) for step, value, length in draw(STRETCHES) for _ in range(length)]
    stamps = accumulate((step for step, _ in steps[1:]), clipped, initial=draw(STARTS))
    sensor, parameter, unit = draw(st.integers(1, 3)), draw(st.sampled_from(PARAMETERS)), draw(st.sampled_from(UNITS))
    change = draw(st.integers(0, 2 * len(steps)))
    ahead = draw(st.lists(AHEAD, min_size=1, max_size=3))
    return [
        measurement(
            value,
            stamp,
            first_seen=clipped(stamp, -ahead[place % len(ahead)]),
            sensors_id=sensor,
            parameter=parameter,
            units=unit if place < change else UNITS[0],
        )
        for place, (stamp, (_, value)) in enumerate(zip(stamps, steps, strict=True))
    ]


SORTED = st.lists(series(), max_size=4).map(
    lambda several: sorted(chain.from_iterable(several), key=lambda row: (row.sensors_id, row.datetime))
)
"""Rows as history keeps them, some of them with the stamp of another."""


@settings(deadline=None)
@given(SORTED)
def test_rows_as_history_keeps_them_get_the_judges_issues(rows: list[Measurement]) -> None:
    assert_same(JUDGE, rows)


@settings(deadline=None)
@given(SORTED, ANY_LIMITS)
def test_the_judges_issues_are_given_whatever_the_limits(
    rows: list[Measurement], validation: ValidationSettings
) -> None:
    assert_same(Judge(validation), rows)


@settings(deadline=None)
@given(SORTED, ANY_LIMITS, st.data())
def test_the_judges_issues_are_given_whatever_the_order(
    rows: list[Measurement], validation: ValidationSettings, data: st.DataObject
) -> None:
    assert_same(Judge(validation), data.draw(st.permutations(rows)))


@settings(deadline=None)
@given(SORTED, st.integers(0, 3))
def test_the_judges_issues_are_given_when_series_are_too_many_to_be_taken_one_by_one(
    rows: list[Measurement], many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "_MANY_SERIES", many)
        assert_same(Judge(ValidationSettings()), rows)


def test_the_rows_that_are_compared_break_every_rule() -> None:
    found: Counter[str] = Counter()

    @settings(max_examples=100, database=None, derandomize=True, deadline=None)
    @given(SORTED)
    def count(rows: list[Measurement]) -> None:
        found.update(name for names in in_bulk(JUDGE, rows) for name in names)

    count()
    assert min(found[rule] for rule in RULES) > 0


def test_all_rules_are_named_in_their_order() -> None:
    old = datetime(1970, 1, 1, tzinfo=UTC)
    rows = [
        *hourly([10, 300, 10]),
        *(row(5, hour, sensors_id=2) for hour in range(7)),
        row(None, sensors_id=3),
        measurement(-999, old, first_seen=old - timedelta(days=1), sensors_id=4),
    ]
    odd = {
        1: ("spike", "rate_of_change"),
        2: ("rate_of_change",),
        9: ("flat_line",),
        10: ("missing_value",),
        11: ("sentinel_value", "out_of_range", "future_datetime", "implausible_datetime"),
    }
    assert in_bulk(JUDGE, rows) == [odd.get(place, ()) for place in range(12)]


def test_no_rows_have_no_issues() -> None:
    for table in (columns.to_table([]), columns.HISTORY.empty_table()):
        found = bulk.issues(JUDGE, table)
        assert len(found) == 0
        assert found.type == columns.HISTORY.field("issues").type


def test_the_issues_fit_into_the_column_of_history() -> None:
    table = columns.to_table(hourly([10, 300, 10]))
    at = table.schema.get_field_index("issues")
    judged = table.set_column(at, columns.HISTORY.field("issues"), bulk.issues(JUDGE, table))
    judged.validate(full=True)
    assert judged.schema == columns.HISTORY
    assert columns.to_rows(7, judged)[1].issues == ("spike", "rate_of_change")


def test_rows_need_no_other_columns_and_no_dictionaries() -> None:
    rows = hourly([10, 300, None, 5000], parameter="o3")
    table = columns.to_table(rows)
    plain = pa.table(
        {name: table.column(name) for name in ("first_seen", "datetime", "value", "sensors_id")}
        | {name: table.column(name).cast(pa.string()) for name in ("units", "parameter")}
    )
    assert [tuple(names) for names in bulk.issues(JUDGE, plain).to_pylist()] == JUDGE.issues(rows)


def test_pieces_of_a_table_are_judged_as_one() -> None:
    # The pieces have the same texts under different numbers.
    rows = [row(400, hour, parameter="o3") for hour in range(3)]
    rows += [row(0.03 * hour * (hour % 2), hour, parameter="o3", units="ppm") for hour in range(3, 9)]
    rows += [row(5, hour, sensors_id=2) for hour in range(9)]
    pieces = pa.concat_tables([columns.to_table(rows[at : at + 5]) for at in range(0, len(rows), 5)])
    assert pieces.column("units").num_chunks == 4
    expected = JUDGE.issues(rows)
    assert len(set(expected)) > 2
    assert [tuple(names) for names in bulk.issues(JUDGE, pieces).to_pylist()] == expected
    middle = [tuple(names) for names in bulk.issues(JUDGE, pieces.slice(3, 12)).to_pylist()]
    assert middle == JUDGE.issues(rows[3:15])


def test_a_text_that_a_dictionary_holds_twice_is_one() -> None:
    rows = hourly([10, 300, 10, 5, 5])
    table = columns.to_table(rows)
    twice = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 1, 0], pa.int32()), pa.array(["pm25", "pm25"]))
    table = table.set_column(table.schema.get_field_index("parameter"), columns.HISTORY.field("parameter"), twice)
    assert [tuple(names) for names in bulk.issues(JUDGE, table).to_pylist()] == JUDGE.issues(rows)


SUB_SECOND = st.timedeltas(timedelta(), timedelta(days=4000)).map(lambda since: START - since)


LIMIT = 3 * HOUR + 360 * MICROSECOND
TO_THE_MICROSECOND = ValidationSettings.model_validate(
    {
        "max_future_minutes": LIMIT / timedelta(minutes=1),
        "series_tests": {"neighbour_hours": LIMIT / HOUR, "flat_line_hours": {"pm25": 2 * LIMIT / HOUR}},
    }
)


@settings(deadline=None)
@given(st.lists(st.tuples(SUB_SECOND, st.sampled_from([-1, 0, 0, 0, 1])), min_size=10, max_size=30))
def test_limits_in_time_are_met_or_missed_by_the_same_last_bit(starts: list[tuple[datetime, int]]) -> None:
    # In floats, the distance of two stamps with fractions of a second is a bit more or less than it is.
    rows = [
        measurement(5, stamp, first_seen=stamp - LIMIT, sensors_id=sensor)
        for sensor, (start, apart) in enumerate(starts)
        for stamp in (start, start + LIMIT, start + 2 * LIMIT + apart * MICROSECOND)
    ]
    assert_same(Judge(TO_THE_MICROSECOND), rows)


def test_numbers_that_are_none_are_out_of_range_and_nothing_worse() -> None:
    nan, infinity = float("nan"), float("inf")
    values = [5, nan, 5, infinity, -infinity, infinity, infinity, -infinity, nan, nan, 5]
    for parameter in ("pm25", "unheard_of"):
        assert_same(JUDGE, hourly(values, parameter=parameter))
    assert_same(Judge(ValidationSettings(parameter_ranges={})), hourly(values))


FINITE = st.floats(-1000, 1000)
WHOLE_SECONDS = st.integers(3600, 3 * 3600).map(lambda seconds: timedelta(seconds=seconds))


def beside(number: float, side: float) -> float:
    """Return the number itself or the next one to a side (-inf, 0, inf), as a limit: never 0 or less."""
    moved = math.nextafter(number, side) if side else number
    return moved if moved > 0 else 1.0


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(FINITE, FINITE, FINITE, WHOLE_SECONDS, st.sampled_from([-math.inf, 0.0, math.inf])),
        min_size=10,
        max_size=30,
    )
)
def test_limits_of_values_are_met_or_missed_by_the_same_last_bit(
    threes: list[tuple[float, float, float, timedelta, float]],
) -> None:
    rows: list[Measurement] = []
    spike, rate = {}, {}
    for sensor, (before, value, after, step, side) in enumerate(threes):
        units = f"unit {sensor}"
        spike[units] = beside(abs(value - (before + after) / 2), side)
        rate[units] = beside(abs(value - before) / (step / HOUR), side)
        rows += [
            measurement(number, START + at * step, first_seen=SEEN, sensors_id=sensor, units=units)
            for at, number in enumerate((before, value, after))
        ]
    tests = {"spike": {"pm25": spike}, "rate_of_change": {"pm25": rate}}
    assert_same(Judge(ValidationSettings.model_validate({"parameter_ranges": {}, "series_tests": tests})), rows)


def test_a_sum_too_large_for_a_float_is_as_odd_as_to_the_judge() -> None:
    series_tests = SeriesTests(spike={"pm25": {ANY_UNIT: 1.7e308}})
    judge = Judge(ValidationSettings(parameter_ranges={}, series_tests=series_tests))
    assert in_bulk(judge, hourly([1e308, 0, 1e308]))[1] == judge.issues(hourly([1e308, 0, 1e308]))[1]
    assert "spike" in in_bulk(judge, hourly([1e308, 0, 1e308]))[1]


def test_a_missing_value_is_not_out_of_a_range_without_zero() -> None:
    rows = hourly([None, 780, 0], parameter="pressure", units="hpa")
    assert in_bulk(Judge(ValidationSettings()), rows) == [("missing_value",), (), ("out_of_range",)]


def test_what_a_null_hides_is_not_looked_at() -> None:
    table = columns.to_table(hourly([5, 5]))
    hidden = pa.array([-999.0, 5.0], mask=np.array([True, False]))
    table = table.set_column(table.schema.get_field_index("value"), columns.HISTORY.field("value"), hidden)
    assert bulk.issues(JUDGE, table).to_pylist() == [["missing_value"], []]


@pytest.mark.parametrize("first_seen", [datetime(7454, 5, 4, 22, 42, 38, 999_029 - us, UTC) for us in range(60)])
def test_far_from_now_stamps_are_rounded_as_python_rounds_them(first_seen: datetime) -> None:
    # A float of this year has no room for microseconds, and 999029 is one of those that round up when rounded twice.
    validation = ValidationSettings.model_validate({"max_future_minutes": 0})
    late = measurement(5, datetime(7454, 5, 4, 22, 42, 38, 999_029, UTC), first_seen=first_seen)
    assert_same(Judge(validation), [late])


def test_a_year_of_a_location_is_judged_in_any_order() -> None:
    # More series than the sensors: one is set to another unit and back, as often as it takes.
    steps = np.random.default_rng(1).normal(0, 40, (8760, 3)).cumsum(axis=0) % 400
    rows = [
        row(round(float(value)), hour, sensors_id=sensor, units=UNITS[sensor == 3 and hour % 7 == 0])
        for hour, values in enumerate(steps)
        for sensor, value in enumerate(values, 1)
    ]
    expected = JUDGE.issues(rows)
    assert {"spike", "rate_of_change"} <= {name for names in expected for name in names}
    assert in_bulk(JUDGE, rows) == expected
    by_sensor = sorted(range(len(rows)), key=lambda place: rows[place].sensors_id)
    assert in_bulk(JUDGE, [rows[place] for place in by_sensor]) == [expected[place] for place in by_sensor]


@pytest.mark.usefixtures("shared_data")
def test_of_34042_real_hours_the_same_are_flagged() -> None:
    rows = list(guadalajara())
    assert len(rows) == 34_042
    assert_same(Judge(ValidationSettings()), rows)
    # The defaults flag three rows by the series' tests; with these, thousands.
    everywhere = {row.parameter: {ANY_UNIT: 5.0} for row in rows}
    strict = SeriesTests(flat_line_hours=dict.fromkeys(everywhere, 2.0), spike=everywhere, rate_of_change=everywhere)
    judge = Judge(ValidationSettings(series_tests=strict))
    expected = judge.issues(rows)
    found = Counter(name for names in expected for name in names)
    assert min(found[rule] for rule in ("flat_line", "spike", "rate_of_change")) > 40
    assert in_bulk(judge, rows) == expected
