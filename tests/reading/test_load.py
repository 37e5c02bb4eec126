"""`openaq_pipeline.load`: what is on disk, live and historic, each row once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import openaq_pipeline
from openaq_pipeline import columns, load
from openaq_pipeline.errors import ConfigError, FatalError, PipelineError, StorageError
from openaq_pipeline.model import Measurement
from openaq_pipeline.storage.sealed import history_folder, seal_path
from tests.conftest import ROOT
from tests.measurements import measurement
from tests.reading.folders import (
    SEEN,
    at,
    describe,
    location,
    series,
    store,
    write_history,
    write_live,
    write_sealed,
)


def told(table: pa.Table) -> list[Measurement]:
    """The rows of a table of any locations."""
    return [
        row
        for location_id in sorted(set(table.column("location_id").to_pylist()))
        for row in columns.to_rows(
            location_id,
            table.filter(pa.compute.equal(table.column("location_id"), location_id)).select(columns.HISTORY.names),
        )
    ]


def stamps(table: pa.Table) -> list[datetime]:
    return [stamp.astimezone(UTC) for stamp in table.column("datetime").to_pylist()]


def test_live_and_history_come_as_one_sorted_by_location_time_and_sensor(folder: Path, rows: list[Measurement]) -> None:
    table = load(data_dir=folder)
    assert table.schema == columns.MEASUREMENTS
    order = list(
        zip(*(table.column(name).to_pylist() for name in ("location_id", "datetime", "sensors_id")), strict=True)
    )
    assert order == sorted(order)
    assert told(table) == rows


def test_what_an_interrupted_move_left_on_the_wrong_side_does_not_count(folder: Path) -> None:
    found = series(5, at("2025-01-01"), 24 * 60)
    sealed = at("2025-02-01")
    write_history(folder, 5, [*found[:-20], measurement(-1.0, at("2025-03-01"), first_seen=SEEN, location_id=5)])
    write_sealed(folder, 5, sealed)
    write_live(folder, 5, [measurement(-1.0, at("2024-06-01"), first_seen=SEEN, location_id=5), *found])
    assert told(load(data_dir=folder)) == found


def test_history_without_a_boundary_does_not_count(folder: Path) -> None:
    found = series(5, at("2025-01-01"), 24)
    write_history(folder, 5, found[:10])
    write_live(folder, 5, found)
    write_history(folder, 6, series(6, at("2025-01-01"), 24))
    assert told(load(data_dir=folder)) == found


def test_a_folder_without_rows_gives_an_empty_table_of_the_same_columns(folder: Path) -> None:
    write_live(folder, 5, [])
    describe(folder, location(5), location(6))
    for table in (load(data_dir=folder), load(6, data_dir=folder)):
        assert table.num_rows == 0
        assert table.schema == columns.MEASUREMENTS


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (5, {5}),
        ([11, 7, 7], {7, 11}),
        (np.array([5, 11]), {5, 11}),
        (np.int64(7), {7}),
        (range(5, 6), {5}),
        ([], set()),
    ],
)
def test_locations_are_an_id_or_several(folder: Path, rows: list[Measurement], wanted: Any, expected: set[int]) -> None:
    assert told(load(wanted, data_dir=folder)) == [row for row in rows if row.location_id in expected]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("pm25", {"pm25"}), (["pm25", "o3"], {"pm25", "o3"}), (10, {"o3"}), ([2, "o3"], {"pm25", "o3"})],
)
def test_parameters_are_names_or_numbers(
    folder: Path, rows: list[Measurement], wanted: Any, expected: set[str]
) -> None:
    assert told(load(parameters=wanted, data_dir=folder)) == [row for row in rows if row.parameter in expected]


def test_a_number_also_finds_rows_of_the_archive_which_knows_no_numbers(folder: Path) -> None:
    found = [
        measurement(n, at(f"2025-01-0{n}"), first_seen=SEEN, location_id=5, sensors_id=sensor, parameters_id=number)
        for n, sensor, number in ((1, 51, None), (2, 51, 2), (3, 59, None), (4, 59, 2))
    ]
    store(folder, 5, found, at("2025-01-02"))
    describe(folder, location(5))
    known = [row for row in found if row.sensors_id == 51 or row.datetime > at("2025-01-02")]
    assert told(load(parameters=2, data_dir=folder)) == known


def test_the_range_is_of_period_ends_without_its_start_and_with_its_end(folder: Path, rows: list[Measurement]) -> None:
    start, end = at("2025-01-10T12:00"), at("2025-02-04T06:00")
    expected = [row for row in rows if start < row.datetime <= end]
    assert told(load(start=start, end=end, data_dir=folder)) == expected
    assert {expected[0].datetime, *(row.datetime for row in expected)} >= {end}
    assert told(load(start="2025-01-10T12:00", end="2025-02-04T06:00Z", data_dir=folder)) == expected
    assert told(load(start=pd.Timestamp(start), end=end, data_dir=folder)) == expected
    assert load(start=end, end=end, data_dir=folder).num_rows == 0


@pytest.mark.parametrize("day", [date(2025, 2, 3), "2025-02-03"])
def test_a_date_is_its_whole_day(folder: Path, rows: list[Measurement], day: Any) -> None:
    found = load(7, "pm25", start=day, end=day, data_dir=folder)
    assert stamps(found) == [at("2025-02-03") + timedelta(hours=hour) for hour in range(1, 25)]
    assert rows


def test_a_zone_says_where_days_begin_and_how_the_times_are_told(folder: Path, rows: list[Measurement]) -> None:
    found = load(7, "pm25", start="2025-02-04", end="2025-02-04", tz="Asia/Kathmandu", data_dir=folder)
    assert found.schema.field("datetime").type == pa.timestamp("us", tz="Asia/Kathmandu")
    midnight = at("2025-02-03T18:15")
    assert stamps(found) == [midnight + timedelta(minutes=45) + timedelta(hours=hour) for hour in range(24)]
    assert found.to_pandas()["datetime"].iloc[0].isoformat() == "2025-02-04T00:45:00+05:45"
    whole = load(tz="Asia/Kathmandu", data_dir=folder)
    assert stamps(whole) == [row.datetime for row in rows]
    assert whole.schema.field("first_seen").type == columns.UTC_STAMP


def test_only_the_files_that_are_needed_are_opened(folder: Path, rows: list[Measurement]) -> None:
    (history_folder(folder, 5) / "year=2024/measurements.parquet").write_bytes(b"broken")
    (folder / "location_5.json").write_bytes(b"broken")
    (folder / "location_7.json").write_bytes(b"broken")
    expected = [
        row for row in rows if row.location_id in {5, 11} and at("2025-01-05") < row.datetime <= at("2025-01-06")
    ]
    assert expected
    assert told(load([5, 11], start="2025-01-05T00:00", end="2025-01-06T00:00", data_dir=folder)) == expected


def test_pandas_and_polars_take_it_as_it_is(folder: Path, rows: list[Measurement]) -> None:
    table = load(data_dir=folder)
    frame = table.to_pandas()
    assert frame["value"].tolist() == [row.value for row in rows]
    assert (frame["parameter"] == "pm25").sum() == len(rows) / 2
    assert str(frame["datetime"].dtype) == "datetime64[us, UTC]"
    assert pl.DataFrame(table).filter(pl.col("parameter") == "pm25").height == len(rows) / 2


def test_polars_reads_the_history_as_it_is(folder: Path, tmp_path: Path, rows: list[Measurement]) -> None:
    plain = folder.rename(tmp_path / "plain")
    frame = pl.scan_parquet(f"{plain}/history/**/*.parquet", hive_partitioning=True).collect()
    sealed = [row for row in rows if row.location_id != 7 and row.datetime < at("2025-02-01")]
    assert sorted(frame.select("location_id", "sensors_id", "value").iter_rows()) == sorted(
        (row.location_id, row.sensors_id, row.value) for row in sealed
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tz": "Asia/Katmandoo"}, "There is no time zone 'Asia/Katmandoo'"),
        ({"tz": "../etc/passwd"}, "There is no time zone"),
        ({"start": "2025-02-01", "end": "2025-01-01"}, "before it begins"),
        ({"start": "yesterday"}, "'yesterday' is not a time such as 2025-01-31"),
        ({"end": "2025-01"}, "is not a time"),
        ({"start": 3}, "is no date, time or text"),
        ({"start": np.datetime64(3, "s")}, "is no date, time or text"),
        ({"locations": [5, 99, 98]}, "There are no data of location 98, 99 in "),
        ({"locations": "5"}, "are no location ids"),
        ({"parameters": "pm2.5"}, r"No sensor of these locations measures pm2.5"),
        ({"parameters": 3.5}, "3.5 is no parameter"),
    ],
)
def test_what_makes_no_sense_is_one_typed_sentence(
    folder: Path, rows: list[Measurement], arguments: Any, said: str
) -> None:
    assert rows
    with pytest.raises(ConfigError, match=said):
        load(data_dir=folder, **arguments)


def test_a_misspelt_parameter_is_told_with_the_nearest_one(folder: Path, rows: list[Measurement]) -> None:
    assert rows
    with pytest.raises(ConfigError) as caught:
        load(parameters="pm2.5", data_dir=folder)
    assert caught.value.hint == "Did you mean pm25?"
    assert load(7, "o3", end="2024-01-01", data_dir=folder).num_rows == 0, "a sensor without rows then is no slip"


def _damage(body: bytes) -> Iterator[bytes]:
    yield b""
    yield body[: len(body) // 2]
    yield body.replace(b'"value":', b'"value":"x', 1)
    yield body.replace(b'"sensors_id":', b'"sensor":', 1)
    yield body.replace(b'"location_id":7', b'"location_id":8', 1)
    yield body.replace(b'00Z"', b'00"', 1)
    yield body.replace(b"pm25", b"pm\xff5", 1)
    lines = body.splitlines(keepends=True)
    yield b"".join([lines[0], lines[2], lines[1], *lines[3:]])
    yield b"".join([lines[0], lines[1], *lines[1:]])


def test_a_damaged_location_file_is_named_and_nothing_is_left_out(folder: Path, rows: list[Measurement]) -> None:
    path = folder / "location_7.json"
    kinds = list(_damage(path.read_bytes()))
    for body in kinds:
        path.write_bytes(body)
        with pytest.raises(StorageError, match=r"location_7\.json is damaged"):
            load(data_dir=folder)
    assert len(kinds) == 9
    assert told(load([5, 11], data_dir=folder)) == [row for row in rows if row.location_id != 7]


def test_a_damaged_history_file_is_named(folder: Path, rows: list[Measurement]) -> None:
    assert rows
    path = history_folder(folder, 11) / "year=2024/measurements.parquet"
    body = path.read_bytes()
    middle = len(body) // 3
    for damage in (b"", body[:-9], body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]):
        path.write_bytes(damage)
        with pytest.raises(StorageError, match=r"location_id=11/year=2024/measurements\.parquet is damaged"):
            load(data_dir=folder)


def test_a_damaged_or_newer_boundary_is_no_guess(folder: Path, rows: list[Measurement]) -> None:
    assert rows
    path = seal_path(folder, 5)
    for body, error in ((b"{", StorageError), (b'{"version": 2, "sealed_to": "2025-01-01T00:00:00Z"}', FatalError)):
        path.write_bytes(body)
        with pytest.raises(error, match=r"sealed"):
            load(data_dir=folder)


def test_the_folder_is_named_by_argument_environment_or_configuration(
    folder: Path, rows: list[Measurement], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "other.yaml"
    settings.write_text(f'data: {{directory: "{folder}"}}\n')
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"There is no data folder .*nowhere"):
        load()
    monkeypatch.setenv("DATA_DIR", str(folder))
    assert load().num_rows == len(rows)
    monkeypatch.delenv("DATA_DIR")
    assert load(config=settings).num_rows == load(data_dir=str(folder), config=settings).num_rows == len(rows)


def test_a_broken_configuration_is_one_error_that_tells_its_problems(tmp_path: Path) -> None:
    settings = tmp_path / "other.yaml"
    settings.write_text("data: {directory: x, live_days: -1}\nschedule: {mode: never}\n")
    with pytest.raises(ConfigError, match="have 2 problems") as caught:
        load(config=settings)
    assert len(caught.value.problems) == 2
    assert set(caught.value.problems) <= set(caught.value.__notes__)
    assert isinstance(caught.value, PipelineError)


def test_importing_the_package_stays_cheap() -> None:
    code = "import sys, openaq_pipeline; print([name for name in ('pyarrow', 'pydantic') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "dataset", check=True
    )
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = openaq_pipeline.lod
