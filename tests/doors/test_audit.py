"""`openaq-pipeline audit` as users and their scripts meet it: whole processes, a simulator, a copy of the archive."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from benchmarks.archive import write_shown
from openaq_pipeline import load
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import to_us
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.bench import BenchWorld
from tests.archive_bucket import Bucket, s3_server
from tests.conftest import Finished, Program, Simulate
from tests.daemon.conftest import Schedule, schedule, until

__all__ = ["schedule"]

DAYS = 80
DAY = timedelta(days=1)
Identity = tuple[int, datetime]


@pytest.fixture(scope="module")
def bench() -> Iterator[Running]:
    with running(named.bench(locations=2, sensors=2, days=DAYS + 10), options=Options(requests_per_minute=0)) as found:
        yield found


def configured(program: Program, simulator: Running, days: int = DAYS) -> Program:
    """Set a program up for a simulator and a copy of the archive with its old days."""
    ids = [station.id for station in simulator.world.stations]
    program.configure(simulator.base_url, ids, initial_days=days)
    settings = json.loads(program.config.read_text()) | {"archive": {"location": str(program.folder / "archive")}}
    program.config.write_text(json.dumps(settings))
    now = datetime.now(UTC)
    first, last = (now - (days + 5) * DAY).date(), (now - 3 * DAY).date()
    write_shown(program.folder / "archive", simulator.world, first, last, now)
    return program


@pytest.fixture(scope="module")
def made(bench: Running, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A data folder with history, made by the program itself, once."""
    program = configured(Program(tmp_path_factory.mktemp("made")), bench)
    done = program.load()
    assert done.code == 0, done.err
    return program


@pytest.fixture
def stored(made: Program, program: Program) -> Program:
    """A copy of it, down to the times of change; the archive is the one of all."""
    shutil.copytree(made.data, program.data)
    shutil.copy(made.config, program.config)
    return program


def set_archive(program: Program, **archive: str) -> None:
    settings = json.loads(program.config.read_text())
    program.config.write_text(json.dumps(settings | {"archive": archive}))


def here(program: Program) -> int:
    return min(int(path.name[9:-5]) for path in program.data.glob("location_*.json"))


def year_file(program: Program) -> Path:
    return next((program.data / "history" / f"location_id={here(program)}").rglob("*.parquet"))


def values(program: Program, before: datetime | None = None) -> dict[Identity, float | None]:
    """What a reader sees, each row once."""
    rows = load(data_dir=program.data).to_pylist()
    found = {(row["sensors_id"], row["datetime"]): row["value"] for row in rows}
    assert len(found) == len(rows)
    return {key: value for key, value in found.items() if before is None or key[1] <= before}


def audit(program: Program, *arguments: str, **env: str) -> Finished:
    """An audit needs no key, and asks no API."""
    return program.run("audit", *arguments, **{"OPENAQ_API_KEY": ""} | env)


def test_a_whole_copy_exits_0_and_says_so_with_a_line_a_location(stored: Program, bench: Running) -> None:
    asked = bench.requests.total
    done = audit(stored)
    assert (done.code, done.err) == (0, ""), done.out + done.err
    lines = done.out.splitlines()
    assert len(lines) == 2 + 2
    assert re.fullmatch(
        rf"location {here(stored)} \(.+\): [-\d]+ to [-\d]+, 2 sensors: \d+ complete, 2 not due yet",
        lines[0],
    )
    assert re.fullmatch(r"2 locations, \d+ sensor-days: \d+ complete, 4 not due yet\.", lines[2])
    assert lines[3] == "The copy is whole: OpenAQ has no row of these days that is not here."
    assert bench.requests.total == asked


def test_a_year_file_that_was_deleted_is_named_and_fixed_at_no_request(stored: Program, bench: Running) -> None:
    before, asked, path = values(stored), bench.requests.total, year_file(stored)
    shutil.rmtree(path.parent)
    lost = len(before) - len(values(stored))
    assert lost > 100
    done = audit(stored)
    assert (done.code, done.err) == (1, "")
    gaps = re.findall(r"^  our gap: sensor (\d+) \((\w+)\), (\S+) to (\S+), ([\d,]+) rows$", done.out, re.MULTILINE)
    assert {parameter for _, parameter, *_ in gaps} == {"pm25", "pm10"}
    assert sum(int(rows.replace(",", "")) for *_, rows in gaps) == lost
    assert done.out.splitlines()[-1] == (
        f"{lost:,} rows are missing here. Run `openaq-pipeline audit --fix`: it fetches just these rows."
    )
    done = audit(stored, "--fix")
    assert done.code == 0, done.out + done.err
    assert f"location {here(stored)}: {lost:,} rows of" in done.out
    assert done.out.splitlines()[-1].startswith("The copy is whole")
    assert values(stored) == before
    assert bench.requests.total == asked


