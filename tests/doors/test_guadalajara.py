"""The main job on real input: 77 recorded pages of Guadalajara, through the simulator, by whole processes."""

from __future__ import annotations

import gzip
import json
import random
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import Program, Simulate

ROWS = 34_042
FIRST_DAY = datetime(2025, 9, 1, tzinfo=UTC)

Row = dict[str, Any]
Key = tuple[int, str]


@pytest.fixture
def guadalajara(shared_data: Path, simulate: Simulate) -> Running:
    return simulate(named.replay(shared_data / "guadalajara"))


def configure(program: Program, shared_data: Path, base_url: str) -> Program:
    index = json.loads((shared_data / "guadalajara/metadata/locations_index.json").read_text())
    ids = [found["id"] for found in index["results"]]
    return program.configure(base_url, ids, initial_days=(datetime.now(UTC) - FIRST_DAY).days)


def recorded(shared_data: Path) -> dict[Key, Row]:
    """Every row of the pages, by sensor and the end of its period, as OpenAQ sent it."""
    rows: dict[Key, Row] = {}
    for path in (shared_data / "guadalajara/measurements").glob("*.json.gz"):
        sensors_id = int(path.name.split("-")[0])
        for row in json.loads(gzip.decompress(path.read_bytes()))["results"]:
            rows[sensors_id, row["period"]["datetimeTo"]["utc"]] = row
    return rows


def owners(shared_data: Path) -> dict[int, int]:
    """Which location each sensor belongs to, as OpenAQ lists them."""
    found: dict[int, int] = {}
    for path in (shared_data / "guadalajara/metadata/sensors_by_location").glob("*.json"):
        for sensor in json.loads(path.read_text())["results"]:
            found[sensor["id"]] = int(path.stem.removeprefix("location_id="))
    return found


def stored(program: Program) -> dict[str, list[Row]]:
    """All files, without when each row was first seen."""
    return {
        path.name: [{**row, "first_seen": None} for row in json.loads(path.read_text())]
        for path in sorted(program.data.glob("location_*.json"))
    }


def test_every_recorded_row_is_stored_once_in_its_file_with_its_value_and_unit(
    program: Program, shared_data: Path, guadalajara: Running
) -> None:
    done = configure(program, shared_data, guadalajara.base_url).load("--json")
    assert done.code == 0, done.err
    files, home, sent = stored(program), owners(shared_data), recorded(shared_data)
    rows = [row for found in files.values() for row in found]
    assert len(rows) == len(sent) == ROWS
    assert done.json["total_records_fetched"] == ROWS
    for name, found in files.items():
        for row in found:
            source = sent.pop((row["sensors_id"], row["datetime"]))
            assert name == f"location_{home[row['sensors_id']]}.json"
            assert row["location_id"] == home[row["sensors_id"]]
            assert row["value"] == source["value"]
            assert row["units"] == source["parameter"]["units"]
            assert row["parameter"] == source["parameter"]["name"]
            assert row["parameters_id"] == source["parameter"]["id"]
            assert row["datetime_local"] == source["period"]["datetimeTo"]["local"]
            assert row["interval_seconds"] == 3600
            assert row["source"] == "api"
    assert not sent


def test_a_second_run_adds_nothing_and_says_so(program: Program, shared_data: Path, guadalajara: Running) -> None:
    configure(program, shared_data, guadalajara.base_url).load()
    files = {path: path.read_bytes() for path in program.data.glob("location_*.json")}
    again = program.load()
    assert again.code == 0
    assert " 0 new, 0 revised, " in again.out
    assert {path: path.read_bytes() for path in program.data.glob("location_*.json")} == files


def test_a_run_killed_in_the_middle_and_started_again_ends_in_the_identical_files(
    programs: Callable[[str], Program], shared_data: Path, guadalajara: Running
) -> None:
    whole = configure(programs("whole"), shared_data, guadalajara.base_url)
    assert whole.load().code == 0
    killed = configure(programs("killed"), shared_data, guadalajara.base_url)
    draw, cut_short = random.Random(0), 0
    guadalajara.faults.inject("delay", "/measurements", seconds=0.01)
    for _ in range(4):
        before = guadalajara.requests.total
        process = killed.start("incremental_loader.py")
        wanted = before + draw.randrange(1, 60)
        while process.poll() is None and guadalajara.requests.total < wanted:
            time.sleep(0.002)
        cut_short += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert cut_short >= 2, "the kills came too late to prove anything"
    guadalajara.faults.clear()
    assert killed.load().code == 0
    assert stored(killed) == stored(whole)
    assert not list(killed.data.glob(".*.tmp"))
