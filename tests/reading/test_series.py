"""A sensor's series as it is drawn: thinned, with its extremes, gaps as gaps, and odd rows told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.columns import HISTORY, to_table
from openaq_pipeline.errors import ConfigError, StorageError
from openaq_pipeline.model import Measurement, Window
from openaq_pipeline.reading import series as reading
from openaq_pipeline.reading.series import Series, series
from tests.measurements import measurement
from tests.reading.folders import SEEN, at, store
from tests.reading.folders import series as made

START = at("2026-01-01T00:00")
ALL = Window(at("2020-01-01"), at("2030-01-01"))


def row(hours: float, value: float | None = 8.0, *, sensors_id: int = 71, **changes: object) -> Measurement:
    found = measurement(value, START + timedelta(hours=hours), first_seen=SEEN, sensors_id=sensors_id)
    return msgspec.structs.replace(found, **changes)


def drawn(rows: Sequence[Measurement], most_points: int = 1000) -> Series:
    """Return what is drawn of the rows of one sensor."""
    table = to_table(rows, pa.schema([HISTORY.field(name) for name in reading.COLUMNS]))
    (found,) = (reading._drawn(each, most_points) for each in reading._sensors(table))
    return found


def seconds(hours: float) -> int:
    return round((START + timedelta(hours=hours)).timestamp())


def test_few_rows_are_drawn_as_they_are() -> None:
    found = drawn([row(hour, float(hour)) for hour in range(10)])
    assert found.times == [seconds(hour) for hour in range(10)]
    assert found.values == [float(hour) for hour in range(10)]
    assert (found.rows, found.thinned, found.odd, found.odd_rows) == (10, False, [], 0)


def test_a_missing_row_is_a_gap() -> None:
    found = drawn([row(hour) for hour in range(10) if hour != 4])
    assert found.values == [8.0] * 4 + [None] + [8.0] * 5
    assert seconds(3) < found.times[4] < seconds(5)


def test_a_row_somewhat_late_is_none() -> None:
    assert None not in drawn([row(hour + (0.4 if hour == 5 else 0)) for hour in range(10)]).values


def test_a_sensor_that_changes_its_ways_has_no_gaps_for_it() -> None:
    rows = [row(hour) for hour in range(1000)] + [row(1000 + quarter / 4) for quarter in range(4000)]
    found = drawn(rows, 10_000)
    assert found.values.count(None) <= 1


def test_rows_at_odd_moments_have_gaps_only_where_there_is_long_none() -> None:
    moments = np.cumsum(np.random.default_rng(7).exponential(1.0, 300))
    rows = [row(float(moment)) for moment in moments] + [row(float(moments[-1] + 50 + hour)) for hour in range(3)]
    found = drawn(rows)
    assert 1 <= found.values.count(None) <= 12


def test_rows_without_a_value_and_sentinels_are_told_and_not_drawn() -> None:
    rows = [row(hour) for hour in range(10)]
    rows[3] = row(3, None, issues=("missing_value",))
    rows[6] = row(6, -999.0, issues=("sentinel_value", "out_of_range"))
    found = drawn(rows)
    assert found.values == [8.0] * 3 + [None] + [8.0] * 2 + [None] + [8.0] * 3
    assert found.odd == [
        (seconds(3), None, ("missing_value",)),
        (seconds(6), -999.0, ("sentinel_value", "out_of_range")),
    ]


def test_what_is_odd_is_drawn_and_marked() -> None:
    rows = [row(0), row(1, 900.0, issues=("spike",)), row(2, has_flags=True), row(3, has_flags=None)]
    found = drawn(rows)
    assert found.values == [8.0, 900.0, 8.0, 8.0]
    assert found.odd == [(seconds(1), 900.0, ("spike",)), (seconds(2), 8.0, ("has_flags",))]


def test_of_many_odd_rows_those_with_issues_stay_and_all_are_counted() -> None:
    rows = [row(hour, issues=("spike",) if hour % 500 == 0 else (), has_flags=True) for hour in range(3000)]
    found = drawn(rows)
    assert found.odd_rows == 3000
    assert len(found.odd) == reading.MOST_ODD
    assert sum("spike" in names for _, _, names in found.odd) == 6
    assert found.odd == sorted(found.odd)


def test_a_peak_of_one_hour_in_five_years_is_drawn() -> None:
    rows = [row(hour, 5.0 + hour % 24) for hour in range(24 * 365 * 5)]
    rows[20_001] = row(20_001, 480.0)
    rows[20_003] = row(20_003, -3.0)
    found = drawn(rows, 1000)
    assert found.thinned
    assert (seconds(20_001), 480.0) in zip(found.times, found.values, strict=True)
    assert (seconds(20_003), -3.0) in zip(found.times, found.values, strict=True)
    assert 600 < len(found.times) <= 1000


def test_a_silent_year_is_a_gap_in_what_is_thinned() -> None:
    rows = [row(hour, float(hour % 7)) for hour in range(24 * 365 * 3) if not 8760 <= hour < 2 * 8760]
    found = drawn(rows, 300)
    assert found.values.count(None) == 1
    place = found.values.index(None)
    assert found.times[place - 1] <= seconds(8760) <= seconds(2 * 8760) <= found.times[place + 1] + 1


def test_a_missing_hour_in_years_breaks_no_line() -> None:
    rows = [row(hour, float(hour % 7)) for hour in range(24 * 365 * 3) if hour % 97]
    assert None not in drawn(rows, 300).values


steps = st.lists(st.sampled_from([1.0, 1.0, 1.0, 1.0, 0.25, 2.0, 30.0, 500.0]), min_size=1, max_size=300)
values = st.none() | st.floats(-50, 1000, width=32)


@st.composite
def any_rows(draw: st.DrawFn) -> list[Measurement]:
    hours = np.cumsum(draw(steps)).tolist()
    return [row(hour, draw(values)) for hour in hours]


@given(any_rows(), st.integers(reading.LEAST_POINTS, 120))
def test_points_are_rows_in_order_and_never_too_many(rows: list[Measurement], most_points: int) -> None:
    found = drawn(rows, most_points)
    assert len(found.times) == len(found.values) <= most_points
    assert found.times == sorted(found.times)
    here = {(round(each.datetime.timestamp()), each.value) for each in rows}
    points = [point for point in zip(found.times, found.values, strict=True) if point[1] is not None]
    assert set(points) <= here
    assert found.rows == len(rows)
    if not found.thinned:
        assert len(points) == sum(each.value is not None for each in rows)


@given(any_rows(), st.integers(reading.LEAST_POINTS, 120))
def test_the_lowest_and_highest_of_each_bucket_survive(rows: list[Measurement], most_points: int) -> None:
    found = drawn(rows, most_points)
    measured = [(each.datetime, each.value) for each in rows if each.value is not None]
    if not measured:
        assert found.times == []
        return
    first, last = measured[0][0], measured[-1][0]
    moment = timedelta(microseconds=1)
    length = -(-((last - first + moment) // moment) // ((most_points - 2) // 3)) * moment
    by_bucket: dict[int, list[float]] = {}
    for stamp, value in measured:
        by_bucket.setdefault((stamp - first) // length, []).append(value)
    kept = {value for value in found.values if value is not None}
    for inside in by_bucket.values():
        assert {min(inside), max(inside)} <= kept
    assert found.times[0] == round(first.timestamp())
    assert found.times[-1] == round(last.timestamp())


@given(any_rows(), st.integers(reading.LEAST_POINTS, 120))
def test_no_gap_stands_at_an_end_or_beside_another(rows: list[Measurement], most_points: int) -> None:
    found = drawn(rows, most_points).values
    assert not found or (found[0] is not None and found[-1] is not None)
    assert all(one is not None or other is not None for one, other in pairwise(found))


def test_history_and_recent_rows_are_one_series_of_each_sensor(folder: Path) -> None:
    rows = made(5, at("2025-11-01"), 24 * 120)
    store(folder, 5, rows, at("2026-02-01"))
    found = series(folder, 5, ALL, most_points=10_000)
    assert [(each.parameter, each.units, each.sensors_id) for each in found] == [
        ("o3", "ppm", 52),
        ("pm25", "µg/m³", 51),
    ]
    for each in found:
        of_sensor = [one for one in rows if one.sensors_id == each.sensors_id]
        assert each.values == [one.value for one in of_sensor]
        assert each.times == [round(one.datetime.timestamp()) for one in of_sensor]


def test_the_window_and_what_is_asked_for_bound_it(folder: Path) -> None:
    store(folder, 5, made(5, at("2026-01-01"), 240), at("2026-01-05"))
    window = Window(at("2026-01-03T00:00"), at("2026-01-06T00:00"))
    (found,) = series(folder, 5, window, most_points=1000, parameters={"pm25"})
    assert (found.parameter, found.rows) == ("pm25", 72)
    assert found.times[0] == at("2026-01-03T01:00").timestamp()
    assert found.times[-1] == at("2026-01-06T00:00").timestamp()
    assert [each.sensors_id for each in series(folder, 5, window, most_points=9, sensors_ids={52})] == [52]


def test_where_there_is_nothing_nothing_is_drawn(folder: Path) -> None:
    assert series(folder, 5, ALL, most_points=100) == ()
    store(folder, 5, made(5, at("2026-01-01"), 24), None)
    assert series(folder, 5, Window(datetime.min.replace(tzinfo=START.tzinfo), START), most_points=100) != ()
    assert series(folder, 5, Window(at("2027-01-01"), at("2028-01-01")), most_points=100) == ()


def test_more_rows_than_memory_has_room_for_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(folder, 5, made(5, at("2024-12-20"), 24 * 60), at("2025-02-01"))
    monkeypatch.setattr(reading, "MOST_ROWS", 1000)
    with pytest.raises(ConfigError, match="too many") as caught:
        series(folder, 5, ALL, most_points=100)
    assert "shorter" in str(caught.value.hint)
    assert series(folder, 5, Window(at("2024-01-01"), at("2024-12-31")), most_points=100) != ()


def test_a_damaged_file_is_an_error(folder: Path) -> None:
    store(folder, 5, made(5, at("2025-12-01"), 24 * 60), at("2026-01-01"))
    (path,) = folder.glob("history/*/*/*.parquet")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StorageError, match="damaged"):
        series(folder, 5, ALL, most_points=100)
