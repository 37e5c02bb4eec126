"""`make bench`: what a first load and a steady run cost, against the simulator with its limiter off.

Each figure is of a whole process, start-up included, as the operating system accounts for it when the process
ends; the simulator is another process and not counted. The median of several runs is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import requests

from benchmarks.daemon import measure

ROOT = Path(__file__).resolve().parents[1]
LOCATIONS, SENSORS, DAYS, NEW_HOURS = 10, 5, 90, 2


class Figures(NamedTuple):
    """What one run took: requests sent, rows fetched and new, seconds of wall and CPU time, peak memory."""

    requests: int
    fetched: int
    new: int
    wall_seconds: float
    cpu_seconds: float
    peak_mb: float


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each kind (default: 5)")
    runs = parser.parse_args().runs
    first, steady = zip(*(_measure_both() for _ in range(runs)), strict=True)
    print(f"{LOCATIONS} locations x {SENSORS} hourly sensors, median of {runs} runs, {datetime.now(UTC):%Y-%m-%d}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores\n")
    print("| run | requests | rows fetched | new | rows/s | wall s | CPU s | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, found in (
        (f"first load, {DAYS} days", first),
        (f"steady, {NEW_HOURS} new rows a sensor", steady),
    ):
        middle = Figures(*(statistics.median(column) for column in zip(*found, strict=True)))
        print(
            f"| {name} | {middle.requests:,.0f} | {middle.fetched:,.0f} | {middle.new:,.0f} "
            f"| {middle.fetched / middle.wall_seconds:,.0f} | {middle.wall_seconds:.2f} "
            f"| {middle.cpu_seconds:.2f} | {middle.peak_mb:.0f} |"
        )
    idle = measure()
    cpu = f"{idle.cpu_seconds:.2f} CPU s in {idle.seconds:.0f} s"
    print(f"\nIdle daemon: {idle.resident_bytes / 1e6:.0f} MB resident, {cpu}.")


def _measure_both() -> tuple[Figures, Figures]:
    """Measure a first load, and a second run after `NEW_HOURS` more hours have appeared."""
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder, _simulator(now - timedelta(hours=NEW_HOURS)) as base_url:
        config = _config(Path(folder), base_url)
        first = _run(config)
        clock = base_url.removesuffix("/v3") + "/_simulator/clock"
        requests.post(clock, json={"set": datetime.now(UTC).isoformat()}, timeout=10).raise_for_status()
        return first, _run(config)


@contextmanager
def _simulator(start: datetime) -> Iterator[str]:
    command = [
        *(sys.executable, "-m", "openaq_pipeline", "simulator", "--world", "bench", "--port", "0"),
        *("--requests-per-minute", "0", "--start", start.isoformat()),
        *("--bench-locations", str(LOCATIONS), "--bench-sensors", str(SENSORS)),
    ]
    with subprocess.Popen(command, cwd=ROOT / "dataset", stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the simulator has no output")
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _config(folder: Path, base_url: str) -> Path:
    ids = [
        entry["id"]
        for entry in requests.get(f"{base_url}/locations?limit=1000", headers={"X-API-Key": "k"}, timeout=10).json()[
            "results"
        ]
    ]
    path = folder / "config.yaml"
    path.write_text(
        f"locations: {ids}\n"
        f"api: {{base_url: '{base_url}', requests_per_minute: 1000000, requests_per_hour: 1000000}}\n"
        f"data: {{directory: data, initial_days: {DAYS}}}\n"
    )
    return path


def _run(config: Path) -> Figures:
    """Run the main job as a user would and return what the operating system and its own report say."""
    output = config.with_name("report.json")
    environment = {**os.environ, "OPENAQ_API_KEY": "bench", "XDG_STATE_HOME": str(config.parent)}
    command = [
        sys.executable,
        str(ROOT / "dataset" / "incremental_loader.py"),
        "--config",
        str(config),
        "--json",
    ]
    began = time.monotonic()
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"the run failed with exit code {process.returncode}")
    report = json.loads(output.read_text())
    new = sum(location["new"] for location in report["locations"])
    cpu = usage.ru_utime + usage.ru_stime
    return Figures(report["requests"], report["total_records_fetched"], new, wall, cpu, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
