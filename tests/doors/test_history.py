"""Years of the past by whole processes: recorded pages from the API and as files of the archive meet in one store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline import load
from openaq_pipeline.model import Measurement
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests import recorded
from tests.archive_files import write_archive
from tests.conftest import Program, Simulate

ROWS = 34_042
FIRST, LAST = "2025-09-19", "2025-10-12"
PLACES = 23

Facts = dict[tuple[int, str], tuple[Any, ...]]


@pytest.fixture
def guadalajara(shared_data: Path, simulate: Simulate) -> Running:
    return simulate(named.replay(shared_data / "guadalajara"))


@pytest.fixture(scope="module")
def pages(shared_data: Path) -> list[Measurement]:
    return recorded.guadalajara(shared_data)


@pytest.fixture(scope="module")
def archive(pages: list[Measurement], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    write_archive(root, pages)
    return root


def configure(program: Program, guadalajara: Running, archive: Path) -> Program:
    program.configure(guadalajara.base_url, [station.id for station in guadalajara.world.stations], initial_days=600)
    settings = json.loads(program.config.read_text()) | {"archive": {"location": str(archive)}}
    program.config.write_text(json.dumps(settings))
    return program


def facts(rows: list[Measurement]) -> Facts:
    """What was measured, without what only one of the sources tells."""
    return {
        (row.sensors_id, f"{row.datetime:%Y-%m-%dT%H:%M:%SZ}"): (
            *(row.location_id, row.parameter, row.units, row.value, row.datetime_local),
        )
        for row in rows
    }


def stored(program: Program) -> Facts:
    found = load(data_dir=program.data).to_pylist()
    assert len({(row["sensors_id"], row["datetime"]) for row in found}) == len(found), "each row once"
    return {
        (row["sensors_id"], f"{row['datetime']:%Y-%m-%dT%H:%M:%SZ}"): (
            *(row["location_id"], row["parameter"], row["units"], row["value"], row["datetime_local"]),
        )
        for row in found
    }


def step(program: Program, name: str) -> Any:
    ways = {
        "poll": [],
        "api": ["--date-from", FIRST, "--date-to", LAST],
        "archive": ["--date-from", FIRST, "--date-to", LAST, "--source", "archive"],
        "archive of September": ["--date-from", FIRST, "--date-to", "2025-10-01T00:00Z", "--source", "archive"],
        "api of October": ["--date-from", "2025-10-01T00:00Z", "--date-to", LAST, "--source", "api"],
    }
    done = program.load("--json", *ways[name])
    assert done.code == 0, done.err
    return done.json


@pytest.mark.parametrize(
    ("one", "other", "new"),
    [
        ("api", "archive", [ROWS, 0]),
        ("archive", "poll", [ROWS, 0]),
        ("poll", "archive", [ROWS, 0]),
        ("archive of September", "api of October", None),
    ],
)
def test_the_api_and_the_archive_end_in_one_store_whichever_comes_first(
    program: Program,
    guadalajara: Running,
    archive: Path,
    pages: list[Measurement],
    one: str,
    other: str,
    new: list[int] | None,
) -> None:
    configure(program, guadalajara, archive)
    reports = [step(program, one), step(program, other)]
    assert stored(program) == facts(pages)
    found = [sum(place["new"] for place in report["locations"]) for report in reports]
    assert sum(found) == ROWS
    assert new is None or found == new
    assert [sum(place["revised"] for place in report["locations"]) for report in reports] == [0, 0]
    sources = set(load(data_dir=program.data).column("source").to_pylist())
    assert sources == ({"api", "archive"} if new is None else {"api"}), "what the API has said stands"
    if one == "poll":
        assert not (program.data / "history").exists(), "the newest row holds the live window back"
    else:
        files = list(program.data.glob("location_*.json"))
        assert files
        assert all(path.read_bytes() == b"[]\n" for path in files), "all of it is older than the live window"


def test_a_page_of_hanoi_comes_back_from_the_archive_as_it_was_measured(
    program: Program, shared_data: Path, tmp_path: Path
) -> None:
    rows = recorded.hanoi(shared_data)
    write_archive(tmp_path / "copy", rows, name="Số 46, phố Lưu Quang Vũ")
    program.configure("http://127.0.0.1:9/v3", [recorded.HANOI_LOCATION])
    settings = json.loads(program.config.read_text()) | {"archive": {"location": str(tmp_path / "copy")}}
    program.config.write_text(json.dumps(settings))
    done = program.load("--json", "--date-from", "2024-01-29", "--source", "archive", OPENAQ_API_KEY="")
    assert done.code == 0, done.err
    assert len(rows) == done.json["total_records_fetched"] == 100
    assert stored(program) == facts(rows)


def state(program: Program) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((program.data / ".state.json").read_text())["locations"]
    return found


def watermarks(program: Program) -> dict[tuple[str, str], str]:
    return {
        (place, sensor): found["watermark"]
        for place, known in state(program).items()
        for sensor, found in known["sensors"].items()
    }


def test_polls_behind_a_backfill_ask_no_past_again_also_after_their_state_was_lost(
    program: Program, guadalajara: Running, archive: Path, pages: list[Measurement]
) -> None:
    configure(program, guadalajara, archive)
    step(program, "archive")
    step(program, "poll")
    before = watermarks(program)
    again = step(program, "poll")
    assert again["total_records_fetched"] == again["total_records_deduplicated"] <= 73 * 26, "each sensor's look-back"
    assert watermarks(program) == before
    assert not list(program.data.glob(".location_*.loss"))
    (program.data / ".state.json").unlink()
    healed = step(program, "poll")
    assert healed["total_records_fetched"] == healed["total_records_deduplicated"] <= 73 * 74, "that of a sweep"
    assert {key: stamp for key, stamp in watermarks(program).items() if stamp} == {
        key: stamp for key, stamp in before.items() if stamp
    }
    assert len({stamp for stamp in before.values() if stamp}) > 1, "some fell silent earlier than others"
    assert stored(program) == facts(pages)
