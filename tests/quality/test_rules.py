"""What each rule calls odd, and what it lets pass."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline import thresholds
from openaq_pipeline.model import Measurement
from openaq_pipeline.quality.rules import RULES, SENTINELS, Judge
from openaq_pipeline.settings import ValidationSettings
from tests.quality.rows import SEEN, VALIDATION, hourly, row

JUDGE = Judge(VALIDATION)


def issues_of(value: float | None, parameter: str = "pm25", units: str = "µg/m³") -> tuple[str, ...]:
    return Judge(ValidationSettings()).issues([row(value, parameter=parameter, units=units)])[0]


def flagged(rule: str, rows: Sequence[Measurement]) -> list[int]:
    return [place for place, issues in enumerate(JUDGE.issues(rows)) if rule in issues]


def test_an_ordinary_series_has_no_issues() -> None:
    assert JUDGE.issues(hourly([10, 12, 11, 15, 13])) == [()] * 5


def test_no_rows_have_no_issues() -> None:
    assert JUDGE.issues([]) == []


def test_a_row_without_a_value_is_missing_and_nothing_else() -> None:
    assert issues_of(None) == ("missing_value",)


@pytest.mark.parametrize("value", sorted(SENTINELS))
def test_a_number_that_means_no_value_is_named_as_such_and_as_out_of_range(value: float) -> None:
    assert issues_of(value) == ("sentinel_value", "out_of_range")


def test_a_sentinel_is_one_for_a_parameter_without_a_range_too() -> None:
    assert issues_of(-999, "unheard_of", "furlongs") == ("sentinel_value",)


@pytest.mark.parametrize("value", [-998.9, -99, -1])
def test_a_number_near_a_sentinel_is_none(value: float) -> None:
    assert issues_of(value) == ("out_of_range",)


@pytest.mark.parametrize("units", ["µg/m³", "ppm", "anything"])
def test_pm25_is_in_range_from_0_to_1000_in_any_unit(units: str) -> None:
    assert issues_of(0, units=units) == issues_of(1000, units=units) == ()
    assert issues_of(-0.1, units=units) == issues_of(1000.1, units=units) == ("out_of_range",)


@pytest.mark.parametrize(
    ("value", "units", "expected"),
    [
        (120, "µg/m³", ()),
        (120, "ppb", ()),
        (120, "ppm", ("out_of_range",)),
        (0.493, "ppm", ()),
        (0.51, "ppm", ("out_of_range",)),
        (501, "µg/m³", ("out_of_range",)),
        (501, "a unit nobody listed", ()),
    ],
)
def test_the_same_number_of_ozone_is_judged_by_its_unit(value: float, units: str, expected: tuple[str, ...]) -> None:
    assert issues_of(value, "o3", units) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_out_of_range(value: float) -> None:
    assert issues_of(value) == ("out_of_range",)


@pytest.mark.parametrize(
    ("minutes", "expected"), [(59, ()), (60, ()), (60.5, ("future_datetime",)), (90, ("future_datetime",))]
)
def test_a_period_may_end_an_hour_after_the_row_was_first_seen(minutes: float, expected: tuple[str, ...]) -> None:
    late = msgspec.structs.replace(row(10), datetime=SEEN + timedelta(minutes=minutes))
    assert JUDGE.issues([late]) == [expected]


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), ("implausible_datetime",)),
        (datetime(2000, 1, 1, 5, tzinfo=UTC), ("implausible_datetime",)),
        (datetime(2001, 1, 1, tzinfo=UTC), ()),
        (datetime(2016, 1, 30, tzinfo=UTC), ()),
    ],
)
def test_a_clock_that_lost_its_time_is_implausible(stamp: datetime, expected: tuple[str, ...]) -> None:
    assert JUDGE.issues([msgspec.structs.replace(row(10), datetime=stamp)]) == [expected]


def test_a_flat_line_starts_where_the_limit_is_reached_and_lasts_until_the_value_moves() -> None:
    assert flagged("flat_line", hourly([3, *[5] * 9, 6])) == [7, 8, 9]


def test_a_flat_line_at_zero_is_one_too() -> None:
    assert flagged("flat_line", hourly([0] * 7)) == [6]


def test_the_smallest_change_ends_a_flat_line() -> None:
    assert flagged("flat_line", hourly([5, 5, 5, 5.0001, 5, 5, 5, 5, 5])) == []


def test_a_gap_ends_a_flat_line() -> None:
    gap_of_3 = [row(5, hours) for hours in (0, 1, 2, 5, 6)]
    gap_of_4 = [row(5, hours) for hours in (0, 1, 2, 6, 7)]
    assert flagged("flat_line", gap_of_3) == [4]
    assert flagged("flat_line", gap_of_4) == []


@pytest.mark.parametrize("nothing", [None, -999, 5000])
def test_a_row_that_says_nothing_is_stepped_over_in_a_flat_line(nothing: float | None) -> None:
    assert flagged("flat_line", hourly([5, 5, 5, nothing, 5, 5, 5])) == [6]


def test_daily_values_are_not_compared() -> None:
    daily = [row(value, 24 * day) for day, value in enumerate([5, 5, 5, 900, 5])]
    assert JUDGE.issues(daily) == [()] * 5


def test_a_spike_is_the_row_that_stands_out_and_not_its_neighbours() -> None:
    assert flagged("spike", hourly([50, 55, 355, 50, 74])) == [2]
    assert flagged("spike", hourly([355, 350, 50, 340, 345])) == [2]


def test_a_spike_is_further_than_the_limit_from_the_mean_of_its_neighbours() -> None:
    assert flagged("spike", hourly([10, 120, 30])) == []
    assert flagged("spike", hourly([10, 121, 30])) == [1]


def test_a_step_is_no_spike() -> None:
    assert flagged("spike", hourly([20, 20, 700, 700, 700])) == []


def test_a_steep_fall_with_a_dent_is_no_spike_at_the_dent() -> None:
    assert flagged("spike", hourly([46, 43, 493, 39])) == [2]


def test_the_last_row_is_judged_for_a_spike_once_its_neighbour_has_come() -> None:
    assert flagged("spike", hourly([10, 300])) == []
    assert flagged("spike", hourly([10, 300, 12])) == [1]


@pytest.mark.parametrize("nothing", [None, -999, 5000])
def test_a_row_that_says_nothing_is_stepped_over_beside_a_spike(nothing: float | None) -> None:
    assert flagged("spike", hourly([10, nothing, 300, nothing, 12])) == [2]


def test_a_neighbour_further_than_3_hours_away_tells_nothing_of_a_spike() -> None:
    assert flagged("spike", [row(10, 0), row(300, 3), row(12, 6)]) == [1]
    assert flagged("spike", [row(10, 0), row(300, 3), row(12, 6.1)]) == []
    assert flagged("spike", [row(10, 0), row(300, 3.1), row(12, 6)]) == []


def test_a_change_faster_than_the_limit_marks_the_row_that_changed() -> None:
    assert flagged("rate_of_change", hourly([10, 160, 311, 312])) == [2]


def test_a_change_over_two_hours_counts_by_the_hour() -> None:
    assert flagged("rate_of_change", [row(10, 0), row(309, 2)]) == []
    assert flagged("rate_of_change", [row(10, 0), row(311, 2)]) == [1]


def test_a_change_within_minutes_counts_as_one_within_an_hour() -> None:
    assert flagged("rate_of_change", [row(10, 0), row(110, 1 / 60), row(261, 2 / 60)]) == [2]


def test_a_change_after_a_gap_is_not_judged() -> None:
    assert flagged("rate_of_change", [row(10, 0), row(900, 3.1)]) == []


def test_a_value_out_of_range_is_not_held_against_its_neighbours() -> None:
    assert JUDGE.issues(hourly([10, 5000, 12])) == [(), ("out_of_range",), ()]


def test_series_limits_are_by_unit() -> None:
    odd = [(), ("spike", "rate_of_change"), ("rate_of_change",)]
    assert JUDGE.issues(hourly([0.04, 0.45, 0.04], parameter="o3", units="ppm")) == odd
    assert JUDGE.issues(hourly([0.04, 0.45, 0.04], parameter="o3", units="µg/m³")) == [()] * 3


def test_all_rules_broken_are_named_in_a_fixed_order() -> None:
    rows = [msgspec.structs.replace(row(-999), datetime=datetime(1970, 1, 1, tzinfo=UTC))]
    assert JUDGE.issues(rows) == [("sentinel_value", "out_of_range", "implausible_datetime")]
    assert JUDGE.issues(hourly([10, 300, 10]))[1] == ("spike", "rate_of_change")


def test_sensors_in_one_list_are_not_compared_with_each_other() -> None:
    rows = [row(value, hour, sensors_id=sensor) for hour in range(9) for sensor, value in ((1, 5), (2, 900))]
    assert flagged("rate_of_change", rows) == flagged("spike", rows) == []
    assert flagged("flat_line", rows) == [12, 13, 14, 15, 16, 17]


def test_a_sensor_whose_unit_changed_is_not_compared_across_the_change() -> None:
    rows = [row(400, hour, parameter="o3") for hour in range(3)]
    rows += [row(0.04, hour, parameter="o3", units="ppm") for hour in range(3, 6)]
    assert JUDGE.issues(rows) == [()] * 6


@given(st.permutations(list(enumerate([10, 300, 12, None, 5, 5, 5, 5, 5, 5, 5, -999]))))
def test_the_order_of_the_rows_given_does_not_matter(shuffled: list[tuple[int, float | None]]) -> None:
    expected = dict(enumerate(JUDGE.issues(hourly([10, 300, 12, None, 5, 5, 5, 5, 5, 5, 5, -999]))))
    found = JUDGE.issues([row(value, hour) for hour, value in shuffled])
    assert {hour: issues for (hour, _), issues in zip(shuffled, found, strict=True)} == expected


SERIES = st.lists(
    st.tuples(
        # Steps on both sides of neighbour_hours, and 0: a broken file can hold one time twice.
        st.sampled_from([0, 0.25, 1, 1, 1, 1, 2, 2.5, 3, 3.5]),
        st.sampled_from([5, 5, 5, 5, 5, 6, 150, 300, None, -999, 5000]),
    ),
    min_size=1,
    max_size=40,
)


@given(SERIES, st.data())
def test_a_slice_with_its_context_gives_a_row_the_same_issues_as_the_whole_series(
    steps: list[tuple[float, float | None]], data: st.DataObject
) -> None:
    hours = 0.0
    rows = []
    for step, value in steps:
        hours += step
        rows.append(row(value, hours))
    place = data.draw(st.integers(0, len(rows) - 1))
    middle = rows[place].datetime
    near = [at for at, other in enumerate(rows) if abs(other.datetime - middle) < JUDGE.context]
    found = JUDGE.issues([rows[at] for at in near])[near.index(place)]
    assert found == JUDGE.issues(rows)[place]


def test_the_context_reaches_back_to_the_row_that_proves_a_flat_line() -> None:
    rows = [row(5, hours) for hours in (0, 2.9, 5.8, 8.7)]
    assert flagged("flat_line", rows) == [3]
    assert rows[3].datetime - rows[0].datetime < JUDGE.context


def test_without_flat_line_limits_the_context_is_the_neighbours() -> None:
    settings = ValidationSettings.model_validate({"series_tests": {"flat_line_hours": {}}})
    assert Judge(settings).context == timedelta(hours=3, seconds=1)


def test_a_parameter_without_limits_is_judged_by_its_time_and_presence_only() -> None:
    rows = hourly([0] * 50 + [1e9, None], parameter="unheard_of")
    assert JUDGE.issues(rows) == [()] * 51 + [("missing_value",)]


def test_every_default_limit_can_be_met_by_a_value_in_range() -> None:
    # A spike or a rate beyond the width of the range could never be seen.
    judge = Judge(ValidationSettings())
    settings = ValidationSettings()
    for table in (settings.series_tests.spike, settings.series_tests.rate_of_change):
        for parameter, by_unit in table.items():
            for units, limit in by_unit.items():
                bounds = judge.limits(parameter, units).range
                assert bounds is not None, f"{parameter} in {units} has no range"
                assert limit < bounds[1] - bounds[0], f"{parameter} in {units}"


def test_every_parameter_with_a_flat_line_limit_has_a_range() -> None:
    assert set(thresholds.FLAT_LINE_HOURS) <= set(thresholds.PARAMETER_RANGES)


def test_the_names_of_the_rules_are_unique() -> None:
    assert len(set(RULES)) == len(RULES)


def test_judging_does_not_need_numpy() -> None:
    source = Path(__file__).parents[2] / "dataset"
    code = "import sys, openaq_pipeline.quality.report; print({'numpy', 'ioos_qc'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
