"""`openaq-pipeline verify` as users and their scripts meet it: whole processes, a simulator, a copy of the archive."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline.columns import to_rows
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.storage.locations import LocationFiles
from tests.archive_files import write_archive
from tests.conftest import Program, Simulate
from tests.verify.conftest import EVER


@pytest.fixture
def bench(simulate: Simulate) -> Running:
    return simulate(named.bench(locations=2, sensors=1, days=150))


@pytest.fixture
def stored(program: Program, bench: Running) -> Program:
    """A data folder with history, made by the program itself."""
    program.configure(bench.base_url, [station.id for station in bench.world.stations], initial_days=151)
    (program.folder / "archive").mkdir()
    settings = json.loads(program.config.read_text()) | {"archive": {"location": str(program.folder / "archive")}}
    program.config.write_text(json.dumps(settings))
    done = program.load()
    assert done.code == 0, done.err
    return program


def here(program: Program) -> int:
    return min(int(path.name[9:-5]) for path in program.data.glob("location_*.json"))


def year_file(program: Program) -> Path:
    return next((program.data / "history" / f"location_id={here(program)}").rglob("*.parquet"))


def rows(program: Program, until: str = "2999") -> list[dict[str, Any]]:
    """Return what a reader sees up to a time, but for when it was first seen."""
    sql = "SELECT * EXCLUDE first_seen FROM measurements ORDER BY datetime, sensors_id"
    found: list[dict[str, Any]] = program.run("query", sql, "--format", "json").json
    return [row for row in found if row["datetime"] <= until]


def facts(found: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """Return what the API and the archive agree on."""
    return [(row["sensors_id"], row["datetime"], row["value"], row["units"]) for row in found]


def test_a_whole_folder_is_all_well_and_exits_0_and_nothing_is_written(stored: Program) -> None:
    before = {path: path.stat().st_mtime_ns for path in stored.data.rglob("*")}
    done = stored.run("verify")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Checked ")
    assert done.out.endswith(f"{len(rows(stored)):,} rows: all well.\n")
    assert {path: path.stat().st_mtime_ns for path in stored.data.rglob("*")} == before


def test_damage_is_named_in_a_line_and_exits_1_and_a_repair_brings_every_row_back(stored: Program) -> None:
    before, path = rows(stored), year_file(stored)
    path.write_bytes(path.read_bytes()[:-100])
    done = stored.run("verify")
    assert (done.code, done.err) == (1, "")
    first, last = done.out.splitlines()
    assert first.startswith(f"{path.relative_to(stored.data)}: error: it is damaged: ")
    assert last.endswith("something is wrong with 1 file. Run `openaq-pipeline verify --repair`.")
    done = stored.run("verify", "--repair")
    assert done.code == 0, done.out + done.err
    assert "repaired: set aside as damaged/" in done.out
    assert "rows were fetched again" in done.out
    assert done.out.splitlines()[-1].endswith(": all well.")
    assert stored.run("verify").code == 0
    assert rows(stored, before[-1]["datetime"]) == before


def test_json_is_one_object_and_the_log_stays_off_it(stored: Program) -> None:
    done = stored.run("verify", "--json")
    assert (done.code, done.json["sound"], done.err) == (0, True, "")
    assert done.json["rows"] == len(rows(stored)) == sum(file["rows"] for file in done.json["files"])
    path = stored.data / f"location_{here(stored)}.json"
    path.write_bytes(path.read_bytes()[:-100])
    done = stored.run("verify", "--json")
    assert (done.code, done.json["sound"]) == (1, False)
    errors = [finding for finding in done.json["findings"] if finding["severity"] == "error"]
    assert {(finding["file"], finding["rule"]) for finding in errors} == {(path.name, "undecodable_row")}
    assert errors[0].keys() == {"file", "rule", "severity", "count", "message", "hint"}
    done = stored.run("verify", "--repair", "--json")
    assert done.code == 0, done.err
    assert done.json["sound"]
    assert [finding for finding in done.json["before"] if finding["severity"] == "error"] == errors
    assert all(repair["complete"] for repair in done.json["repairs"])


def test_only_the_locations_named_are_looked_at_and_mended(stored: Program) -> None:
    path = year_file(stored)
    path.write_bytes(b"")
    ids = sorted(int(place.name[9:-5]) for place in stored.data.glob("location_*.json"))
    assert stored.run("verify", "--locations", str(ids[1])).code == 0
    assert stored.run("verify", "--repair", "--locations", str(ids[1])).code == 0
    assert path.read_bytes() == b""
    assert stored.run("verify", "--locations", str(ids[0])).code == 1
    done = stored.run("verify", "--locations", "7")
    assert done.code == 2
    assert "There are no data of location 7" in done.err


def test_without_a_key_the_archive_is_asked_and_what_is_left_exits_1(stored: Program) -> None:
    before, store, place = rows(stored), LocationFiles(stored.data), here(stored)
    to = store.sealed_to(place)
    assert to is not None
    write_archive(stored.folder / "archive", to_rows(place, store.history().read(place, EVER, to)))
    year_file(stored).write_bytes(b"")
    live = stored.data / f"location_{place}.json"
    live.write_bytes(live.read_bytes()[:-500])
    stored.env.pop("OPENAQ_API_KEY")
    done = stored.run("verify", "--repair")
    assert done.code == 1
    assert "NOT REPAIRED" in done.out
    assert "OPENAQ_API_KEY is not set" in done.out
    done = stored.run("verify")
    assert done.code == 1
    assert "a repair has still to fetch again what was lost" in done.out
    stored.env["OPENAQ_API_KEY"] = "test-key"
    assert stored.run("verify", "--repair").code == 0
    assert facts(rows(stored, before[-1]["datetime"])) == facts(before)


def test_a_repair_that_gets_a_signal_ends_in_a_sentence_and_the_next_one_finishes(
    stored: Program, bench: Running
) -> None:
    before = rows(stored)
    year_file(stored).write_bytes(b"")
    bench.faults.inject("delay", "/measurements", seconds=5)
    asked = bench.requests.total
    with stored.start("verify", "--repair") as process:
        while bench.requests.total == asked and process.poll() is None:
            pass
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped" in err
    assert "Traceback" not in err
    bench.faults.clear()
    assert stored.run("verify").code == 1
    assert stored.run("verify", "--repair").code == 0
    assert rows(stored, before[-1]["datetime"]) == before


def test_without_data_it_says_so(program: Program) -> None:
    program.config.write_text("data: {directory: data}\n")
    done = program.run("verify")
    assert (done.code, done.out) == (2, "")
    assert "There are no data in" in done.err
