"""A poll of a few locations by `--locations`: it says nothing of the others, in no alert and in no figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from openaq_pipeline.simulator.control import NewRow
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.alerts.parts import Receiver, receiver, status
from tests.conftest import Program, Simulate
from tests.daemon.conftest import change

ALIVE, DEAD = 101, 104


@pytest.fixture
def place(simulate: Simulate) -> Running:
    return simulate(named.quirks())


@pytest.fixture
def told() -> Iterator[Receiver]:
    with receiver(status(200)) as made:
        yield made


@pytest.fixture
def polled(program: Program, place: Running, told: Receiver) -> Program:
    """Two locations, one of which is silent; somebody was told of it."""
    program.configure(place.base_url, [ALIVE, DEAD], initial_days=45)
    webhook = {"enabled": True, "allow_private": True}
    textfile = {"textfile": str(program.folder / "openaq.prom")}
    change(program, monitoring=textfile, notifications={"enabled": True, "webhook": webhook})
    program.env["WEBHOOK_URL"] = told.url()
    program.load()
    assert notices(told) == [("begun", f"silent:{DEAD}")]
    return program


def notices(told: Receiver) -> list[tuple[str, str]]:
    return [(received.json["kind"], received.json["key"]) for received in told.received]


def test_a_silent_location_that_was_not_asked_is_as_silent_as_before(polled: Program, told: Receiver) -> None:
    polled.load("--locations", str(ALIVE))
    assert f"silent:{DEAD}" in json.loads((polled.data / ".alerts.json").read_text())["open"]
    assert len(told.received) == 1
    assert 'openaq_pipeline_locations{status="silent"} 1.0' in (polled.folder / "openaq.prom").read_text().splitlines()


def test_one_that_was_asked_and_reports_again_is_told(polled: Program, place: Running, told: Receiver) -> None:
    (station,) = [station for station in place.world.stations if station.id == DEAD]
    place.add_rows(station.sensors[0].id, NewRow(datetime.now(UTC) - timedelta(minutes=5), 12.5))
    polled.load("--locations", str(DEAD))
    assert notices(told)[1:] == [("recovered", f"silent:{DEAD}")]


def test_a_silent_location_that_is_not_selected_any_more_has_not_recovered(polled: Program, told: Receiver) -> None:
    change(polled, locations=[ALIVE])
    polled.load()
    book = json.loads((polled.data / ".alerts.json").read_text())
    assert (book.get("open", {}), book.get("over", {})) == ({}, {})
    assert [past["condition"]["key"] for past in book["past"]] == [f"silent:{DEAD}"]
    assert len(told.received) == 1