def test_json_is_one_object_with_every_gap(stored: Program) -> None:
    year_file(stored).unlink()
    done = audit(stored, "--fix", "--json")
    assert done.code == 0, done.err
    assert (done.json["whole"], done.json["lacked"], done.json["outage"]) == (True, 0, None)
    before = done.json["before"]
    assert before.keys() == done.json.keys() - {"before", "fixed"}
    place = before["locations"][0]
    assert place["gaps"][0].keys() == {"sensors_id", "parameter", "units", "kind", "first", "last", "days", "rows"}
    assert {gap["kind"] for gap in place["gaps"]} == {"our_gap"}
    assert sum(gap["rows"] for gap in place["gaps"]) == before["lacked"] == place["lacked"] > 0
    assert before["days"]["our_gap"] == sum(gap["days"] for gap in place["gaps"])
    assert not before["whole"]
    assert [(each["rows"], each["problem"]) for each in done.json["fixed"]] == [(before["lacked"], None)]


def test_offline_and_without_a_network_nothing_old_is_called_whole_and_that_exits_1(stored: Program) -> None:
    done = audit(stored, "--offline")
    assert done.code == 1
    assert "unknown" in done.out
    assert "whole" not in done.out
    assert "OpenAQ's archive can't tell of days older than 4 here: it was not asked (--offline)" in done.out
    set_archive(stored, location="s3://bucket", endpoint="http://127.0.0.1:9")
    done = audit(stored, "--json")
    assert done.code == 1
    assert done.json["outage"].startswith("No connection to s3://bucket")
    assert not done.json["days"]["upstream_gap"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fix", "--offline"], "--offline forbids it"),
        (["--date-from", "2025-03-02", "--date-to", "2025-03-01"], "upside down"),
    ],
)
def test_bad_usage_is_told_in_a_sentence_and_exits_2(stored: Program, arguments: list[str], said: str) -> None:
    done = audit(stored, *arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_without_data_or_archive_it_says_so(program: Program) -> None:
    program.config.write_text("data: {directory: data}\n")
    done = audit(program)
    assert (done.code, done.out) == (2, "")
    assert "There are no data in" in done.err


def test_a_bucket_is_read_as_a_folder_is_and_only_what_changed_is_read_again(stored: Program, made: Program) -> None:
    with s3_server() as address:
        bucket = Bucket(address, "openaq-data-archive")
        bucket.upload(made.folder / "archive")
        set_archive(stored, location="s3://openaq-data-archive", endpoint=address)
        first = audit(stored, "--json")
        assert first.code == 0, first.out + first.err
        assert sum(place["files"] for place in first.json["locations"]) > 2 * (DAYS - 8)
        year_file(stored).unlink()
        fixed = audit(stored, "--fix", "--json")
        assert fixed.code == 0, fixed.out + fixed.err
        read = [place["files"] for place in fixed.json["before"]["locations"]]
        assert (0 < read[0] < DAYS, read[1]) == (True, 0)
        bucket.close()


def test_fix_works_beside_a_running_scheduler(stored: Program, bench: Running, schedule: Schedule) -> None:
    before, path = values(stored), year_file(stored)
    shutil.copytree(stored.data, stored.folder / "copy")
    daemon = schedule(seconds=1)
    asked = bench.requests.total
    until(lambda: bench.requests.total > asked, "a poll")
    for _ in range(2):
        path.unlink()
        done = audit(stored, "--fix")
        assert done.code == 0, done.out + done.err
    assert daemon.stop() == 0
    newest = max(stamp for _, stamp in before)
    assert values(stored, newest) == before
    assert "this is a bug" not in daemon.log
    assert stored.run("verify").code == 0


def test_a_hole_that_a_poison_page_left_behind_a_lost_state_is_found_and_filled(
    program: Program, simulate: Simulate
) -> None:
    plain = named.bench(locations=1, sensors=2, days=DAYS + 10)
    assert isinstance(plain, BenchWorld)
    (station,) = plain.stations
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    poison = frozenset({to_us(now - 10 * DAY)})
    sick = msgspec.structs.replace(station.sensors[0], poison_us=poison)
    station = msgspec.structs.replace(station, sensors=(sick, *station.sensors[1:]))
    world = BenchWorld((station,), begins_us=plain.begins_us)
    configured(program, simulate(world), days=20)
    assert program.load().code == 1, "a page could not be read"
    (program.data / ".state.json").unlink()
    program.load()
    held = values(program)
    assert (sick.id, now - 10 * DAY) not in held
    assert (sick.id, now - 2 * DAY) in held, "rows were stored behind it"
    done = audit(program, "--json")
    (gap,) = [gap for gap in done.json["locations"][0]["gaps"] if gap["kind"] == "our_gap"]
    assert (done.code, gap["sensors_id"]) == (1, sick.id)
    assert gap["rows"] >= 1
    assert program.run("verify").code == 0, "every file is as it was written"
    done = audit(program, "--fix")
    assert done.code == 0, done.out
    assert (sick.id, now - 10 * DAY) in values(program)


def test_what_only_the_api_has_again_is_fetched_with_a_key_and_else_told(stored: Program) -> None:
    before = values(stored)
    live = stored.data / f"location_{here(stored)}.json"
    live.write_bytes(b"[]\n")
    done = audit(stored, "--fix")
    assert done.code == 1
    assert "NOT FIXED: the archive has not all of it, and to ask the API OPENAQ_API_KEY is not set" in done.out
    done = stored.run("audit", "--fix")
    assert done.code == 0, done.out + done.err
    newest = max(stamp for _, stamp in before)
    assert values(stored, newest) == before
    assert stored.load().code == 0
