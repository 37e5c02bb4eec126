"""`python -m benchmarks.planet`: the planet followed by one key, hour after hour of a time of its own.

A made-up planet (or a part of it, with as small a part of the budget) is loaded, and then polled each hour with no more
requests than the budget of an hour. What counts is which rows are stored within 24 hours of their stamp, and whether a
backfill from the archive brings all the others.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import requests

from benchmarks import archive
from benchmarks.polls import Figures, configure, figures, set_clock, simulator
from openaq_pipeline.incremental.plan import minutes_for
from openaq_pipeline.reading import query
from openaq_pipeline.simulator.clock import to_us
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.bench import FIRST_LOCATION, BenchWorld

LOCATIONS, PER_HOUR, PER_MINUTE = 25_000, 2000, 60
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SETTLED = timedelta(days=14)
"""After so long no row is still late, and the archive has all of them."""

FIRST_DAYS = 1
SHIFT = 2**33
"""A key is the sensor's id times this, plus the stamp in seconds: of millions of rows numbers are compared fastest."""

Keys = npt.NDArray[np.int64]
FELL_SHORT = (0, 1)


class Poll(NamedTuple):
    """One run: what it reported and took, and how many requests the simulator was sent."""

    figures: Figures
    requests: int


class Shares(NamedTuple):
    """Rows with stamps of a span: how many there are by now, came within 24 hours, and were stored within 24 hours."""

    shown: int
    came: int
    stored: int


