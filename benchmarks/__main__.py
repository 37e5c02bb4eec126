"""`make bench`: what a first load and a steady run cost, against the simulator with its limiter off.

Each figure is of a whole process, start-up included, as the operating system accounts for it when the process
ends; the simulator is another process and not counted. The median of several runs is shown.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.daemon import measure
from benchmarks.polls import LOCATIONS, SENSORS, Figures, configure, load, middle_figures, set_clock, simulator

DAYS = 90


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each kind (default: 5)")
    runs = parser.parse_args().runs
    found = [_measure() for _ in range(runs)]
    print(f"{LOCATIONS} locations x {SENSORS} hourly sensors, median of {runs} runs, {datetime.now(UTC):%Y-%m-%d}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores\n")
    print("| run | requests | rows fetched | new | rows/s | wall s | CPU s | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, figures in zip(
        (f"first load, {DAYS} days", "steady, 1 new row a sensor", "steady, 2 new rows a sensor"),
        zip(*found, strict=True),
        strict=True,
    ):
        middle = middle_figures(figures)
        print(
            f"| {name} | {middle.requests:,.0f} | {middle.fetched:,.0f} | {middle.new:,.0f} "
            f"| {middle.fetched / middle.cost.wall_seconds:,.0f} | {middle.cost.wall_seconds:.2f} "
            f"| {middle.cost.cpu_seconds:.2f} | {middle.cost.peak_mb:.0f} |"
        )
    idle = measure()
    cpu = f"{idle.cpu_seconds:.2f} CPU s in {idle.seconds:.0f} s"
    print(f"\nIdle daemon: {idle.resident_bytes / 1e6:.0f} MB resident, {cpu}.")


def _measure() -> tuple[Figures, Figures, Figures]:
    """Measure a first load, a poll an hour later, and another one two hours after that."""
    start = datetime.now(UTC).replace(minute=20, second=0, microsecond=0) - timedelta(hours=4)
    with tempfile.TemporaryDirectory() as folder, simulator(start, speed=0) as base_url:
        config = configure(Path(folder), base_url=base_url, data={"initial_days": DAYS})
        found = []
        for hours in (0, 1, 3):
            set_clock(base_url, start + timedelta(hours=hours))
            found.append(load(config, now=start + timedelta(hours=hours)))
        return found[0], found[1], found[2]


if __name__ == "__main__":
    main()
