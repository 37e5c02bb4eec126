"""`make bench-peers`: other ways to keep a copy of OpenAQ, in the same worlds, on the same machine, in one run.

Each figure is of a whole process, start-up included, against a simulator with its limiter off; requests are as the
simulator counts them, and what is missing or double is seen by comparing what is stored with what it shows then.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.peers.clients import PYTHON, Client, chosen, since_of
from benchmarks.peers.worlds import Server, World
from benchmarks.planet import LOCATIONS as PLANET
from benchmarks.planet import Planet
from benchmarks.polls import simulator
from benchmarks.process import Cost, middle, run
from openaq_pipeline.incremental.plan import minutes_for
from openaq_pipeline.simulator.worlds.planet import SENSORS

HOUR = timedelta(hours=1)
PER_MINUTE, PER_HOUR = 60, 2000
SLOW_SECONDS = 20
"""What takes longer than this is measured once."""


Row = tuple[str, str]
"""A line of the table, after the kind of run it is about."""


class Result(NamedTuple):
    """What one poll, or several, of a client took, and what its copy lacked or held twice afterwards."""

    requests: float
    cost: Cost
    missing: float
    twice: float


class Figures(NamedTuple):
    """The results of a first load, and of a poll `hours` later."""

    first: list[Result]
    steady: list[Result]


def first_and_steady(
    client: Client, world: World, folder: Path, *, hours: int, runs: int, more_polls: int = 1
) -> Figures:
    """Measure first loads, and polls some hours later; `more_polls` polls on copies of each first load's folder."""
    found = Figures([], [])
    while len(found.first) < runs and (not found.first or found.first[0].cost.wall_seconds < SLOW_SECONDS):
        start, place = (now := _present()) - hours * HOUR, folder / "first"
        with world.served(start) as server:
            client.prepare(place, server.base_url, world, since := since_of(start, world))
            found.first.append(polled(client, place, server, start, world.keys(start, since, start)))
            server.tell(now)
            wanted: set[str] | None = world.keys(start, since, now)
            for _ in range(more_polls):
                if found.steady and found.steady[0].cost.wall_seconds >= SLOW_SECONDS:
                    break
                shutil.copytree(place, folder / "steady")
                found.steady.append(polled(client, folder / "steady", server, now, wanted))
                shutil.rmtree(folder / "steady")
                wanted = None
        shutil.rmtree(place)
    return found


def hourly(client: Client, world: World, folder: Path, *, polls: int) -> Result:
    """Measure a poll each hour of a time of its own, after a first load; costs are sums, memory is the highest."""
    start = (end := _present()) - polls * HOUR
    costs: list[Cost] = []
    with world.served(start) as server:
        client.prepare(folder, server.base_url, world, since := since_of(start, world))
        client.poll(folder, start)
        server.count()
        for number in range(1, polls + 1):
            now = start + number * HOUR
            server.tell(now)
            costs.append(client.poll(folder, now))
        requests = server.count()
    missing, twice = compared(client.keys(folder), world.keys(start, since, end))
    walls, cpus, peaks, written = zip(*costs, strict=True)
    shutil.rmtree(folder)
    return Result(requests, Cost(sum(walls), sum(cpus), max(peaks), sum(written)), missing, twice)


def _present() -> datetime:
    """Return twenty past the last full hour but one: no hour begins while something is measured."""
    return datetime.now(UTC).replace(minute=20, second=0, microsecond=0) - HOUR


def polled(client: Client, folder: Path, server: Server, now: datetime, wanted: set[str] | None) -> Result:
    """Let a client poll once; `wanted` None: what comes of it has been compared in a poll like this before."""
    server.count()
    cost = client.poll(folder, now)
    return Result(server.count(), cost, *((0, 0) if wanted is None else compared(client.keys(folder), wanted)))


def compared(stored: list[str], wanted: set[str]) -> tuple[int, int]:
    """Return how many wanted rows are not stored, and how many are stored more than once."""
    unique = set(stored)
    return len(wanted - unique), len(stored) - len(unique)


def _row(world: str, client: Client, results: Sequence[Result]) -> Row:
    requests, costs, missing, twice = zip(*results, strict=True)
    cost = middle(costs)
    minutes = minutes_for(round(median(requests)), per_minute=PER_MINUTE, per_hour=PER_HOUR)
    figures = (
        f"{median(requests):,.0f}",
        f"{minutes / 60:.2f}",
        f"{cost.cpu_seconds:.2f}",
        f"{cost.peak_mb:.0f}",
        f"{cost.written_mb:.2f}",
        f"{max(missing):,}",
        f"{max(twice):,}",
    )
    return world, f"| {world} | {client.name} | {' | '.join(figures)} |"


