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

DAYS, NEW_HOURS = 90, 2


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
        middle = middle_figures(found)
        print(
            f"| {name} | {middle.requests:,.0f} | {middle.fetched:,.0f} | {middle.new:,.0f} "
            f"| {middle.fetched / middle.cost.wall_seconds:,.0f} | {middle.cost.wall_seconds:.2f} "
            f"| {middle.cost.cpu_seconds:.2f} | {middle.cost.peak_mb:.0f} |"
        )
    idle = measure()
    cpu = f"{idle.cpu_seconds:.2f} CPU s in {idle.seconds:.0f} s"
    print(f"\nIdle daemon: {idle.resident_bytes / 1e6:.0f} MB resident, {cpu}.")


def _measure_both() -> tuple[Figures, Figures]:
    """Measure a first load, and a second run after `NEW_HOURS` more hours have appeared."""
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder, simulator(now - timedelta(hours=NEW_HOURS)) as base_url:
        config = configure(Path(folder), base_url=base_url, data={"initial_days": DAYS})
        first = load(config)
        set_clock(base_url, datetime.now(UTC))
        return first, load(config)


if __name__ == "__main__":
    main()
