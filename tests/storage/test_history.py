"""The history: what is written is read, damage is told, and every tool reads its folder as it is."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from openaq_pipeline.columns import HISTORY, to_rows, to_table
from openaq_pipeline.errors import StorageError
from openaq_pipeline.model import License, Measurement
from openaq_pipeline.ports import HistoryStore
from openaq_pipeline.storage.history import FILE, History
from openaq_pipeline.storage.sealed import seal
from tests.measurements import measurement
from tests.memory import MemoryHistory

ID = 7
SEEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
EVER, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
CC_BY = License(41, "CC BY 4.0", "City of Kathmandu", "https://example.org/air", "2016-01-01", None)


def row(stamp: datetime, sensors_id: int = 71, value: float | None = 1.5, location_id: int = ID) -> Measurement:
    return measurement(value, stamp, first_seen=SEEN, sensors_id=sensors_id, location_id=location_id)


def day(year: int, month: int = 1, number: int = 1, hour: int = 0) -> datetime:
    return datetime(year, month, number, hour, tzinfo=UTC)


def table(*rows: Measurement) -> pa.Table:
    return to_table(sorted(rows, key=lambda each: each.key))


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> HistoryStore:
    return History(tmp_path) if request.param == "disk" else MemoryHistory()


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def test_without_a_file_there_are_no_rows(store: HistoryStore) -> None:
    assert store.year(ID, 2025).equals(HISTORY.empty_table())
    assert store.read(ID, EVER, END).equals(HISTORY.empty_table())
    assert store.latest(ID, END) == {}


def test_rows_come_back_as_they_were_written(store: HistoryStore) -> None:
    odd = row(day(2025, 3), 72, None)
    archived = measurement(2.5, day(2025, 4), first_seen=SEEN, parameters_id=None, parameter="o3", units="ppm")
    there = [row(day(2025, 1, 1, 1)), row(day(2025, 12, 31, 23), value=-999.25), archived, odd]
    store.write(ID, 2025, table(*there), (CC_BY,))
    assert to_rows(ID, store.year(ID, 2025)) == sorted(there, key=lambda each: each.key)


def test_a_window_across_years_holds_its_first_moment_and_not_its_last(store: HistoryStore) -> None:
    rows = [row(day(2024, 12, 31, 23)), row(day(2025)), row(day(2025, 12, 31, 23)), row(day(2026)), row(day(2027))]
    for each in rows:
        store.write(ID, each.datetime.year, store.year(ID, each.datetime.year), ())
    for year in {each.datetime.year for each in rows}:
        store.write(ID, year, table(*(each for each in rows if each.datetime.year == year)), ())
    assert to_rows(ID, store.read(ID, day(2025), day(2026))) == rows[1:3]
    assert to_rows(ID, store.read(ID, rows[0].datetime, rows[3].datetime + timedelta(microseconds=1))) == rows[:4]
    assert to_rows(ID, store.read(ID, EVER, END)) == rows


def test_the_latest_stamps_are_those_in_front_of_a_moment(store: HistoryStore) -> None:
    store.write(ID, 2024, table(row(day(2024, 6), 71), row(day(2024, 6), 72)), ())
    store.write(ID, 2025, table(row(day(2025, 6), 71), row(day(2025, 7), 71), row(day(2025, 7), 73)), ())
    assert store.latest(ID, day(2025, 7)) == {71: day(2025, 6), 72: day(2024, 6)}
    assert store.latest(ID, END) == {71: day(2025, 7), 72: day(2024, 6), 73: day(2025, 7)}


def test_locations_and_years_do_not_meet(store: HistoryStore) -> None:
    store.write(ID, 2025, table(row(day(2025))), ())
    store.write(70, 2025, table(row(day(2025), 701, location_id=70)), ())
    store.write(ID, 2025, table(row(day(2025, 2))), ())
    assert to_rows(ID, store.read(ID, EVER, END)) == [row(day(2025, 2))]
    assert to_rows(70, store.read(70, EVER, END)) == [row(day(2025), 701, location_id=70)]


@pytest.mark.parametrize("year", [1, 999, 1969, 9999])
def test_years_at_the_ends_of_the_calendar_are_years(history: History, year: int) -> None:
    there = row(datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC))
    history.write(ID, year, table(there), ())
    assert history.path(ID, year).parent.name == f"year={year:04}"
    assert history.years(ID) == [year]
    assert to_rows(ID, history.read(ID, EVER, datetime.max.replace(tzinfo=UTC))) == [there]


def test_what_is_no_year_is_passed_over(history: History) -> None:
    history.write(ID, 2025, table(row(day(2025))), ())
    for name in ("year=20250", "year=", "year=٢٠٢٥", "month=1", "year=2024"):
        (history.path(ID, 2025).parents[1] / name).mkdir()
    (history.path(ID, 2025).parents[1] / "notes.txt").write_text("mine")
    assert history.years(ID) == [2025]


# --- licences, and how it is written ---


def licences(history: History) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(
        pq.read_metadata(history.path(ID, 2025)).metadata[b"openaq_pipeline.licenses"]
    )
    return found


def test_licences_are_noted_kept_when_they_are_not_known_and_replaced_when_they_are(history: History) -> None:
    history.write(ID, 2025, table(row(day(2025))), None)
    assert licences(history) == []
    history.write(ID, 2025, table(row(day(2025))), (CC_BY,))
    assert [each["attribution_name"] for each in licences(history)] == ["City of Kathmandu"]
    history.write(ID, 2025, table(row(day(2025, 2))), None)
    assert [each["name"] for each in licences(history)] == ["CC BY 4.0"]
    history.write(ID, 2025, table(row(day(2025, 2))), ())
    assert licences(history) == []


def test_a_file_says_its_version_and_how_it_is_sorted(history: History) -> None:
    history.write(ID, 2025, table(row(day(2025)), row(day(2025), 72)), (CC_BY,))
    found = pq.read_metadata(history.path(ID, 2025))
    assert found.metadata[b"openaq_pipeline.schema_version"] == b"1"
    assert b"ARROW:schema" not in found.metadata
    assert [each.column_index for each in found.row_group(0).sorting_columns] == [
        HISTORY.get_field_index("sensors_id"),
        HISTORY.get_field_index("datetime"),
    ]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.write(ID, 2025, table(row(day(2025))), (CC_BY,))
    before = history.path(ID, 2025).read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StorageError, match="No space left"):
        history.write(ID, 2025, table(row(day(2025, 2))), (CC_BY,))
    assert history.path(ID, 2025).read_bytes() == before
    assert [path.name for path in history.path(ID, 2025).parent.iterdir()] == [FILE]


def test_what_a_killed_writer_left_is_gone_after_the_next_write(history: History) -> None:
    history.write(ID, 2025, table(row(day(2025))), ())
    left = history.path(ID, 2025).with_name(f".{FILE}.tmp")
    left.write_bytes(b"PAR1 half a file")
    history.write(ID, 2025, table(row(day(2025, 2))), ())
    assert [path.name for path in history.path(ID, 2025).parent.iterdir()] == [FILE]


# --- damage ---


def test_a_byte_that_rots_anywhere_is_noticed_or_harmless(history: History) -> None:
    there = [row(day(2025, 1, 1) + timedelta(hours=n), value=n / 7) for n in range(300)]
    history.write(ID, 2025, table(*there), (CC_BY,))
    path = history.path(ID, 2025)
    good, noticed = path.read_bytes(), 0
    for place in range(4, len(good), 61):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x20]) + good[place + 1 :])
        try:
            found = to_rows(ID, history.year(ID, 2025))
        except StorageError:
            noticed += 1
        else:
            assert found == there, f"byte {place}"
    assert noticed > len(good) / 61 / 2


@pytest.mark.parametrize("kept", [0, 0.5, 0.999])
def test_a_file_that_was_cut_is_named_by_all_who_read_it(history: History, kept: float) -> None:
    history.write(ID, 2025, table(row(day(2025))), ())
    path = history.path(ID, 2025)
    good = path.read_bytes()
    path.write_bytes(good[: int(len(good) * kept)])
    for reading in (
        lambda: history.year(ID, 2025),
        lambda: history.read(ID, EVER, END),
        lambda: history.latest(ID, END),
    ):
        with pytest.raises(StorageError, match=f"{re.escape(str(path))} is damaged") as told:
            reading()
        assert "verify --repair" in told.value.hint


def test_a_parquet_file_of_somebody_else_is_named(history: History) -> None:
    history.write(ID, 2025, table(row(day(2025))), ())
    pq.write_table(pa.table({"sensors_id": [1], "city": ["Kathmandu"]}), history.path(ID, 2025))
    with pytest.raises(StorageError, match="is damaged"):
        history.year(ID, 2025)


def test_another_year_is_read_although_one_is_damaged(history: History) -> None:
    history.write(ID, 2024, table(row(day(2024))), ())
    history.write(ID, 2025, table(row(day(2025))), ())
    history.path(ID, 2024).write_bytes(b"")
    assert to_rows(ID, history.read(ID, day(2025), END)) == [row(day(2025))]


# --- the tools people have ---

Values = set[tuple[int, int, int, datetime, float | None]]


def by_polars(folder: Path) -> Values:
    found = pl.scan_parquet(folder, hive_partitioning=True).collect()
    return set(found.select("location_id", "year", "sensors_id", "datetime", "value").iter_rows())


def by_duckdb(folder: Path) -> Values:
    with duckdb.connect() as database:
        sql = (
            "SELECT location_id, year, sensors_id, epoch_us(datetime), value FROM read_parquet(?, hive_partitioning=1)"
        )
        found = database.execute(sql, [f"{folder}/**/*.parquet"]).fetchall()
    return {(*key, day(1970) + timedelta(microseconds=stamp), value) for *key, stamp, value in found}


def by_pyarrow(folder: Path) -> Values:
    names = ["location_id", "year", "sensors_id", "datetime", "value"]
    rows = ds.dataset(folder, partitioning="hive").to_table(columns=names).to_pylist()
    return {tuple(each[name] for name in names) for each in rows}


def by_pandas(folder: Path) -> Values:
    found = pd.read_parquet(folder)
    assert found["parameter"].dtype != "category", "plain strings"
    columns = (found[name].tolist() for name in ("location_id", "year", "sensors_id", "datetime", "value"))
    return {
        (int(place), int(year), sensor, stamp.to_pydatetime(), None if math.isnan(value) else value)
        for place, year, sensor, stamp, value in zip(*columns, strict=True)
    }


@pytest.mark.parametrize("reader", [by_polars, by_duckdb, by_pyarrow, by_pandas])
def test_the_folder_is_read_as_it_is(history: History, tmp_path: Path, reader: Callable[[Path], Values]) -> None:
    there = [
        row(day(2024, 12, 31, 23), value=None),
        row(day(2025)),
        row(day(2025, 5), 72, -1.25),
        row(day(2025, 5), 701, 0.1, location_id=70),
    ]
    for location_id, year in ((ID, 2024), (ID, 2025), (70, 2025)):
        rows = [each for each in there if (each.location_id, each.datetime.year) == (location_id, year)]
        history.write(location_id, year, table(*rows), (CC_BY,))
        seal(tmp_path, location_id, day(2026))
    assert reader(tmp_path / "history") == {
        (each.location_id, each.datetime.year, each.sensors_id, each.datetime, each.value) for each in there
    }