def small(clients: Iterable[Client], folder: Path, runs: int) -> Iterator[Row]:
    """Measure ten locations of five sensors: first loads and steady polls."""
    for client in clients:
        found = first_and_steady(client, World(), folder, hours=1, runs=runs)
        yield _row("10 x 5, first 90 days", client, found.first)
        yield _row("steady, 1 new row a sensor", client, found.steady)
        found = first_and_steady(client, World(), folder, hours=2, runs=1, more_polls=runs)
        yield _row("steady, 2 new rows a sensor", client, found.steady)


def kept(clients: Iterable[Client], folder: Path, runs: int, *, days: int) -> Iterator[Row]:
    """Measure the steady poll with years kept."""
    for client in clients:
        found = first_and_steady(client, World(days=days), folder, hours=1, runs=1, more_polls=runs)
        yield _row(f"steady, {days:,} days kept", client, found.steady)


def late(clients: Iterable[Client], folder: Path, *, polls: int) -> Iterator[Row]:
    """Measure polls each hour where 2 % of the rows are late."""
    for client in clients:
        found = hourly(client, World(days=30, late_share=0.02), folder / "late", polls=polls)
        yield _row(f"2 % late, {polls} hourly polls", client, [found])


def poisoned(clients: Iterable[Client], folder: Path) -> Iterator[Row]:
    """Measure a first load and a steady poll where one sensor can't be read."""
    for client in clients:
        found = first_and_steady(client, World(days=30, poisoned=True), folder, hours=1, runs=1)
        yield _row("one poison sensor, first 30 days", client, found.first)
        yield _row("one poison sensor, steady", client, found.steady)


def many(clients: Iterable[Client], folder: Path, *, locations: int) -> Iterator[Row]:
    """Measure a steady poll of many locations."""
    for client in clients:
        found = first_and_steady(client, World(locations, 4, days=2), folder, hours=1, runs=1)
        yield _row(f"{locations:,} x 4, steady hour", client, found.steady)


def planet(clients: Iterable[Client], folder: Path, *, locations: int) -> Iterator[Row]:
    """Measure an hour of the planet; the others ask once for each sensor there is, so their requests are reckoned."""
    kind, start = f"planet, {locations:,} x 4, steady hour", _present() - HOUR
    with simulator(start, speed=0, world="planet", locations=locations) as base_url:
        earth = Planet(folder / "planet", base_url, start, locations, by_ids=False, python=str(PYTHON))
        for client in clients:
            if client.name != "ours":
                minutes = minutes_for(locations * SENSORS, per_minute=PER_MINUTE, per_hour=PER_HOUR)
                yield kind, f"| {kind} | {client.name} | {locations * SENSORS:,} | {minutes / 60:.2f} |{' |' * 5}"
                continue
            earth.load()
            found = earth.poll(most=PER_HOUR * locations // PLANET)
            _, missing, twice = earth.compared(earth.now)
            yield _row(kind, client, [Result(found.requests, found.figures.cost, missing, twice)])


def _by_kind(rows: Iterable[Row]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for kind, line in rows:
        kinds.setdefault(kind, []).append(line)
    return kinds


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind in small worlds (default: 3)")
    parser.add_argument("--quick", action="store_true", help="a trial: one run, less kept, fewer polls and locations")
    parser.add_argument("--clients", nargs="+", default=[], metavar="C", help="only these (default: all)")
    parser.add_argument(
        "--worlds", nargs="+", choices=["small", "kept", "late", "poison", "many", "planet"], help="only these"
    )
    flags = parser.parse_args()
    clients, runs, quick = chosen(flags.clients), 1 if flags.quick else flags.runs, flags.quick
    version = run([str(PYTHON), "-c", "import platform; print(platform.python_version())"])[0].decode().strip()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, median of {runs}; Python {platform.python_version()}, peers {version}, ", end=""
    )
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}\n")
    columns = ("world", "client", "requests", "hours", "CPU s", "peak MB", "MB written", "missing", "twice")
    print(f"| {' | '.join(columns)} |\n| --- | --- |{' ---: |' * (len(columns) - 2)}")
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        worlds = {
            "small": lambda: small(clients, folder, runs),
            "kept": lambda: kept(clients, folder, runs, days=200 if quick else 1096),
            "late": lambda: late(clients, folder, polls=6 if quick else 48),
            "poison": lambda: poisoned(clients, folder),
            "many": lambda: many(clients, folder, locations=100 if quick else 1000),
            "planet": lambda: planet(clients, folder, locations=PLANET // 50 if quick else PLANET),
        }
        for world in flags.worlds or worlds:
            # Client after client is measured, but kind after kind is shown.
            for lines in _by_kind(worlds[world]()).values():
                print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
