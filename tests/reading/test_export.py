"""An export: one file with the same rows, its licences beside it, and nothing that may not be handed on."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest

from openaq_pipeline import columns, load
from openaq_pipeline.errors import ConfigError, StorageError
from openaq_pipeline.model import License, Measurement, Window
from openaq_pipeline.reading import formats
from openaq_pipeline.reading.export import Exported, MayNotBeHandedOn, export
from openaq_pipeline.reading.moments import EARLIEST, LATEST
from openaq_pipeline.reading.permission import permission
from tests.reading.folders import CC_BY, NO_SHARING, at, describe, location, series, store, terms, write_terms

NOW = datetime(2026, 11, 25, tzinfo=UTC)
ALWAYS = Window(EARLIEST, LATEST)


def write(folder: Path, form: str, output: Path, **choice: Any) -> Exported:
    return export(folder, form, output, NOW, **{"window": ALWAYS, **choice})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder for exports."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def as_written(rows: list[Measurement]) -> list[dict[str, Any]]:
    """Rows as JSON has them."""
    found: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(rows))
    return found


def test_json_has_the_form_of_a_location_file(folder: Path, rows: list[Measurement], output: Path) -> None:
    done = write(folder, "json", output / "all.json")
    assert (done.rows, done.locations, done.restricted) == (len(rows), 3, ())
    assert json.loads((output / "all.json").read_text()) == as_written(rows)
    assert len((output / "all.json").read_text().splitlines()) == len(rows) + 2
    assert len(pd.read_json(output / "all.json")) == len(rows)


def test_csv_has_the_same_rows(folder: Path, rows: list[Measurement], output: Path) -> None:
    write(folder, "csv", output / "all.csv")
    with (output / "all.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == columns.MEASUREMENTS.names
    assert [(row["datetime"], float(row["value"]), int(row["sensors_id"])) for row in found] == [
        (each["datetime"], each["value"], each["sensors_id"]) for each in as_written(rows)
    ]
    frame = pd.read_csv(output / "all.csv", parse_dates=["datetime", "first_seen"])
    assert frame["datetime"].tolist() == [row.datetime for row in rows]
    summed = duckdb.read_csv(str(output / "all.csv")).aggregate("count(*), sum(value)")
    assert summed.fetchall() == [(len(rows), pytest.approx(sum(row.value or 0 for row in rows)))]


def test_parquet_has_the_same_rows_with_plain_texts(folder: Path, rows: list[Measurement], output: Path) -> None:
    write(folder, "parquet", output / "all.parquet")
    table = pq.read_table(output / "all.parquet")
    assert table.cast(columns.MEASUREMENTS).to_pylist() == load(data_dir=folder).to_pylist()
    assert str(table.schema.field("parameter").type) == "string"
    assert duckdb.read_parquet(str(output / "all.parquet")).aggregate("count(*)").fetchall() == [(len(rows),)]


def test_a_spreadsheet_has_the_same_rows_with_times_of_its_own(
    folder: Path, rows: list[Measurement], output: Path
) -> None:
    write(folder, "xlsx", output / "all.xlsx", locations=[7])
    book = openpyxl.load_workbook(output / "all.xlsx", read_only=True)
    names, *found = list(book.worksheets[0].iter_rows(values_only=True))
    book.close()
    assert list(names) == columns.MEASUREMENTS.names
    own = [row for row in rows if row.location_id == 7]
    assert [(row[1], row[5], row[6], row[9]) for row in found] == [
        (row.sensors_id, row.value, row.datetime.replace(tzinfo=None), row.has_flags) for row in own
    ]


def test_more_rows_than_a_sheet_holds_go_to_another_sheet(folder: Path, rows: list[Measurement]) -> None:
    body = BytesIO()
    table = load(7, data_dir=folder)
    with formats.xlsx(body, rows_a_sheet=40) as writer:
        writer(table.slice(0, 30))
        writer(table.slice(30))
    sheets = openpyxl.load_workbook(body).worksheets
    assert [sheet.max_row - 1 for sheet in sheets] == [40, 40, 16]
    assert {sheet["A1"].value for sheet in sheets} == {"location_id"}
    told = [row[5] for sheet in sheets for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert told == [row.value for row in rows if row.location_id == 7]
    assert formats.ROWS_A_SHEET + 1 == 1_048_576


def test_nulls_issues_and_formulas_survive_or_are_made_harmless(folder: Path, output: Path) -> None:
    first, second, *_ = series(5, at("2025-01-01"), 2)
    odd = msgspec.structs.replace(
        first, value=None, has_flags=None, parameters_id=None, units='=HYPERLINK("x")', issues=("spike", "@gap")
    )
    store(folder, 5, [odd, msgspec.structs.replace(second, value=-3.5)], None)
    describe(folder, location(5))
    write_terms(folder, terms(41, redistribution=True))
    for form in ("csv", "xlsx", "json"):
        write(folder, form, output / f"odd.{form}")
    with (output / "odd.csv").open(newline="") as file:
        row, negative = list(csv.DictReader(file))
    assert (row["value"], row["has_flags"], row["issues"], row["units"]) == ("", "", "spike;@gap", '\'=HYPERLINK("x")')
    assert negative["value"] == "-3.5"
    sheet = openpyxl.load_workbook(output / "odd.xlsx").active
    assert sheet is not None
    assert [sheet.cell(2, column).value for column in (5, 6, 10, 11)] == ['\'=HYPERLINK("x")', None, None, "spike;@gap"]
    assert {cell.data_type for line in sheet.iter_rows() for cell in line} <= {"s", "n", "d", "b", "inlineStr"}
    assert sheet.cell(3, 6).value == -3.5
    assert json.loads((output / "odd.json").read_text())[0]["units"] == odd.units


def test_only_what_is_chosen_is_written(folder: Path, rows: list[Measurement], output: Path) -> None:
    window = Window(at("2025-01-31"), at("2025-02-03T12:00"))
    done = write(folder, "json", output / "some.json", locations=[5, 7], parameters=["o3"], window=window)
    expected = [
        row
        for row in rows
        if row.location_id in {5, 7} and row.parameter == "o3" and window.start < row.datetime <= window.end
    ]
    assert json.loads((output / "some.json").read_text()) == as_written(expected)
    assert done.rows == len(expected) > 0


def test_the_licences_stand_beside_the_data(folder: Path, rows: list[Measurement], output: Path) -> None:
    assert rows
    done = write(folder, "csv", output / "all.csv")
    text = done.credits.read_text()
    assert done.credits == output / "LICENSES.md"
    for said in ("OpenAQ (https://openaq.org)", "## Data in `all.csv`", "### Location 11 (Ratnapark)", "CC BY 4.0"):
        assert said in text
    assert "Attribution: City of Kathmandu, https://example.org/air" in text
    assert "from 2016-01-01 to now" in text
    assert "redistribution allowed; commercial use allowed" in text
    assert "may not be redistributed" not in text


def test_exports_beside_each_other_share_the_file_and_lose_no_licence(
    folder: Path, rows: list[Measurement], output: Path
) -> None:
    assert rows
    write(folder, "csv", output / "first.csv", locations=[5])
    write(folder, "csv", output / "second.csv", locations=[7])
    write(folder, "csv", output / "first.csv", locations=[11])
    text = (output / "LICENSES.md").read_text()
    assert text.count("## Data in `first.csv`") == text.count("## Data in `second.csv`") == 1
    assert ("Location 5" in text, "Location 7" in text, "Location 11" in text) == (False, True, True)
    assert text.count("All measurements come from OpenAQ") == 1


def test_a_licence_file_of_somebody_else_is_not_overwritten(
    folder: Path, rows: list[Measurement], output: Path
) -> None:
    assert rows
    (output / "LICENSES.md").write_text("MIT\n")
    with pytest.raises(ConfigError, match="is not from an export"):
        write(folder, "csv", output / "all.csv")
    assert [path.name for path in output.iterdir()] == ["LICENSES.md"]


def test_names_from_outside_stay_text(folder: Path, output: Path) -> None:
    store(folder, 5, series(5, at("2025-01-01"), 2), None)
    describe(folder, location(5, name="Nice\n## Data in `other.csv`\n<script>"))
    write_terms(folder, terms(41, redistribution=True))
    text = write(folder, "csv", output / "all.csv").credits.read_text()
    assert text.count("\n## ") == 1
    assert "<script>" not in text.replace(r"\<script\>", "")


@pytest.mark.parametrize(
    ("licenses", "on_file", "why"),
    [
        ((), [terms(41, redistribution=True)], "its licence is unknown: OpenAQ names none"),
        ((NO_SHARING,), [terms(99, redistribution=False)], "allows no redistribution"),
        (
            (CC_BY, NO_SHARING),
            [terms(41, redistribution=True), terms(99, redistribution=False)],
            '"Look, don\'t touch"',
        ),
        ((CC_BY,), [], "are not known yet"),
        ((CC_BY,), [terms(41, redistribution=None)], "does not say"),
        (None, [terms(41, redistribution=True)], "nothing is known of this location"),
    ],
)
def test_what_may_not_be_handed_on_is_refused_unless_asked_for(
    folder: Path, output: Path, licenses: tuple[License, ...] | None, on_file: list[Any], why: str
) -> None:
    found = store(folder, 5, series(5, at("2025-01-01"), 2), None)
    store(folder, 7, series(7, at("2025-01-01"), 2), None)
    describe(folder, location(7), *([] if licenses is None else [location(5, licenses)]))
    write_terms(folder, terms(41, redistribution=True), *on_file) if on_file else None
    with pytest.raises(MayNotBeHandedOn, match="nothing was written") as caught:
        write(folder, "json", output / "all.json", locations=[5])
    assert [line.startswith("location 5: ") and why in line for line in caught.value.reasons] == [True]
    assert list(output.iterdir()) == []
    done = write(folder, "json", output / "all.json", locations=[5], include_restricted=True)
    assert json.loads((output / "all.json").read_text()) == as_written(found)
    assert done.restricted == caught.value.reasons
    text = done.credits.read_text()
    assert "**These data may not be redistributed as they are.**" in text
    assert "Location 5" in text


@pytest.mark.parametrize(
    ("start", "end", "allowed"),
    [("2018-01-01", "2019-01-01", True), ("2018-01-01", "2024-01-01", False), ("2021-01-01", "2024-01-01", False)],
)
def test_the_licences_of_the_exported_time_count(start: str, end: str, allowed: bool) -> None:
    free = License(41, "Free", date_from="2016-01-01", date_to="2020-06-01")
    closed = License(99, "Closed", date_from="2020-06-01")
    known = {41: terms(41, redistribution=True), 99: terms(99, redistribution=False)}
    found = permission(5, location(5, (free, closed)), known, Window(at(start), at(end)))
    assert (found.reason is None) is allowed
    gone = permission(5, location(5, (free,)), known, Window(at("2022-01-01"), at("2023-01-01")))
    assert gone.reason == "its licence is unknown: OpenAQ names none for this time"


@pytest.mark.parametrize("name", ["x.csv", "history/x.csv", "location_5.json"])
def test_nothing_is_written_into_the_data_folder(folder: Path, rows: list[Measurement], name: str) -> None:
    assert rows
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="is in the data folder"):
        write(folder, "csv", folder / name)
    (folder.parent / "link").symlink_to(folder)
    with pytest.raises(ConfigError, match="is in the data folder"):
        write(folder, "csv", folder.parent / "link" / name)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("form", sorted(formats.FORMATS))
def test_an_export_that_fails_leaves_what_was_there(
    folder: Path, rows: list[Measurement], output: Path, form: str
) -> None:
    assert rows
    (output / "all").write_text("before")
    (folder / "location_11.json").write_bytes(b"broken")
    with pytest.raises(StorageError, match=r"location_11\.json is damaged"):
        write(folder, form, output / "all")
    assert {path.name: path.read_text() for path in output.iterdir()} == {"all": "before"}


def test_an_empty_export_is_none(folder: Path, rows: list[Measurement], output: Path) -> None:
    assert rows
    with pytest.raises(ConfigError, match="No measurement is of these"):
        write(folder, "csv", output / "all.csv", window=Window(at("2030-01-01"), at("2030-01-01") + timedelta(days=1)))
    with pytest.raises(ConfigError, match=r"measures pm2\.5"):
        write(folder, "csv", output / "all.csv", parameters=["pm2.5"])
    assert list(output.iterdir()) == []
