"""`openaq-pipeline export` as users and their scripts meet it."""

from __future__ import annotations

import json

import pytest

from openaq_pipeline.model import License
from tests.conftest import Program
from tests.reading.folders import CC_BY, NO_SHARING, at, describe, location, series, store, terms, write_terms


@pytest.fixture
def stored(program: Program) -> Program:
    """A data folder with two locations that may be handed on, and one that may not."""
    program.config.write_text("data: {directory: data}\n")
    for location_id in (5, 7, 9):
        store(program.data, location_id, series(location_id, at("2025-01-31"), 48), at("2025-02-01"))
    given: dict[int, License] = {5: CC_BY, 7: CC_BY, 9: NO_SHARING}
    describe(program.data, *(location(key, (licence,)) for key, licence in given.items()))
    write_terms(program.data, terms(41, redistribution=True), terms(99, redistribution=False))
    return program


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "xlsx"])
def test_a_file_with_its_licences_is_written(stored: Program, form: str) -> None:
    done = stored.run("export", "--format", form, "--output", f"all.{form}", "--locations", "5", "7")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"192 rows of 2 locations in {stored.folder / f'all.{form}'}"
    assert (stored.folder / f"all.{form}").stat().st_size > 0
    assert "CC BY 4.0" in (stored.folder / "LICENSES.md").read_text()


def test_what_may_not_be_handed_on_is_named_and_exits_1(stored: Program) -> None:
    done = stored.run("export", "--format", "csv", "--output", "all.csv")
    assert (done.code, done.out) == (1, "")
    assert '  - location 9: its licence "Look, don\'t touch" allows no redistribution' in done.err
    assert "--include-restricted" in done.err
    assert not (stored.folder / "all.csv").exists()
    allowed = stored.run("export", "--format", "csv", "--output", "all.csv", "--include-restricted")
    assert allowed.code == 0
    assert "These data may not be redistributed" in allowed.out
    assert "may not be redistributed as they are" in (stored.folder / "LICENSES.md").read_text()


def test_parameters_and_dates_choose_and_a_date_is_its_whole_day(stored: Program) -> None:
    flags = ["--locations", "5", "--parameters", "o3", "--date-from", "2025-02-01", "--date-to", "2025-02-01"]
    assert stored.run("export", "--format", "json", "--output", "some.json", *flags).code == 0
    found = json.loads((stored.folder / "some.json").read_text())
    assert [row["datetime"] for row in found] == [f"2025-02-01T{hour:02}:00:00Z" for hour in range(1, 24)]
    assert {row["parameter"] for row in found} == {"o3"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--output", "data/all.csv"], "is in the data folder"),
        (["--output", "nowhere/all.csv"], "There is no folder"),
        (["--output", "all.csv", "--locations", "99"], "There are no data of location 99"),
        (["--output", "all.csv", "--locations", "5", "--parameters", "pm2.5"], "Did you mean pm25?"),
        (["--output", "all.csv", "--locations", "5", "--date-from", "2030-01-01"], "No measurement is of these"),
        (["--output", "all.csv", "--date-from", "2025-01-02", "--date-to", "2025-01-01"], "is not after --date-from"),
    ],
)
def test_bad_usage_exits_2_and_writes_nothing(stored: Program, flags: list[str], said: str) -> None:
    before = sorted(stored.folder.rglob("*"))
    done = stored.run("export", "--format", "csv", *flags)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert sorted(stored.folder.rglob("*")) == before


def test_without_data_it_says_what_to_do(program: Program) -> None:
    program.config.write_text("data: {directory: data}\n")
    done = program.run("export", "--format", "csv", "--output", "all.csv")
    assert done.code == 2
    assert "Run the main job first" in done.err
