from __future__ import annotations

import time
from datetime import timedelta

import pytest

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock, to_us
from openaq_pipeline.simulator.metadata import Metadata
from openaq_pipeline.simulator.server import running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.bench import MOST_LATE_US, lateness_us
from openaq_pipeline.simulator.worlds.model import DAY_US, HOUR_US
from tests.simulator.asking import control, get
from tests.simulator.conftest import NOON

NOW_US = to_us(NOON)
LATE = 0.02


def late_world() -> World:
    return named.bench(locations=10, sensors=4, days=60, late_share=LATE, now=NOON)


def come_us(sensors_id: int, stamp_us: int) -> int:
    return stamp_us + lateness_us(sensors_id, stamp_us // HOUR_US, LATE)


def test_a_share_of_the_rows_is_late_by_hours_and_a_few_by_days() -> None:
    late = [hours for n in range(200_000) if (hours := lateness_us(2_000_001, n, LATE) / HOUR_US)]
    assert len(late) == pytest.approx(200_000 * LATE, rel=0.05)
    assert min(late) >= 3
    assert max(late) == MOST_LATE_US / HOUR_US
    assert sum(hours > 24 for hours in late) / len(late) == pytest.approx(0.074, abs=0.015)


def test_a_late_row_is_a_hole_until_it_comes_and_none_is_missing_in_the_end() -> None:
    world = late_world()
    begin, missed = NOW_US - 20 * DAY_US, 0
    for _, sensor in world.sensors_by_id.values():
        for now in range(NOW_US - 5 * DAY_US, NOW_US + 1, 12 * HOUR_US):
            seen = {row.stamp_us for row in world.rows(sensor, begin, NOW_US, now)}
            hours = range(begin + HOUR_US, now + 1, HOUR_US)
            assert seen == {stamp for stamp in hours if come_us(sensor.id, stamp) <= now}
            missed += len(hours) - len(seen)
        then = world.rows(sensor, begin, NOW_US, NOW_US + MOST_LATE_US)
        assert [row.stamp_us for row in then] == list(range(begin + HOUR_US, NOW_US + 1, HOUR_US))
    assert missed


def test_pages_and_latest_of_late_rows_are_those_of_the_series() -> None:
    world = late_world()
    window = (NOW_US - 30 * DAY_US, NOW_US, NOW_US)
    for _, sensor in world.sensors_by_id.values():
        whole = list(world.rows(sensor, *window))
        pages = [world.page(sensor, *window, offset=offset, limit=100) for offset in range(0, 800, 100)]
        assert [row for page in pages for row in page] == whole
        assert world.latest_us(sensor, NOW_US) == whole[-1].stamp_us
        latest = world.latest(sensor, NOW_US)
        assert latest is not None
        assert latest[:2] == whole[-1]


def test_the_latest_of_a_parameter_are_counted_and_paged_without_gap_or_overlap() -> None:
    clock = Clock(NOON, speed=0)
    with running(named.planet(locations=120, now=NOON), options=Options(requests_per_minute=0), clock=clock) as planet:
        least = (NOON - timedelta(hours=2)).isoformat().replace("+00:00", "Z")
        for query in ({}, {"datetime_min": least}):
            whole = get(planet, "/parameters/2/latest", limit=1000, **query).json()
            rows = whole["results"]
            assert whole["meta"]["found"] == len(rows) > 10
            pages = [get(planet, "/parameters/2/latest", limit=7, page=n, **query).json() for n in range(1, 6)]
            assert [row for page in pages for row in page["results"]] == rows[:35]
            assert {page["meta"]["found"] for page in pages} == {len(rows)}
        assert all(row["datetime"]["utc"] > least for row in rows)


def test_an_added_row_shows_among_the_latest_of_its_parameter() -> None:
    clock = Clock(NOON, speed=0)
    with running(named.bench(locations=3, sensors=2, now=NOON), clock=clock) as bench:
        sensor = bench.world.stations[1].sensors[0]
        row = {"datetime": "2026-03-18T11:59:30Z", "value": 7.0}
        control(bench, "POST", "rows", sensors_id=sensor.id, rows=[row])
        clock.advance(-20)
        before = get(bench, f"/parameters/{sensor.parameter.id}/latest").json()["results"]
        clock.advance(20)
        after = get(bench, f"/parameters/{sensor.parameter.id}/latest").json()["results"]
        assert {row["datetime"]["utc"] for row in before} == {"2026-03-18T11:00:00Z"}
        assert {row["datetime"]["utc"] for row in after} == {"2026-03-18T12:00:00Z"}


def test_the_planet_has_living_dead_silent_and_quick_sensors() -> None:
    planet = named.planet(locations=1000, now=NOON)
    latest = {sensor.id: planet.latest_us(sensor, NOW_US) for _, sensor in planet.sensors_by_id.values()}
    shares = {
        "silent": sum(stamp is None for stamp in latest.values()) / len(latest),
        "dead": sum(stamp is not None and stamp < NOW_US - 365 * DAY_US for stamp in latest.values()) / len(latest),
        "fresh": sum(stamp is not None and stamp > NOW_US - 3 * HOUR_US for stamp in latest.values()) / len(latest),
        "quick": sum(sensor.interval_us < HOUR_US for _, sensor in planet.sensors_by_id.values()) / len(latest),
    }
    assert shares == pytest.approx({"silent": 0.03, "dead": 0.31, "fresh": 0.66, "quick": 0.06}, abs=0.03)
    assert len(planet.countries) == 3


def test_lists_of_a_hundred_thousand_sensors_come_within_a_moment() -> None:
    metadata = Metadata(named.planet(now=NOON))
    begun = time.process_time()
    metadata.locations({"limit": "1000", "page": "25"}, NOW_US)
    metadata.parameter_latest(2, {"limit": "1000", "page": "16"}, NOW_US)
    assert time.process_time() - begun < 1