class Planet:
    """A planet on a simulator, and a folder that follows it from `start` on."""

    def __init__(
        self,
        folder: Path,
        base_url: str,
        start: datetime,
        locations: int,
        *,
        by_ids: bool,
        python: str = sys.executable,
    ) -> None:
        self.start = self.now = start
        self.world: BenchWorld = named.planet(locations=locations, now=start)
        self._folder = folder
        self._base_url = base_url
        self._by_ids = by_ids
        self._python = python
        ids = range(FIRST_LOCATION, FIRST_LOCATION + locations) if by_ids else ("planet",)
        data, place = {"initial_days": FIRST_DAYS}, {"location": str(folder / "archive")}
        self._config = configure(folder, base_url=base_url, ids=ids, data=data, archive=place)

    @property
    def since(self) -> datetime:
        """Return from when on all rows should be stored."""
        return self.start - timedelta(days=FIRST_DAYS)

    def load(self) -> Poll:
        """Run the first load, with as many requests as it takes."""
        return self._run("run", *([] if self._by_ids else ["--yes"]))

    def poll(self, hours: int = 1, *, most: int | None = None) -> Poll:
        """Let time pass and poll, with so many requests at most (None: with all that it wants)."""
        self.now += hours * HOUR
        set_clock(self._base_url, self.now)
        return self._run("run", *(() if most is None else ("--max-requests", str(most))))

    def backfill(self) -> Poll:
        """Let time pass until no row is late any more, and fill all of it from the archive."""
        first, last = self.since.date(), self.now.date() + DAY
        later = self.now + SETTLED
        archive.write_shown(self._folder / "archive", self.world, first - DAY, last, later)
        set_clock(self._base_url, later)
        span = ("--date-from", self.since.isoformat(), "--date-to", self.now.isoformat())
        return self._run("backfill", "--source", "archive", *span, now=later)

    def keys(self, now: datetime) -> Keys:
        """Return the keys of all rows up to the last poll that the simulator shows at `now`."""
        span = (to_us(self.since), to_us(self.now), to_us(now))
        sensors = (sensor for _, sensor in self.world.sensors_by_id.values())
        keys = (each.id * SHIFT + row.stamp_us // 10**6 for each in sensors for row in self.world.rows(each, *span))
        return np.fromiter(keys, np.int64)

    def compared(self, now: datetime) -> tuple[int, int, int]:
        """Return how many rows are shown at `now`, how many of them are not stored, and how many are stored twice."""
        stored = self._ask(f"SELECT sensors_id::BIGINT * {SHIFT} + epoch(datetime)::BIGINT FROM measurements")  # noqa: S608
        unique, wanted = np.unique(stored.column(0).to_numpy()), self.keys(now)
        return len(wanted), len(np.setdiff1d(wanted, unique, assume_unique=True)), stored.num_rows - len(unique)

    def shares(self) -> Shares:
        """Return how it stands with the rows since the first load that are a day old."""
        begin, end = to_us(self.start), to_us(self.now - DAY)
        shown = came = 0
        for _, sensor in self.world.sensors_by_id.values():
            for row in self.world.rows(sensor, begin, end, to_us(self.now)):
                shown += 1
                came += self.world.comes_us(sensor, row.stamp_us) - row.stamp_us <= to_us(self.now) - end
        between = f"datetime > TIMESTAMPTZ '{self.start.isoformat()}' AND datetime <= TIMESTAMPTZ '{self.now - DAY}'"
        in_time = "first_seen - datetime <= INTERVAL 24 HOUR"
        stored = self._ask(f"SELECT count(*) FROM measurements WHERE {between} AND {in_time}")  # noqa: S608
        return Shares(shown, came, stored.column(0)[0].as_py())

    def _ask(self, sql: str) -> pa.Table:
        return query.run(self._folder / "data", sql, lambda reader: reader.read_all())

    def _run(self, *arguments: str, now: datetime | None = None) -> Poll:
        control = self._base_url.removesuffix("/v3") + "/_simulator/requests"
        requests.delete(control, timeout=60).raise_for_status()
        moment = (now or self.now).isoformat()
        command = [self._python, "-m", "benchmarks.virtual", moment, *arguments, "--json"]
        found = figures(command, self._config, accept=FELL_SHORT)
        return Poll(found, int(requests.get(control, timeout=60).json()["total"]))


def followed(planet: Planet, hours: int, budget: int | None) -> Iterator[str]:
    """Load a planet and poll it each hour; yield the lines of a table, and what came of it all."""
    yield "| hour | requests | hours at the limits | new rows | deferred | wall s | CPU s | peak MB | MB written |"
    yield f"| --- |{' ---: |' * 8}"
    yield _line("first load", planet.load())
    for hour in range(1, hours + 1):
        yield _line(f"{hour}", planet.poll(most=budget))
    shown, missing, twice = planet.compared(planet.now)
    yield f"\nOf {shown:,} rows shown by now {missing:,} are missing ({missing / shown:.3%}), {twice:,} are double."
    found = planet.shares()
    if found.shown:
        yield (
            f"Of {found.shown:,} rows that are a day old {found.stored / found.shown:.3%} were stored within 24 hours "
            f"of their stamp; OpenAQ showed {found.came / found.shown:.3%} of them within that time."
        )


def settled(planet: Planet) -> Iterator[str]:
    """Fill a planet from the archive, and say whether all is there now."""
    filled = planet.backfill()
    shown, missing, twice = planet.compared(planet.now + SETTLED)
    cost = filled.figures.cost
    yield (
        f"After a backfill from the archive ({filled.figures.new:,.0f} more rows, {filled.requests:,} requests, "
        f"{cost.wall_seconds:.0f} s): of {shown:,} rows {missing:,} are missing, {twice:,} are double."
    )


def _line(name: str, poll: Poll) -> str:
    found, cost = poll.figures, poll.figures.cost
    hours = minutes_for(poll.requests, per_minute=PER_MINUTE, per_hour=PER_HOUR) / 60
    counts = f"{poll.requests:,} | {hours:.2f} | {found.new:,.0f} | {found.deferred:,.0f}"
    times = f"{cost.wall_seconds:.1f} | {cost.cpu_seconds:.1f} | {cost.peak_mb:.0f} | {cost.written_mb:.1f}"
    return f"| {name} | {counts} | {times} |"


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planet", description=__doc__)
    parser.add_argument("--locations", type=int, default=2500, help="how much of the planet (default: 2500)")
    parser.add_argument("--hours", type=int, default=48, help="polls, one each hour (default: 48)")
    parser.add_argument("--budget", type=int, help="requests an hour, 0: any (default: 2,000 for 25,000 locations)")
    parser.add_argument("--no-archive", action="store_true", help="leave the backfill out")
    parser.add_argument("--ids", action="store_true", help="list the locations in place of selecting `planet`")
    flags = parser.parse_args()
    budget = PER_HOUR * flags.locations // LOCATIONS if flags.budget is None else flags.budget
    start = datetime.now(UTC).replace(minute=20, second=0, microsecond=0) - (flags.hours + 1) * HOUR
    print(
        f"{flags.locations:,} locations x 4 sensors, {budget or 'any number of'} requests an hour, {start:%Y-%m-%d}\n"
    )
    with (
        tempfile.TemporaryDirectory(prefix="planet-") as folder,
        simulator(start, speed=0, world="planet", locations=flags.locations) as base_url,
    ):
        planet = Planet(Path(folder), base_url, start, flags.locations, by_ids=flags.ids)
        for line in followed(planet, flags.hours, budget or None):
            print(line, flush=True)
        for line in [] if flags.no_archive else settled(planet):
            print(line, flush=True)


if __name__ == "__main__":
    main()
