"""Selections as users meet them: from a line in config.yaml to data, and what they are asked before it is too much."""

from __future__ import annotations

import json

import pytest

from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import Program, Simulate

MANY = 1001


@pytest.fixture
def demo(simulate: Simulate) -> Running:
    return simulate(named.demo())


@pytest.fixture
def large(simulate: Simulate, program: Program) -> Running:
    """More than may be read unasked; a refusal after the list ends each run before it reads them."""
    simulator = simulate(named.bench(locations=MANY, sensors=1, days=2))
    simulator.faults.inject("status", "/measurements", status=403)
    program.configure(simulator.base_url, [{"country": "NP"}], initial_days=1)
    return simulator


def lists(simulator: Running) -> int:
    return sum(entry.path == "/v3/locations" for entry in simulator.requests.entries())


def test_a_selection_becomes_data_and_what_works_offline_knows_its_locations(program: Program, demo: Running) -> None:
    program.configure(demo.base_url, [{"country": "NP", "parameter": "pm25"}], initial_days=1)
    told = program.run("test_pipeline.py").out
    assert "country: NP, parameter: pm25: not looked up yet" in told
    dry = program.load("--dry-run")
    assert "country: NP, parameter: pm25: 10 locations, 10 sensors." in dry.out
    report = program.load("--json").json
    assert report["selections"][0]["locations"] == len(report["locations"]) == 10
    assert report["requests"] == report["requests_planned"]
    assert {row["parameter"] for row in program.rows(3459)} == {"pm25"}
    asked = demo.requests.total
    assert len(program.run("monitor.py", "--json").json["health"]["locations"]) == 10
    assert program.run("monitor.py", "--check").code == 0
    assert demo.requests.total == asked
    assert "country: NP, parameter: pm25: 10 locations, 10 sensors, as of" in program.run("test_pipeline.py").out
    again = program.load("--json").json
    assert again["requests"] == 10, "remembered, and every location is described"


def test_a_selection_that_matches_nothing_is_bad_usage_for_a_run_and_for_the_scheduler(
    program: Program, demo: Running
) -> None:
    program.configure(demo.base_url, [{"country": "DE"}])
    done = program.load()
    assert (done.code, done.out) == (2, "")
    assert "country: DE matches no location" in done.err
    daemon = program.run("scheduler.py", "--interval", "1")
    assert daemon.code == 2
    assert "country: DE matches no location" in daemon.err


def test_too_much_is_refused_until_it_is_agreed_to_and_then_the_scheduler_needs_no_flag(
    program: Program, large: Running
) -> None:
    refused = program.load()
    assert refused.code == 2
    assert f"country: NP matches {MANY:,} locations with {MANY:,} sensors" in refused.err
    assert "say so once with --yes" in refused.err
    assert program.load("--date-from", "2025-01-01").code == 2, "a backfill is asked too"
    assert program.load("--dry-run").code == 0
    assert not (program.data / ".selections.json").exists()
    agreed = program.load("--yes")
    assert agreed.code == 1
    assert "403" in agreed.err
    settings = json.loads((program.data / ".selections.json").read_text())["selections"]["country: NP"]
    assert (len(settings["locations"]), settings["accepted"]) == (MANY, MANY)
    before = lists(large)
    daemon = program.run("scheduler.py", "--mode", "once")
    assert daemon.code == 1, "its run was not refused, but by OpenAQ"
    assert "403" in daemon.err
    assert lists(large) == before
