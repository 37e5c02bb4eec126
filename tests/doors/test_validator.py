"""`validator.py` as users and their scripts meet it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from openaq_pipeline.model import Measurement
from tests.conftest import Program
from tests.measurements import measurement

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)


def rows(*values: float | None, location_id: int = 7) -> list[Measurement]:
    seen = BEGINNING + timedelta(days=9)
    return [
        measurement(value, BEGINNING + timedelta(hours=hour), first_seen=seen, location_id=location_id)
        for hour, value in enumerate(values)
    ]


def write(path: Path, found: list[Measurement]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(found))
    return path


@pytest.fixture
def settled(program: Program) -> Program:
    """A data folder with a good file and one in which a third of the rows is odd."""
    program.config.write_text("data: {directory: data}\n")
    write(program.data / "location_7.json", rows(*(10.0 + n for n in range(30))))
    odd = [*(10.0 + n for n in range(20)), *[-999.0] * 10]
    write(program.data / "location_8.json", rows(*odd, location_id=8))
    return program


def test_good_files_pass_and_exit_0(settled: Program) -> None:
    done = settled.run("validator.py", "--file", "location_7.json")
    assert done.code == 0, done.err
    assert "passed: 1 file, 30 rows, quality 100.00 %" in done.out


def test_a_score_below_the_bar_exits_1_and_names_the_rules(settled: Program) -> None:
    done = settled.run("validator.py", "--all")
    assert done.code == 1
    assert "sentinel_value: 10 rows" in done.out
    assert "FAILED: 2 files, 60 rows, quality 83.33 % (at least 90 % wanted)" in done.out
    assert settled.run("validator.py", "--all", "--min-quality", "80").code == 0


def test_the_bar_comes_from_the_settings_when_no_flag_sets_it(settled: Program) -> None:
    settled.config.write_text("data: {directory: data}\nmonitoring: {alerts: {min_quality_score: 80}}\n")
    assert settled.run("validator.py").code == 0


def test_json_goes_to_stdout_or_to_the_file_named(settled: Program) -> None:
    shown = settled.run("validator.py", "--all", "--format", "json").json
    assert [file["report"]["rows"] for file in shown["files"]] == [30, 30]
    output = settled.folder / "report.json"
    done = settled.run("validator.py", "--all", "--format", "json", "--output", str(output))
    assert done.out == ""
    assert json.loads(output.read_text()) == shown


def test_files_are_named_as_given_or_inside_the_data_folder_or_by_a_glob(settled: Program) -> None:
    elsewhere = write(settled.folder / "copies/location_9.json", rows(1.0, 2.0, location_id=9))
    found = settled.run(
        *("validator.py", "--file", str(elsewhere), "--file", "location_*.json", "--file", "location_7.json"),
        *("--format", "json"),
    ).json
    assert [Path(file["file"]).name for file in found["files"]] == [
        *("location_9.json", "location_7.json", "location_8.json"),
    ]


def test_a_sample_counts_so_many_rows_and_the_seed_says_which(settled: Program) -> None:
    command = ("validator.py", "--file", "location_8.json", "--sample", "12", "--format", "json")
    scores = {seed: settled.run(*command, "--seed", str(seed)).json["quality_score"] for seed in range(4)}
    assert len(set(scores.values())) > 1
    again = settled.run(*command, "--seed", "3").json
    assert again["rows"] == 12
    assert again["quality_score"] == scores[3]


def test_a_sample_is_judged_among_all_rows(program: Program) -> None:
    program.config.write_text("data: {directory: data}\n")
    write(program.data / "location_7.json", rows(*[5.0] * 60))
    found = program.run("validator.py", "--sample", "60", "--format", "json").json
    whole = program.run("validator.py", "--format", "json").json
    assert found["quality_score"] == whole["quality_score"] < 100


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"not json at all\n", "undecodable_row"),
        (b'{"location_id": 7}', "undecodable_row"),
        (msgspec.json.encode([*rows(1.0, 2.0), *rows(1.0)]), "duplicate_key"),
        (msgspec.json.encode(rows(1.0, 2.0)[::-1]), "not_sorted"),
        (msgspec.json.encode(rows(1.0, location_id=8)), "wrong_location"),
    ],
)
def test_a_broken_structure_fails_whatever_the_score(program: Program, body: bytes, said: str) -> None:
    program.config.write_text("data: {directory: data}\n")
    program.data.mkdir()
    (program.data / "location_7.json").write_bytes(body)
    done = program.run("validator.py", "--min-quality", "0")
    assert done.code == 1
    assert f"error: {said}" in done.out
    assert (program.data / "location_7.json").read_bytes() == body, "a check changes nothing"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--file", "location_99.json"], "No file matches location_99.json"),
        (["--file", "location_9*.json"], "No file matches"),
        (["--min-quality", "200"], "is not a share between 0 and 100"),
        (["--sample", "0"], "is not a whole number above 0"),
    ],
)
def test_bad_usage_exits_2(settled: Program, arguments: list[str], said: str) -> None:
    done = settled.run("validator.py", *arguments)
    assert done.code == 2
    assert said in done.err


def test_an_empty_folder_exits_2_with_what_to_do(program: Program) -> None:
    program.config.write_text("data: {directory: data}\n")
    done = program.run("validator.py")
    assert done.code == 2
    assert "There is no location file" in done.err


def test_no_key_and_no_network_are_needed(settled: Program) -> None:
    assert settled.run("validator.py", "--file", "location_7.json", OPENAQ_API_KEY="").code == 0


def test_a_report_never_takes_the_place_of_data(settled: Program) -> None:
    path = settled.data / "location_7.json"
    before = path.read_bytes()
    for output in (path, settled.data / "locations.json"):
        done = settled.run("validator.py", "--output", str(output))
        assert done.code == 2
        assert "would overwrite data" in done.err
    assert path.read_bytes() == before
