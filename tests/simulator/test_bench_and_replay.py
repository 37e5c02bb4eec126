from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock, to_us
from openaq_pipeline.simulator.server import running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.model import DAY_US, HOUR_US
from tests.simulator.asking import get
from tests.simulator.conftest import NOON

NOW_US = to_us(NOON)
GUADALAJARA = Path(__file__).parents[3] / "shared" / "data" / "guadalajara"


def test_the_bench_world_has_every_hour_once_and_nothing_else() -> None:
    world = named.bench(locations=2, sensors=3, days=10, now=NOON)
    assert len(world.stations) == 2
    assert len(world.sensors_by_id) == 6
    for _, sensor in world.sensors_by_id.values():
        rows = list(world.rows(sensor, 0, NOW_US + DAY_US, NOW_US))
        assert [row.stamp_us for row in rows] == list(range(NOW_US - 10 * DAY_US, NOW_US + 1, HOUR_US))
        assert all(row.value is not None for row in rows)


def test_the_bench_world_pages_by_arithmetic_as_others_do_by_counting() -> None:
    world = named.bench(locations=1, sensors=1, days=10, now=NOON)
    sensor = world.stations[0].sensors[0]
    window = (NOW_US - 5 * DAY_US + 1, NOW_US + DAY_US, NOW_US)
    whole = list(world.rows(sensor, *window))
    for offset in (0, 7, 119, 120, 500):
        assert world.page(sensor, *window, offset=offset, limit=7) == whole[offset : offset + 7]


def test_a_page_of_the_bench_world_grows_with_the_clock() -> None:
    clock = Clock(NOON, speed=0)
    world = named.bench(locations=1, sensors=1, now=NOON)
    with running(world, options=Options(requests_per_minute=0), clock=clock) as simulator:
        path = f"/sensors/{world.stations[0].sensors[0].id}/measurements"
        window = {"datetime_from": "2026-03-18T09:00:00Z", "limit": 1000}
        assert len(get(simulator, path, **window).json()["results"]) == 3
        clock.advance(3600)
        assert len(get(simulator, path, **window).json()["results"]) == 4


def test_a_folder_without_pages_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recorded pages"):
        named.replay(tmp_path)


@pytest.mark.skipif(not GUADALAJARA.is_dir(), reason="../shared/data/guadalajara is absent: nothing to replay")
def test_replayed_pages_come_out_as_they_were_recorded() -> None:
    world = named.replay(GUADALAJARA)
    with running(world, options=Options(requests_per_minute=0)) as simulator:
        for path in sorted((GUADALAJARA / "measurements").glob("*.json.gz"))[::4]:
            recorded = json.loads(gzip.decompress(path.read_bytes()))
            sensors_id = path.name.split("-")[0]
            told = get(simulator, f"/sensors/{sensors_id}/measurements", limit=1000).json()
            assert told == recorded


@pytest.mark.skipif(not GUADALAJARA.is_dir(), reason="../shared/data/guadalajara is absent: nothing to replay")
def test_replayed_locations_keep_their_metadata() -> None:
    index = json.loads((GUADALAJARA / "metadata" / "locations_index.json").read_bytes())["results"]
    with running(named.replay(GUADALAJARA)) as simulator:
        told = {found["id"]: found for found in get(simulator, "/locations").json()["results"]}
    assert set(told) == {found["id"] for found in index}
    for found in index:
        kept = ("name", "timezone", "country", "owner", "provider", "isMonitor", "coordinates", "licenses")
        assert {name: told[found["id"]][name] for name in kept} == {name: found[name] for name in kept}
