"""`python -m benchmarks.limits`: how much longer than its request budget allows a run takes.

A first load of many sensors under limits that it reaches again and again, on the wall clock. The least time is that of
the budget's own windows, with nothing of a run's work in it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.polls import configure, load, simulator
from openaq_pipeline.openaq.budget import MINUTE_SECONDS
from openaq_pipeline.simulator.worlds.bench import FIRST_LOCATION

LOCATIONS, SENSORS, DAYS, PER_MINUTE = 1000, 4, 3, 1200


def main() -> None:
    """Run the first load and print what it took."""
    argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__).parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        simulator(datetime.now(UTC), locations=LOCATIONS, flags=("--bench-sensors", str(SENSORS))) as base_url,
    ):
        ids = range(FIRST_LOCATION, FIRST_LOCATION + LOCATIONS)
        config = configure(Path(folder), base_url=base_url, ids=ids, data={"initial_days": DAYS})
        settings = json.loads(config.read_text())
        settings["api"] |= {"requests_per_minute": PER_MINUTE}
        config.write_text(json.dumps(settings))
        found = load(config)
    least = (found.requests - 1) // PER_MINUTE * MINUTE_SECONDS
    wall = found.cost.wall_seconds
    print(f"{LOCATIONS:,} locations x {SENSORS}, {PER_MINUTE:,} requests a minute, {datetime.now(UTC):%Y-%m-%d}\n")
    print("| requests | rows new | least by the budget, s | wall s | more | CPU s |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    print(
        f"| {found.requests:,.0f} | {found.new:,.0f} | {least:.0f} | {wall:.1f} | {wall / least - 1:.1%} "
        f"| {found.cost.cpu_seconds:.1f} |"
    )


if __name__ == "__main__":
    main()
