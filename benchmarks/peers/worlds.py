"""The worlds that the clients are measured in: how the simulator is started, and what it shows at a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import requests

from benchmarks.polls import simulator
from openaq_pipeline.simulator.clock import to_us
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.base import World as Shown
from openaq_pipeline.simulator.worlds.bench import FIRST_SENSOR

BEGINS_BEFORE = timedelta(days=30)
"""There are rows from so long before the first that is asked for, as there are on Earth."""


@dataclass(frozen=True)
class World:
    """Hourly sensors of which a first load wants the last `days`.

    `late_share` of their rows come hours to days late; `poisoned`: all requests for the first sensor's series fail.
    """

    locations: int = 10
    sensors: int = 5
    days: int = 90
    late_share: float = 0.0
    poisoned: bool = False

    @contextmanager
    def served(self, start: datetime) -> Iterator[Server]:
        """Start a simulator whose clock stands still at `start`."""
        size = ("--bench-sensors", str(self.sensors), "--bench-days", str(self._shown_days))
        flags = (*size, "--bench-late", str(self.late_share))
        with simulator(start, speed=0, locations=self.locations, flags=flags) as base_url:
            server = Server(base_url)
            if self.poisoned:
                server.poison(FIRST_SENSOR)
            yield server

    def shown(self, start: datetime) -> Shown:
        """Return the world that a simulator started at `start` shows."""
        size = {"locations": self.locations, "sensors": self.sensors, "days": self._shown_days}
        return named.bench(**size, late_share=self.late_share, now=start)

    def keys(self, start: datetime, since: datetime, now: datetime) -> set[str]:
        """Return the keys of all rows after `since` that a simulator started at `start` shows at `now`.

        Those of a poisoned sensor are left out: nobody can have them.
        """
        world, span = self.shown(start), (to_us(since), to_us(now), to_us(now))
        texts: dict[int, str] = {}
        found: set[str] = set()
        for _, sensor in world.sensors_by_id.values():
            if self.poisoned and sensor.id == FIRST_SENSOR:
                continue
            for row in world.rows(sensor, *span):
                if row.stamp_us not in texts:
                    texts[row.stamp_us] = f"{datetime.fromtimestamp(row.stamp_us // 10**6, UTC):%Y-%m-%dT%H:%M:%SZ}"
                found.add(f"{sensor.id} {texts[row.stamp_us]}")
        return found

    @property
    def _shown_days(self) -> int:
        return self.days + BEGINS_BEFORE.days


class Server:
    """A simulator of a benchmark, and its control."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._control = base_url.removesuffix("/v3") + "/_simulator"

    def tell(self, now: datetime) -> None:
        """Let its clock tell another time."""
        self._post("clock", {"set": now.isoformat()})

    def poison(self, sensors_id: int) -> None:
        """Let every request for the series of a sensor fail from now on."""
        self._post("faults", {"kind": "status", "match": f"/sensors/{sensors_id}/measurements", "status": 500})

    def count(self) -> int:
        """Return how many requests it was sent since the last count."""
        path = f"{self._control}/requests"
        total = requests.get(path, timeout=60).json()["total"]
        requests.delete(path, timeout=60).raise_for_status()
        return int(total)

    def _post(self, name: str, body: dict[str, object]) -> None:
        requests.post(f"{self._control}/{name}", json=body, timeout=10).raise_for_status()
