"""`openaq-pipeline query` as users and their scripts meet it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Program
from tests.reading.folders import at, describe, location, series, store


@pytest.fixture
def stored(program: Program) -> Program:
    """A data folder with history and live rows."""
    program.config.write_text("data: {directory: data}\n")
    store(program.data, 5, series(5, at("2025-01-31"), 48), at("2025-02-01"))
    describe(program.data, location(5, name="Ratna\x1b[31mpark"))
    return program


def test_a_table_tells_times_in_utc_and_how_many_rows_there_are(stored: Program) -> None:
    done = stored.run(
        "query", "SELECT datetime, value, parameter FROM measurements ORDER BY datetime, sensors_id LIMIT 2"
    )
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "datetime              value  parameter",
        "--------------------  -----  ---------",
        "2025-01-31T00:00:00Z    5.1  pm25",
        "2025-01-31T00:00:00Z    5.2  o3",
        "",
        "2 rows.",
    ]


def test_a_long_answer_is_cut_and_says_so(stored: Program) -> None:
    done = stored.run("query", "FROM measurements")
    lines = done.out.splitlines()
    assert len(lines) == 44
    assert max(map(len, lines[:-1])) <= 160
    assert lines[-1].startswith("The first 40 of 96 rows")
    assert "(--format csv shows all)" in lines[-1]


def test_an_answer_without_rows_is_an_answer(stored: Program) -> None:
    assert stored.run("query", "FROM runs").out.splitlines()[-1].startswith("0 rows")


def test_names_from_outside_cannot_move_the_cursor(stored: Program) -> None:
    assert "Ratna [31mpark" in stored.run("query", "SELECT name FROM locations").out


def test_csv_and_json_have_every_row(stored: Program) -> None:
    sql = "SELECT sensors_id, datetime, value FROM measurements ORDER BY ALL"
    text = stored.run("query", sql, "--format", "csv").out
    assert text.splitlines()[:2] == ['"sensors_id","datetime","value"', '51,"2025-01-31T00:00:00Z",5.1']
    assert len(text.splitlines()) == 97
    found = stored.run("query", sql, "--format", "json").json
    assert len(found) == 96
    assert found[0] == {"sensors_id": 51, "datetime": "2025-01-31T00:00:00Z", "value": 5.1}
    assert stored.run("query", "SELECT sum(sensors_id) AS n FROM measurements", "--format", "json").json == [
        {"n": 4944}
    ]


def test_an_answer_goes_to_the_file_named(stored: Program) -> None:
    output = stored.folder / "answer.json"
    done = stored.run("query", "SELECT 1 AS one", "--format", "json", "--output", str(output))
    assert (done.code, done.out) == (0, "")
    assert json.loads(output.read_text()) == [{"one": 1}]


@pytest.mark.parametrize("name", ["data/answer.csv", "data/history/answer.csv", "nowhere/answer.csv"])
def test_a_place_that_is_none_exits_2(stored: Program, name: str) -> None:
    before = sorted(stored.folder.rglob("*"))
    done = stored.run("query", "SELECT 1", "--output", str(stored.folder / name))
    assert done.code == 2
    assert sorted(stored.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC 1", 'Error: The query can\'t be answered: Parser Error: syntax error at or near "SELEC".'),
        ("SELECT 1; SELECT 2", "Error: One query is wanted, not 2."),
        ("DROP VIEW measurements", "Error: Only queries"),
    ],
)
def test_a_slip_is_one_sentence_and_exits_2(stored: Program, sql: str, said: str) -> None:
    done = stored.run("query", sql)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_damaged_file_exits_1_and_nothing_is_shown_or_written(stored: Program) -> None:
    path = stored.data / "location_5.json"
    path.write_bytes(path.read_bytes()[:-30])
    output = stored.folder / "answer.csv"
    for place in ([], ["--output", str(output)]):
        done = stored.run("query", "SELECT * FROM measurements", "--format", "csv", *place)
        assert (done.code, done.out) == (1, "")
        assert "location_5.json" in done.err
    assert not output.exists()


@pytest.mark.parametrize("make", [True, False])
def test_without_data_it_says_what_to_do(program: Program, make: bool) -> None:
    program.config.write_text("data: {directory: data}\n")
    if make:
        program.data.mkdir()
    done = program.run("query", "SELECT 1")
    assert done.code == 2
    assert "There are no data in" in done.err
    assert "Run the main job first" in done.err


def test_a_reader_that_has_enough_is_no_error_worth_a_traceback(stored: Program, tmp_path: Path) -> None:
    command = f"{sys.executable} -m openaq_pipeline query --config {stored.config} --format csv"
    sql = "SELECT a.* FROM measurements a, measurements b, range(20)"
    done = subprocess.run(  # noqa: S602 - a pipe is what is tested
        f"{command} '{sql}' | head -n 1",
        shell=True,
        env=stored.env | {"PYTHONPATH": str(ROOT / "dataset")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith('"location_id"')
    assert done.stderr == ""
