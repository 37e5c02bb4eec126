"""The real loader against a faulty server, on a clock that only waiting moves: hours of back-off cost no time here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from openaq_pipeline import run
from openaq_pipeline.openaq.budget import Budget
from openaq_pipeline.openaq.session import Client
from openaq_pipeline.reports import RunReport
from openaq_pipeline.settings import ApiSettings, DataSettings, Settings
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.wiring import Stop
from tests.faults import oracle
from tests.faults.faulty import Faulty, Manner, faulty

START = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
KEY = "canary-0123456789abcdef"
PER_MINUTE, PER_HOUR = 60, 2000
SILENCE_SECONDS = 0.25
LATER, LAST = 30.0, 60.0
"""Hours after the start at which runs come: so far apart that all rows are read as series, and none from lists."""


class Time:
    """A monotonic clock that moves by waiting alone."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Bench:
    """Two stations of two hourly sensors each, a server in front of them, and a data folder that is two days old.

    `expected` is the content after another run at `LAST`, if nothing is in its way.
    """

    def __init__(self, simulator: Running, server: Faulty, time: Time, folder: Path) -> None:
        self.simulator, self.server, self.time, self.folder = simulator, server, time, folder
        self.expected: oracle.Content = {}
        self.watermarks_before = self.watermarks() if folder.exists() else {}

    @property
    def target(self) -> int:
        """Return the sensor that most faults are for."""
        return self.simulator.world.stations[0].sensors[0].id

    @property
    def page(self) -> str:
        """Return what matches the requests for its rows alone."""
        return f"/sensors/{self.target}/measurements"

    def settings(self, folder: Path, initial_days: int = 2) -> Settings:
        return Settings(
            data_dir=folder,
            locations=[station.id for station in self.simulator.world.stations],
            api=ApiSettings(
                base_url=self.server.base_url, api_key=SecretStr(KEY), timeout_seconds=SILENCE_SECONDS, max_workers=1
            ),
            data=DataSettings(initial_days=initial_days),
        )

    def poll(self, hours: float, folder: Path | None = None, *, initial_days: int = 2) -> RunReport:
        """Do a run so many hours after the start."""
        self.simulator.clock.set(START + timedelta(hours=hours))
        return run.run_once(
            self.settings(folder or self.folder, initial_days), clock=self.simulator.clock.now, stop=Stop()
        )

    def reference(self, *hours: float) -> oracle.Content:
        """Return the content of a folder that polled at these times, and at the start, without a fault."""
        folder = self.folder.with_name("reference")
        self.server.clear()
        for each in (0.0, *hours):
            assert self.poll(each, folder).complete
        return oracle.content(folder)

    def watermarks(self) -> dict[int, str]:
        """Return the watermark of each sensor, as stored."""
        state = json.loads((self.folder / ".state.json").read_bytes())
        found: list[dict[str, Any]] = [each["sensors"] for each in state["locations"].values()]
        return {int(key): sensor["watermark"] for sensors in found for key, sensor in sensors.items()}

    def rows_of(self, sensors_id: int) -> set[datetime]:
        return {place.datetime for place in oracle.content(self.folder) if place.sensors_id == sensors_id}

    def heals(self, hours: float = LAST) -> None:
        """Assert that with a good server one run brings everything that a run without the fault would have."""
        self.server.clear()
        assert self.poll(hours).complete
        oracle.check(self.folder, expected=self.expected, restarted=True)

    def kept_the_budget(self) -> None:
        """Assert that in no minute and no hour more requests came than the limits allow."""
        times = sorted(asked.at for asked in self.server.asked)
        for seconds, limit in ((60.0, PER_MINUTE), (3600.0, PER_HOUR)):
            for first, last in zip(times, times[limit:], strict=False):
                assert last - first > seconds, f"more than {limit} requests in {last - first:.1f} s"


@contextmanager
def wired(time: Time) -> Iterator[None]:
    """Let runs wait on a clock of their own; the budget's ledger is real, and new."""

    @contextmanager
    def connected(settings: Settings, stop: Stop, **_: object) -> Iterator[tuple[Client, Budget]]:
        path = settings.data_dir.with_name("ledger.sqlite")
        budget = Budget(path, per_minute=PER_MINUTE, per_hour=PER_HOUR, sleep=time.sleep, clock=time)
        client = Client(
            settings.api.base_url,
            KEY,
            budget,
            timeout_seconds=settings.api.timeout_seconds,
            sleep=time.sleep,
            checkpoint=stop.check,
        )
        try:
            yield client, budget
        finally:
            budget.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "connected", connected)
        yield


@contextmanager
def bench(folder: Path, world: World | None = None) -> Iterator[Bench]:
    """Give a bench whose data folder has the rows of the two days before the start."""
    time, clock = Time(), Clock(START, speed=0)
    world = world or named.bench(locations=2, sensors=2, days=60, now=START)
    with (
        running(world, options=Options(requests_per_minute=0), clock=clock) as simulator,
        faulty(simulator.base_url, clock=time) as server,
    ):
        made = Bench(simulator, server, time, folder / "data")
        with wired(time):
            assert made.poll(0).complete
            made.expected = made.reference(LAST)
        yield made


@contextmanager
def copied(made: Bench, folder: Path) -> Iterator[Bench]:
    """Give the same bench with a copy of its data folder, a new ledger, and a server that is good."""
    shutil.copytree(made.folder, folder / "data")
    made.server.clear()
    made.server.asked.clear()
    made.time.waits.clear()
    with wired(made.time):
        copy = Bench(made.simulator, made.server, made.time, folder / "data")
        copy.expected = made.expected
        yield copy
    made.server.clear()


def name_of(manner: Manner) -> str:
    return manner.__name__
