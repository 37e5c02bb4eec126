"""The air quality index: the worked examples of EPA's documents, its table, and what must hold for every number."""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.quality.aqi import (
    CATEGORIES,
    COLOURS,
    HIGHEST,
    LOWEST,
    SCALES,
    SULPHUR_DAY,
    current,
    index_of,
    level_of,
    nowcast,
)

UNITS = {"pm25": "µg/m³", "pm10": "µg/m³", "o3": "ppm", "co": "ppm", "so2": "ppb", "no2": "ppb"}

TABLE: dict[
    str, list[tuple[float, float]]
] = {  # 40 CFR Part 58, Appendix G, Table 2 of May 2024: first and last concentration of each level
    "pm25": [(0.0, 9.0), (9.1, 35.4), (35.5, 55.4), (55.5, 125.4), (125.5, 225.4), (225.5, 325.4)],
    "pm10": [(0, 54), (55, 154), (155, 254), (255, 354), (355, 424), (425, 604)],
    "o3": [(0.0, 0.054), (0.055, 0.070), (0.071, 0.085), (0.086, 0.105), (0.106, 0.200)],
    "co": [(0.0, 4.4), (4.5, 9.4), (9.5, 12.4), (12.5, 15.4), (15.5, 30.4), (30.5, 50.4)],
    "so2": [(0, 35), (36, 75), (76, 185), (186, 304)],
    "no2": [(0, 53), (54, 100), (101, 360), (361, 649), (650, 1249), (1250, 2049)],
}

concentrations = st.floats(0, 3000, allow_nan=False)
pollutants = st.sampled_from(sorted(SCALES))


def value(parameter: str, concentration: float, units: str | None = None) -> int:
    found = index_of(parameter, units or UNITS[parameter], concentration)
    assert found is not None
    return found.value


@pytest.mark.parametrize(
    ("parameter", "concentration", "expected"),
    [
        ("o3", 0.07853333, 126),  # TAD: the ozone of 8 hours, truncated to 0.078
        ("pm25", 35.9, 102),  # TAD: of several pollutants
        ("co", 8.4, 90),
    ],
)
def test_the_examples_of_epas_document_come_out(parameter: str, concentration: float, expected: int) -> None:
    assert value(parameter, concentration) == expected


@pytest.mark.parametrize("parameter", TABLE)
def test_each_level_begins_and_ends_where_the_table_has_it(parameter: str) -> None:
    for level, (first, last) in enumerate(TABLE[parameter]):
        assert value(parameter, first) == LOWEST[level]
        assert value(parameter, last) == HIGHEST[level]


@pytest.mark.parametrize(
    ("parameter", "concentration", "same"),
    [("pm25", 9.09, 9.0), ("pm10", 54.99, 54), ("o3", 0.05499, 0.054), ("co", 4.49, 4.4), ("so2", 35.9, 35)],
)
def test_a_concentration_is_truncated_and_not_rounded(parameter: str, concentration: float, same: float) -> None:
    assert value(parameter, concentration) == value(parameter, same) == 50


@pytest.mark.parametrize("parameter", TABLE)
def test_what_floating_point_blurs_does_not_change_a_level(parameter: str) -> None:
    for level, (first, _) in enumerate(TABLE[parameter]):
        assert value(parameter, math.nextafter(first, 0)) == LOWEST[level]


def test_gases_in_ppm_and_ppb_are_the_same() -> None:
    for parameter in ("o3", "co", "so2", "no2"):
        factor = 1000 if UNITS[parameter] == "ppm" else 0.001
        other = "ppb" if UNITS[parameter] == "ppm" else "ppm"
        for first, last in TABLE[parameter]:
            assert value(parameter, first * factor, other) == value(parameter, first)
            assert value(parameter, last * factor, other) == value(parameter, last)


@pytest.mark.parametrize(
    ("parameter", "units", "concentration"),
    [
        ("o3", "µg/m³", 80.0),  # would need a temperature and a pressure
        ("no2", "µg/m³", 80.0),
        ("pm25", "ppm", 1.0),
        ("pm1", "µg/m³", 5.0),
        ("temperature", "c", 20.0),
        ("pm25", "µg/m³", -1.0),
        ("pm25", "µg/m³", math.nan),
        ("pm25", "µg/m³", math.inf),
        ("pm25", "µg/m³", 1e308),
        ("so2", "ppb", 1e308),
    ],
)
def test_what_the_standard_does_not_define_has_no_index(parameter: str, units: str, concentration: float) -> None:
    assert index_of(parameter, units, concentration) is None


def test_beyond_500_the_last_slope_goes_on() -> None:
    assert value("pm25", 325.4) == 500
    assert value("pm25", 425.3) == 500 + 199
    found = index_of("pm25", "µg/m³", 425.3)
    assert found is not None
    assert found.level == 5


def test_averages_that_stand_for_no_higher_level_end_with_theirs() -> None:
    assert value("o3", 0.3) == 300
    assert value("so2", 900) == 200


