"""The clients, each of which is run as a process of its own and asked afterwards what it has stored."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from benchmarks.peers.job import Job
from benchmarks.peers.worlds import World
from benchmarks.polls import configure, figures
from benchmarks.process import ROOT, Cost, run
from openaq_pipeline.reading import query
from openaq_pipeline.simulator.worlds.bench import FIRST_LOCATION, FIRST_SENSOR

PYTHON = ROOT / ".venv-peers" / "bin" / "python"
KEY = "0123456789abcdef" * 4
"""As long as a real one, which the SDK insists on."""

FELL_SHORT = (0, 1)


class Client(Protocol):
    """A way to keep a copy: `name` is what the table calls it."""

    name: str

    def prepare(self, folder: Path, base_url: str, world: World, since: datetime) -> None:
        """Write what it needs to know into its folder, which may have been copied from another one."""

    def poll(self, folder: Path, now: datetime) -> Cost:
        """Let it bring its copy up to now, which is what the simulator's clock shows."""

    def keys(self, folder: Path) -> list[str]:
        """Return the key of each row it has stored, as `sensor stamp`."""


class Ours:
    """The main job as users run it, but for the clock, which shows what the simulator's does."""

    name = "ours"

    def __init__(self, *, python: Path = PYTHON) -> None:
        self._python = str(python)

    def prepare(self, folder: Path, base_url: str, world: World, since: datetime) -> None:
        """Write `config.yaml`; a first load goes back by days, so `since` says nothing new."""
        del since
        ids = range(FIRST_LOCATION, FIRST_LOCATION + world.locations)
        configure(folder, base_url=base_url, ids=ids, data={"initial_days": world.days})

    def poll(self, folder: Path, now: datetime) -> Cost:
        """Run the command."""
        command = [self._python, "-m", "benchmarks.virtual", now.isoformat(), "run", "--json"]
        return figures(command, folder / "config.yaml", accept=FELL_SHORT).cost

    def keys(self, folder: Path) -> list[str]:
        """Ask the files by SQL, as a user would."""
        stamp = "strftime(datetime AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ')"
        sql = f"SELECT sensors_id || ' ' || {stamp} AS key FROM measurements"  # noqa: S608
        return query.run(folder / "data", sql, _first_column)


def _first_column(reader: pa.RecordBatchReader) -> list[str]:
    keys: list[str] = reader.read_all().column(0).to_pylist()
    return keys


class Peer:
    """One of the scripts beside this file, run by the interpreter of an environment of its own."""

    def __init__(self, script: str, *, python: Path = PYTHON) -> None:
        self.name = script
        self._command = [str(python), "-m", f"benchmarks.peers.{script}"]

    def prepare(self, folder: Path, base_url: str, world: World, since: datetime) -> None:
        """Write `job.json`, with all sensors: it need not look them up."""
        sensors = {
            str(FIRST_LOCATION + place): list(
                range(FIRST_SENSOR + place * world.sensors, FIRST_SENSOR + (place + 1) * world.sensors)
            )
            for place in range(world.locations)
        }
        Job(base_url, KEY, since.isoformat(), sensors).save(folder)

    def poll(self, folder: Path, now: datetime) -> Cost:
        """Run the script, which needs to know no time."""
        del now
        return run([*self._command, "poll", str(folder)], accept=FELL_SHORT)[1]

    def keys(self, folder: Path) -> list[str]:
        """Ask the script."""
        return run([*self._command, "keys", str(folder)])[0].decode().splitlines()


CLIENTS: tuple[Client, ...] = (Ours(), Peer("sdk"), Peer("plain"), Peer("dlt_hand"), Peer("dlt_rest"))


def since_of(now: datetime, world: World) -> datetime:
    """Return from when on a first load at `now` wants rows."""
    return now.replace(microsecond=0) - timedelta(days=world.days)


def chosen(names: Iterable[str]) -> list[Client]:
    """Return the clients of these names, all if there are none."""
    wanted = set(names)
    return [client for client in CLIENTS if not wanted or client.name in wanted]
