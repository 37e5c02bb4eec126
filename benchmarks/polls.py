"""The main job as a user runs it, against the simulator with its limiter off and without a wait between requests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

import requests

from benchmarks.process import ROOT, Cost, middle, run
from openaq_pipeline.simulator.worlds.bench import FIRST_LOCATION

LOCATIONS, SENSORS = 10, 5
KEY = "0123456789abcdef" * 4
"""As long as a real one: every answer is searched for it, and a short one is not as quickly told to be absent."""

IDS = range(FIRST_LOCATION, FIRST_LOCATION + LOCATIONS)


class Figures(NamedTuple):
    """What one run did and took: requests sent, rows fetched and new, and series left for the next run."""

    requests: float
    fetched: float
    new: float
    cost: Cost
    deferred: float = 0


@contextmanager
def simulator(
    start: datetime, *, speed: float = 1, world: str = "bench", locations: int = LOCATIONS, flags: Sequence[str] = ()
) -> Iterator[str]:
    """Give the base URL of a simulator of its own; `speed` 0: its clock stands still. `flags` are more of its flags."""
    command = [
        *(sys.executable, "-m", "openaq_pipeline", "simulator", "--world", world, "--port", "0"),
        *("--requests-per-minute", "0", "--start", start.isoformat(), "--speed", str(speed)),
        *("--bench-locations", str(locations), "--bench-sensors", str(SENSORS), *flags),
    ]
    with subprocess.Popen(command, cwd=ROOT / "dataset", stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the simulator has no output")
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def set_clock(base_url: str, now: datetime) -> None:
    """Let a simulator's clock tell another time."""
    clock = base_url.removesuffix("/v3") + "/_simulator/clock"
    requests.post(clock, json={"set": now.isoformat()}, timeout=10).raise_for_status()


def configure(
    folder: Path, *, base_url: str | None = None, ids: Iterable[int | str] = IDS, **sections: Mapping[str, object]
) -> Path:
    """Write a configuration into a folder and return where; the data go beside it. `sections` are more of its keys."""
    limits: dict[str, object] = {"requests_per_minute": 1_000_000, "requests_per_hour": 1_000_000}
    api = limits | ({"base_url": base_url} if base_url else {})
    data = {"directory": "data", **sections.pop("data", {})}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(json.dumps({"locations": list(ids), "api": api, "data": data, **sections}))
    return path


def load(config: Path, *flags: str, python: str = sys.executable, now: datetime | None = None) -> Figures:
    """Run the main job as a user would, and return what its own report and the operating system say.

    `now` is what its clock shows, see `virtual`; None: the time. Two polls with hours between them take no hours so.
    """
    door = [str(ROOT / "dataset" / "incremental_loader.py")]
    command = door if now is None else ["-m", "benchmarks.virtual", now.isoformat(), "run"]
    return figures([python, *command, "--json", *flags], config)


def figures(command: Sequence[str], config: Path, *, accept: Container[int] = (0,)) -> Figures:
    """Run a command that prints the report of a run, and return what that and the operating system say."""
    environment = {"OPENAQ_API_KEY": KEY, "XDG_STATE_HOME": str(config.parent)}
    output, cost = run([*command, "--config", str(config)], environment=environment, accept=accept)
    if not output:
        raise SystemExit(f"{' '.join(command)} printed no report")
    report = json.loads(output)
    new = sum(location["new"] for location in report["locations"])
    return Figures(report["requests"], report["total_records_fetched"], new, cost, report.get("deferred", 0))


def middle_figures(found: Iterable[Figures]) -> Figures:
    """Return the median of each figure."""
    counts, fetched, new, costs, deferred = zip(*found, strict=True)
    return Figures(median(counts), median(fetched), median(new), middle(costs), median(deferred))
