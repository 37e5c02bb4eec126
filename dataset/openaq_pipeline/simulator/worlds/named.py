"""The worlds by the names that the command line knows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from openaq_pipeline.simulator.clock import to_us
from openaq_pipeline.simulator.worlds import bench as _bench
from openaq_pipeline.simulator.worlds import demo as _demo
from openaq_pipeline.simulator.worlds import planet as _planet
from openaq_pipeline.simulator.worlds import quirks as _quirks
from openaq_pipeline.simulator.worlds import replay as _replay
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.model import DAY_US


def demo(*, seed: int = 1, now: datetime | None = None) -> World:
    """Return Kathmandu's ten stations with two years of rows before `now` (None: real time)."""
    return _demo.demo(seed=seed, now_us=to_us(now or datetime.now(UTC)))


def quirks(*, seed: int = 1, now: datetime | None = None) -> World:
    """Return a small station for every oddity, with 60 days of rows before `now` (None: real time)."""
    return _quirks.quirks(seed=seed, now_us=to_us(now or datetime.now(UTC)))


def bench(
    *, locations: int = 10, sensors: int = 5, days: int = 730, late_share: float = 0.0, now: datetime | None = None
) -> _bench.BenchWorld:
    """Return `locations` stations of `sensors` hourly sensors with `days` days of rows before `now`."""
    now_us = to_us(now or datetime.now(UTC))
    return _bench.bench(locations, sensors, begins_us=now_us - days * DAY_US, late_share=late_share)


def planet(*, locations: int = 25_000, now: datetime | None = None) -> _bench.BenchWorld:
    """Return `locations` stations of four sensors each, many of them dead, silent, quick or late."""
    return _planet.planet(locations, now_us=to_us(now or datetime.now(UTC)))


def replay(folder: Path) -> World:
    """Return the rows of a folder of recorded pages; ConfigError if it holds none."""
    return _replay.replay(folder)
