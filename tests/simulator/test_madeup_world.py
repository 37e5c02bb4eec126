from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from openaq_pipeline.simulator.clock import to_us
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds import quirks as q
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.demo import SITES
from openaq_pipeline.simulator.worlds.model import DAY_US, HOUR_US, Row
from tests.simulator.asking import control, get, rows, stamps
from tests.simulator.conftest import NOON

NOW_US = to_us(NOON)


def window(world: World, sensors_id: int, hours: float, now_us: int = NOW_US) -> list[Row]:
    sensor = world.sensors_by_id[sensors_id][1]
    return list(world.rows(sensor, NOW_US - int(hours * HOUR_US), NOW_US + 30 * DAY_US, now_us))


@pytest.fixture(scope="module")
def world() -> World:
    return named.quirks(now=NOON)


def test_the_same_seed_makes_the_same_rows_and_another_seed_others() -> None:
    first, again, other = (window(named.demo(seed=seed, now=NOON), 34591, 200) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_window_cut_in_two_holds_the_same_rows(world: World) -> None:
    sensor = world.sensors_by_id[q.GAPPY * 10 + 1][1]
    start, middle = NOW_US - 100 * HOUR_US, NOW_US - 33 * HOUR_US
    halves = [
        *world.rows(sensor, start, middle, NOW_US),
        *world.rows(sensor, middle, NOW_US, NOW_US),
    ]
    assert halves == list(world.rows(sensor, start, NOW_US, NOW_US))


def test_pages_laid_end_to_end_are_the_whole_series(world: World) -> None:
    sensor = world.sensors_by_id[q.GAPPY * 10 + 1][1]
    whole = (NOW_US - 20 * DAY_US, NOW_US, NOW_US)
    pages = [world.page(sensor, *whole, offset=offset, limit=50) for offset in range(0, 1000, 50)]
    assert [row for page in pages for row in page] == list(world.rows(sensor, *whole))


def test_a_row_is_invisible_until_its_lateness_has_passed(world: World) -> None:
    sensor = world.sensors_by_id[q.LATE * 10 + 1][1]
    last = window(world, sensor.id, 30)[-1].stamp_us
    visible_us = world.visible_us(sensor, world.habits[sensor.id], last)  # type: ignore[attr-defined]
    assert last + HOUR_US // 2 <= visible_us <= NOW_US
    assert last not in [row.stamp_us for row in window(world, sensor.id, 30, visible_us - 1)]
    assert last in [row.stamp_us for row in window(world, sensor.id, 30, visible_us)]


def test_late_rows_arrive_out_of_order(world: World) -> None:
    late = q.LATE * 10 + 1
    before, after = ({row.stamp_us for row in window(world, late, 60, NOW_US - hours * HOUR_US)} for hours in (10, 0))
    assert before < after
    assert min(after - before) < max(before)


def test_gaps_stay_gaps_however_long_one_waits(world: World) -> None:
    sensor = world.sensors_by_id[q.GAPPY * 10 + 1][1]
    kept = list(world.rows(sensor, NOW_US - 10 * DAY_US, NOW_US, NOW_US + 365 * DAY_US))
    assert 100 < len(kept) < 235


def test_nulls_and_sentinels_are_rows_like_others(world: World) -> None:
    assert 5 < sum(row.value is None for row in window(world, q.NULLS * 10 + 1, 240)) < 60
    assert 5 < sum(row.value == -999 for row in window(world, q.SENTINELS * 10 + 1, 240)) < 60


def test_a_sub_second_stamp_is_printed_without_it_and_so_comes_back_once_more(quirks: Running) -> None:
    sensors_id = q.FRACTIONS * 10 + 1
    first = stamps(quirks, sensors_id, datetime_from="2026-03-18T08:00:00Z", datetime_to="2026-03-18T10:00:01Z")
    assert first == ["2026-03-18T08:00:00Z", "2026-03-18T09:00:00Z", "2026-03-18T10:00:00Z"]
    again = stamps(quirks, sensors_id, datetime_from=first[-1], datetime_to="2026-03-18T10:30:00Z")
    assert again == [first[-1]]


def test_a_row_dated_ahead_shows_before_its_time_and_pins_latest(quirks: Running) -> None:
    ahead = stamps(quirks, q.AHEAD * 10 + 1, datetime_from="2026-03-18T12:00:00Z")
    assert ahead == ["2026-03-22T12:00:00Z"]
    latest = get(quirks, f"/locations/{q.AHEAD}/latest").json()["results"]
    assert {row["datetime"]["utc"] for row in latest} == {"2026-03-22T12:00:00Z"}


def test_a_sensor_that_always_fails_leaves_its_neighbour_alone(quirks: Running) -> None:
    failing = get(quirks, f"/sensors/{q.FAILING * 10 + 1}/measurements")
    assert (failing.status_code, failing.text) == (500, "Internal Server Error")
    assert get(quirks, f"/sensors/{q.FAILING * 10 + 1}").status_code == 200


def test_only_pages_with_the_poison_row_fail(quirks: Running) -> None:
    path = f"/sensors/{q.POISON * 10 + 1}/measurements"
    around = {"datetime_from": "2026-03-15T11:00:00Z", "datetime_to": "2026-03-15T12:00:00Z"}
    assert get(quirks, path, **around).status_code == 500
    before = {**around, "datetime_to": "2026-03-15T11:59:59Z"}
    assert get(quirks, path, **before).json()["results"] == []
    after = rows(quirks, q.POISON * 10 + 1, datetime_from="2026-03-15T12:00:00Z")
    assert len(after) == 72
    assert len(rows(quirks, q.POISON * 10 + 2, datetime_from="2026-03-15T11:00:00Z")) == 73


def test_a_dead_station_is_listed_with_an_old_last_row(quirks: Running) -> None:
    dead = get(quirks, f"/locations/{q.DEAD}").json()["results"][0]
    assert dead["datetimeLast"]["utc"] == "2026-02-16T00:00:00Z"


def test_a_station_that_never_reported_has_nulls_and_no_rows(quirks: Running) -> None:
    found = get(quirks, f"/locations/{q.SILENT}").json()["results"][0]
    assert [found[name] for name in ("name", "licenses", "datetimeFirst", "datetimeLast")] == [None] * 4
    sensor = get(quirks, f"/sensors/{q.SILENT * 10 + 1}").json()["results"][0]
    assert [sensor[name] for name in ("datetimeFirst", "coverage", "latest", "summary")] == [None] * 4
    assert rows(quirks, q.SILENT * 10 + 1) == []


def test_flags_show_in_rows_and_in_their_own_list(quirks: Running) -> None:
    flagged = rows(quirks, q.FLAGGED * 10 + 1, datetime_from="2026-03-15T12:00:00Z")
    marks = [row["period"]["datetimeTo"]["utc"] for row in flagged if row["flagInfo"]["hasFlags"]]
    assert (marks[0], marks[-1]) == ("2026-03-16T00:00:00Z", "2026-03-17T01:00:00Z")
    assert get(quirks, f"/locations/{q.FLAGGED}/flags").json()["meta"]["found"] == 1


def test_a_late_row_put_in_by_hand_shows_at_its_place_when_its_time_has_come(quirks: Running) -> None:
    sensors_id = q.DEAD * 10 + 1
    answer = control(
        quirks,
        "POST",
        "rows",
        sensors_id=sensors_id,
        rows=[{"datetime": "2026-03-01T05:00:00Z", "value": 7.5, "visible_at": "2026-03-18T13:00:00Z"}],
    )
    assert answer.json() == {"added": 1}
    assert stamps(quirks, sensors_id, datetime_from="2026-02-17") == []
    control(quirks, "POST", "clock", advance_seconds=3600)
    assert [row["value"] for row in rows(quirks, sensors_id, datetime_from="2026-02-17")] == [7.5]
    latest = get(quirks, f"/locations/{q.DEAD}/latest").json()["results"]
    assert max(row["datetime"]["utc"] for row in latest) == "2026-03-01T05:00:00Z"


def test_a_revision_put_in_by_hand_takes_the_place_of_the_row(quirks: Running) -> None:
    sensors_id, at = q.PLAIN * 10 + 1, "2026-03-18T11:00:00Z"
    around = {"datetime_from": "2026-03-18T09:00:00Z", "datetime_to": "2026-03-18T12:00:00Z"}
    before = rows(quirks, sensors_id, **around)
    control(quirks, "POST", "rows", sensors_id=sensors_id, rows=[{"datetime": at, "value": None}])
    after = rows(quirks, sensors_id, **around)
    assert [row["period"] for row in after] == [row["period"] for row in before]
    assert [row["value"] is None for row in after] == [False, True, False]


def test_every_demo_location_is_in_kathmandu_and_most_of_them_are_alive() -> None:
    demo = named.demo(now=NOON)
    assert {station.id for station in demo.stations} == {site.id for site in SITES}
    assert {station.timezone for station in demo.stations} == {"Asia/Kathmandu"}
    spans = [demo.station_span_us(station, NOW_US) for station in demo.stations]
    assert sum(span is not None and span[1] > NOW_US - DAY_US for span in spans) == 9
    assert all(span is not None and span[0] < NOW_US - 700 * DAY_US for span in spans)
    assert all(3 <= len(station.sensors) <= 6 for station in demo.stations)
    assert not [s for station in demo.stations for s in station.sensors if s.always_fails or s.poison_us]


def test_a_demo_made_tomorrow_tells_the_same_of_today() -> None:
    today = datetime(2026, 5, 5, 9, tzinfo=UTC)
    worlds = [named.demo(now=today), named.demo(now=today + timedelta(days=1))]
    for sensors_id in worlds[0].sensors_by_id:
        told = [
            list(world.rows(world.sensors_by_id[sensors_id][1], to_us(today) - DAY_US, to_us(today), to_us(today)))
            for world in worlds
        ]
        assert told[0] == told[1]


def test_the_air_of_the_demo_is_plausible() -> None:
    demo = named.demo(now=NOON)
    bounds = {
        "pm25": (0, 500),
        "pm10": (0, 900),
        "o3": (0, 0.3),
        "no2": (0, 0.3),
        "co": (0, 5),
        "temperature": (-10, 45),
    }
    for station, sensor in demo.sensors_by_id.values():
        low, high = bounds.get(sensor.parameter.name, (0, 10_000))
        values = [row.value for row in window(demo, sensor.id, 24 * 60) if row.value not in {None, -999.0}]
        assert all(value is not None and low < value < high for value in values), station.name
        assert not values or max(values) > 1.3 * min(values)
