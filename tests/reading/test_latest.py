"""The last value and the last day of each sensor, read from the end of the location's file."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from openaq_pipeline.errors import StorageError
from openaq_pipeline.model import Measurement, file_order
from openaq_pipeline.reading import latest as reading
from openaq_pipeline.reading.latest import SensorLatest, latest, newest
from openaq_pipeline.storage.sealed import seal
from openaq_pipeline.storage.view import View
from tests.measurements import measurement
from tests.reading.folders import SEEN, at, series, store, write_live

NOW = at("2026-11-02T10:20")


def row(hours_ago: float, value: float | None = 8.0, sensors_id: int = 71, **changes: object) -> Measurement:
    """Return a row that ended so many hours before 10:00."""
    stamp = at("2026-11-02T10:00") - timedelta(hours=hours_ago)
    found = measurement(value, stamp, first_seen=SEEN, sensors_id=sensors_id)
    return msgspec.structs.replace(found, **changes)


def written(folder: Path, *rows: Measurement) -> tuple[SensorLatest, ...]:
    write_live(folder, 7, sorted(rows, key=file_order))
    return latest(folder, 7, NOW)


def test_each_sensor_is_told_by_parameter_with_its_newest_row(folder: Path) -> None:
    rows = series(7, at("2026-10-01"), 24 * 32 + 11)
    store(folder, 7, rows, None)
    found = latest(folder, 7, NOW)
    assert [(each.parameter, each.sensors_id) for each in found] == [("o3", 72), ("pm25", 71)]
    for each in found:
        last = next(one for one in reversed(rows) if one.sensors_id == each.sensors_id)
        assert each.datetime == last.datetime == at("2026-11-02T10:00")
        assert (each.value, each.units, each.interval_seconds) == (last.value, last.units, 3600)


def test_the_day_has_a_value_an_hour_and_none_where_there_is_no_row(folder: Path) -> None:
    (found,) = written(folder, row(0, 1.0), row(1, 2.0), row(3, 4.0), row(22, 5.0), row(24, 6.0))
    assert len(found.day) == 24
    assert found.day[-1] is None  # the hour from 10:00 is under way
    assert found.day[-5:-1] == (4.0, None, 2.0, 1.0)
    assert found.day[0] == 5.0  # the row of 24 hours ago is of the day before


def test_rows_within_an_hour_are_averaged(folder: Path) -> None:
    rows = [row(quarter / 4, float(quarter), interval_seconds=900) for quarter in range(8)]
    (found,) = written(folder, *rows)
    assert found.day[-3:-1] == ((4 + 5 + 6 + 7) / 4, (0 + 1 + 2 + 3) / 4)


def test_what_is_no_measurement_counts_for_no_mean(folder: Path) -> None:
    rows = [row(0, None, issues=("missing_value",)), row(1, -999.0, issues=("sentinel_value",)), row(2, 7.0)]
    (found,) = written(folder, *rows, row(3, 90.0, issues=("spike",)), row(4, 9.0, has_flags=True))
    assert found.value is None
    assert found.issues == ("missing_value",)
    assert found.day[-6:-1] == (9.0, 90.0, 7.0, None, None)


def test_the_rows_of_the_day_are_counted_and_those_that_are_odd(folder: Path) -> None:
    rows = [row(0), row(1, None, issues=("missing_value",)), row(2, has_flags=True), row(30, issues=("spike",))]
    (found,) = written(folder, *rows)
    assert (found.rows, found.odd) == (3, 2)


def test_pm_has_the_index_of_its_nowcast(folder: Path) -> None:
    (found,) = written(folder, *(row(hour, 8.0) for hour in range(5)))
    assert found.aqi is not None
    assert (found.aqi.value, found.aqi.category, found.aqi.basis) == (44, "Good", "NowCast")


def test_two_of_the_last_three_hours_make_an_index_and_one_does_not(folder: Path) -> None:
    (enough,) = written(folder, row(0), row(2))
    (few,) = written(folder, row(0), row(3))
    assert enough.aqi is not None
    assert few.aqi is None


def test_an_hour_under_way_waits_for_three_quarters_of_it(folder: Path) -> None:
    quarters = [row(quarter / 4, 8.0, interval_seconds=900) for quarter in range(12)]
    (found,) = written(folder, *quarters, row(-0.25, 300.0, interval_seconds=900))
    assert found.value == 300.0
    assert found.aqi is not None
    assert found.aqi.value == 44


def test_a_daily_mean_of_pm_has_the_index_of_the_day(folder: Path) -> None:
    (found,) = written(folder, row(10, 35.9, interval_seconds=86_400))
    assert found.aqi is not None
    assert (found.aqi.value, found.aqi.basis) == (102, "24 hours")


def test_a_row_of_more_than_a_day_ago_has_no_index(folder: Path) -> None:
    (yesterday,) = written(folder, *(row(hour) for hour in range(23, 40)))
    assert yesterday.aqi is not None
    (before,) = written(folder, *(row(hour) for hour in range(25, 40)))
    assert before.value == 8.0
    assert before.aqi is None
    assert set(before.day) == {None}


def test_a_row_from_the_future_is_not_the_latest(folder: Path) -> None:
    (found,) = written(folder, row(0, 5.0), row(-24 * 365, 6.0, issues=("future_datetime",)))
    assert found.value == 5.0


def test_a_row_that_was_to_come_counts_when_its_time_has(folder: Path) -> None:
    (found,) = written(folder, row(0, 5.0), row(-0.5, 6.0))
    assert found.value == 5.0
    (later,) = latest(folder, 7, NOW + timedelta(minutes=10))
    assert later.value == 6.0


def test_a_sensor_that_is_silent_for_weeks_is_told_of(folder: Path) -> None:
    found = written(folder, row(24 * 20, 3.0, sensors_id=72), *(row(hour) for hour in range(30)))
    assert [(each.sensors_id, each.value) for each in found] == [(71, 8.0), (72, 3.0)]


def test_rows_that_count_in_the_history_are_passed_over(folder: Path) -> None:
    write_live(folder, 7, [row(24 * 20, 3.0, sensors_id=72), row(0)])
    seal(folder, 7, at("2026-11-01T00:00"))
    assert [each.sensors_id for each in latest(folder, 7, NOW)] == [71]


@pytest.mark.parametrize("body", [None, b"[]\n"])
def test_without_rows_there_is_nothing(folder: Path, body: bytes | None) -> None:
    if body is not None:
        (folder / "location_7.json").write_bytes(body)
    assert latest(folder, 7, NOW) == ()
    assert list(newest(folder, [7], "pm25", NOW)) == []


def test_a_file_is_read_again_when_it_has_changed_and_not_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[View] = []
    enter = View.__enter__

    def entered(view: View) -> View:
        looks.append(view)
        return enter(view)

    monkeypatch.setattr(View, "__enter__", entered)
    written(folder, row(1, 5.0))
    assert latest(folder, 7, NOW + timedelta(hours=2))[0].value == 5.0
    assert len(looks) == 1
    assert written(folder, row(1, 5.0), row(0, 6.0))[0].value == 6.0
    assert len(looks) == 2


def test_an_earlier_look_reads_what_a_later_one_did_not(folder: Path) -> None:
    written(folder, row(0, 5.0), row(24 * 5, 6.0))
    (found,) = latest(folder, 7, NOW - timedelta(days=4, hours=23))
    assert found.value == 6.0
    assert 6.0 in found.day


@pytest.mark.parametrize(
    "damage",
    [lambda body: body[:-40], lambda body: body[:-200] + b"\x00" * 197 + b"\n]\n", lambda _: b"garbage"],
    ids=["cut short", "torn", "no file of ours"],
)
def test_a_damaged_file_is_an_error_that_says_what_becomes_of_it(folder: Path, damage: object) -> None:
    assert callable(damage)
    written(folder, *(row(hour) for hour in range(30)))
    path = folder / "location_7.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StorageError, match="is damaged") as caught:
        latest(folder, 7, NOW)
    assert "next run" in str(caught.value.hint)
    assert list(newest(folder, [7], "pm25", NOW)) == []


def test_rows_of_another_location_are_damage(folder: Path) -> None:
    write_live(folder, 7, series(8, at("2026-11-02"), 10))
    with pytest.raises(StorageError):
        latest(folder, 7, NOW)


def test_only_the_end_of_a_large_file_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "OLDER_BYTES", 10_000)
    read: list[int] = []
    pieces = View.pieces

    def counted(view: View, start: int, end: int) -> Iterator[bytes]:
        read.append(end - start)
        return pieces(view, start, end)

    monkeypatch.setattr(View, "pieces", counted)
    (found,) = written(folder, *(row(minute / 60) for minute in range(-20, 60 * 24 * 6)))
    assert (folder / "location_7.json").stat().st_size > 2_400_000
    assert sum(read) < 1_000_000  # two days of a row a minute
    assert found.day[-2] is not None


def test_a_day_too_large_is_read_from_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 5_000)
    (found,) = written(folder, *(row(hour, float(hour)) for hour in range(24)))
    assert found.value == 0.0
    assert found.day[-2] == 0.0


def test_a_map_gets_the_newest_row_of_a_parameter_of_each_location(folder: Path) -> None:
    written(folder, row(1, 5.0), row(0, 6.0, sensors_id=73), row(0, 0.01, sensors_id=72, parameter="o3", units="ppm"))
    store(folder, 8, series(8, at("2026-11-01"), 30), None)
    store(folder, 9, series(9, at("2026-10-01"), 30), None)  # silent for weeks
    found = dict(newest(folder, [7, 8, 9, 10], "pm25", NOW))
    assert sorted(found) == [7, 8]
    assert (found[7].sensors_id, found[7].value) == (73, 6.0)
    assert found[8].aqi is not None
    assert latest(folder, 9, NOW) != ()


def test_what_is_remembered_of_a_location_is_small(folder: Path) -> None:
    tracemalloc.start()
    try:
        for location_id in range(100, 120):
            sensors = [[msgspec.structs.replace(row(hour), sensors_id=key) for hour in range(48)] for key in range(6)]
            rows = [msgspec.structs.replace(each, location_id=location_id) for one in sensors for each in one]
            write_live(folder, location_id, sorted(rows, key=file_order))
            del sensors, rows
            if location_id == 100:
                before = tracemalloc.get_traced_memory()[0]
                assert len(latest(folder, location_id, NOW)) == 6
            else:
                latest(folder, location_id, NOW)
        assert tracemalloc.get_traced_memory()[0] - before < 20 * 15_000
    finally:
        tracemalloc.stop()


def test_a_value_beyond_all_measure_is_told_and_breaks_nothing(folder: Path) -> None:
    rows = [row(hour / 2, 1.7e308, interval_seconds=1800) for hour in range(24)]
    (found,) = written(folder, *rows)
    assert (found.value, found.aqi) == (1.7e308, None)
    assert set(found.day) == {None}
