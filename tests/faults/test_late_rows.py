"""Rows that come late, are corrected, or inserted while pages are read: in the end the copy is what OpenAQ shows."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest

from openaq_pipeline.openaq import api, series
from openaq_pipeline.simulator.clock import to_us
from openaq_pipeline.simulator.control import NewRow
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.bench import BenchWorld
from openaq_pipeline.simulator.worlds.model import DAY_US
from tests.faults import manners, oracle
from tests.faults.conftest import Tally, Times
from tests.faults.faulty import Exchange
from tests.faults.net import LATER, START, Bench, bench, copied

HOUR = timedelta(hours=1)
PAGE_ROWS = 7
"""Rows of a page here, so that every window has many."""


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (api, series):
        monkeypatch.setattr(module, "PAGE_LIMIT", PAGE_ROWS)


def test_what_comes_late_or_changes_is_stored_as_it_is_shown_in_the_end(
    tmp_path: Path, times: Times, chance: random.Random, tally: Tally
) -> None:
    rounds = times(1, 40)
    for number in range(rounds):
        world = named.bench(locations=2, sensors=2, days=60, now=START, late_share=0.2)
        with bench(tmp_path / str(number), world) as old, copied(old, tmp_path / f"{number}-copy") as made:
            hours = 0.0
            while hours < LATER:
                hours += chance.uniform(0.5, 7)
                made.server.clear()
                made.server.arm(lambda to: mischief(made, to, chance), "/measurements", count=chance.randrange(4))
                if chance.random() < 0.3:
                    made.server.arm(chance.choice(manners.CUT), count=chance.randrange(6))
                made.poll(hours)
                oracle.check(made.folder)
            made.server.clear()
            for _ in range(7):  # until what came latest has come, and the daily sweeps have seen it
                hours += 20
                assert made.poll(hours).complete
            found, shown = oracle.check(made.folder, restarted=True), everything_shown(made, hours)
            assert promised(found, world) == promised(shown, world)
    tally(21, "late, corrected and inserted rows, pages of 7", rounds)


def mischief(made: Bench, to: Exchange, chance: random.Random) -> bool:
    """Correct a row and insert one just before a page is answered, so that those behind it move."""
    sensor, now = chance.choice(list(made.simulator.world.sensors_by_id)), made.simulator.clock.now()
    stamp = now.replace(minute=0) - HOUR * chance.randrange(20)
    between = stamp - chance.choice([HOUR / 2, HOUR / 3])
    made.simulator.add_rows(sensor, NewRow(stamp, chance.randrange(90)), NewRow(between, chance.randrange(90)))
    status, body = to.good()
    return to.reply(body, status)


def everything_shown(made: Bench, hours: float) -> oracle.Content:
    """Return what a folder holds that sees all of it for the first time in the end."""
    folder = made.folder.with_name("shown")
    assert made.poll(hours, folder, initial_days=14).complete
    return oracle.content(folder)


def promised(content: oracle.Content, world: BenchWorld) -> dict[oracle.Place, object]:
    """Return the values of the rows that a daily look at 72 hours must find: those that come within two days."""
    found = {}
    for place, row in content.items():
        stamp_us = to_us(place.datetime)
        late_us = world.comes_us(world.sensors_by_id[place.sensors_id][1], stamp_us) - stamp_us
        if place.datetime > START - timedelta(days=2) and late_us <= 2 * DAY_US:
            found[place] = row["value"]
    return found