@given(pollutants, concentrations, concentrations)
def test_more_of_it_is_never_better(parameter: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert value(parameter, low) <= value(parameter, high)


@given(pollutants, concentrations)
def test_every_concentration_has_an_index_of_its_own_level(parameter: str, concentration: float) -> None:
    found = index_of(parameter, UNITS[parameter], concentration)
    assert found is not None
    assert found.level == level_of(found.value)
    assert found.category == CATEGORIES[found.level]
    assert found.value <= HIGHEST[found.level] or found.level == 5


@given(pollutants, st.integers(0, 3000))
def test_a_step_of_concentration_leaves_no_hole_in_the_index(parameter: str, steps: int) -> None:
    scale = SCALES[parameter]
    factor = 1000 if UNITS[parameter] == "ppb" else 1
    here, there = (value(parameter, number * scale.step * factor) for number in (steps, steps + 1))
    steepest = max(
        (high - low) / (after - 1 - before) if after - 1 > before else 1
        for (low, high), (before, after) in zip(
            zip(LOWEST, HIGHEST, strict=True), pairwise((*scale.lows, scale.end + 1)), strict=False
        )
    )
    assert there - here <= steepest + 2


def test_each_level_has_a_name_and_a_colour() -> None:
    assert len(CATEGORIES) == len(COLOURS) == len(LOWEST) == len(HIGHEST) == 6


def test_nowcast_is_that_of_epas_example() -> None:
    hours = [13, 16, 10, 21, 74, 64, 53, 82, 90, 75, 80, 50]
    found = nowcast([float(hour) for hour in hours])
    assert found is not None
    assert round(found, 1) == 17.4  # the range is so wide that the weight is one half


def test_nowcast_of_steady_air_weighs_all_hours_the_same() -> None:
    found = nowcast([10.0, 10.0, 8.0, 10.0])
    weight = 0.8
    parts = [10, 10 * weight, 8 * weight**2, 10 * weight**3]
    assert found == pytest.approx(sum(parts) / (1 + weight + weight**2 + weight**3))


@pytest.mark.parametrize(
    "hours",
    [[], [5.0], [5.0, None, None, 5.0, 5.0, 5.0], [None, None, 5.0, 5.0], [5.0, -1.0, None, 5.0]],
)
def test_nowcast_wants_two_of_the_three_newest_hours(hours: list[float | None]) -> None:
    assert nowcast(hours) is None


def test_nowcast_passes_over_missing_hours_and_keeps_the_age_of_the_others() -> None:
    assert nowcast([4.0, None, 8.0]) == pytest.approx((4 + 8 * 0.25) / 1.25)
    assert nowcast([0.0, 0.0, None]) == 0.0


def test_nowcast_looks_at_twelve_hours() -> None:
    assert nowcast([1.0] * 12 + [500.0]) == 1.0


@given(st.lists(st.none() | st.floats(0, 1000), max_size=15))
def test_nowcast_lies_between_the_hours_it_is_made_of(hours: list[float | None]) -> None:
    found = nowcast(hours)
    kept = [hour for hour in hours[:12] if hour is not None]
    if found is not None:
        assert min(kept) * (1 - 1e-9) <= found <= max(kept) * (1 + 1e-9)


@given(pollutants, st.lists(st.none() | st.floats(-10, 1000), max_size=30))
def test_the_current_index_of_any_hours_is_one_or_none(parameter: str, hours: list[float | None]) -> None:
    found = current(parameter, UNITS[parameter], hours)
    assert found is None or (found.value >= 0 and found.basis)


def test_ozone_is_told_by_eight_hours_unless_one_says_more() -> None:
    steady = current("o3", "ppm", [0.050] * 8)
    assert steady is not None
    assert (steady.value, steady.basis) == (46, "8 hours")
    peak = current("o3", "ppm", [0.205, *[0.050] * 7])
    assert peak is not None
    assert (peak.value, peak.basis) == (201, "1 hour")


def test_ozone_and_carbon_monoxide_want_six_of_eight_hours() -> None:
    for parameter in ("o3", "co"):
        assert current(parameter, "ppm", [0.05] * 6 + [None] * 2) is not None
        assert current(parameter, "ppm", [0.05] * 5 + [None] * 3) is None


def test_much_sulphur_dioxide_is_told_by_the_day() -> None:
    assert current("so2", "ppb", [300.0]) == index_with("so2", 300.0, "1 hour")
    hour = current("so2", "ppb", [400.0] + [10.0] * 23)
    assert hour is not None
    assert (hour.value, hour.basis) == (200, "1 hour")  # the day is below its lowest breakpoint
    day = current("so2", "ppb", [400.0] * 24)
    assert day is not None
    assert (day.value, day.basis) == (201 + round(99 / 299 * (400 - SULPHUR_DAY.lows[0])), "24 hours")


def index_with(parameter: str, concentration: float, basis: str) -> object:
    found = index_of(parameter, UNITS[parameter], concentration)
    assert found is not None
    return msgspec.structs.replace(found, basis=basis)
