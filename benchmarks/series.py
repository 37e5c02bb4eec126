"""`python -m benchmarks.series`: what it takes to draw five hourly years of a location, and what else a page shows.

Each figure is of a whole process, start-up included, that does it twice; "once warm" is the second time. What is
compared is run in turns, and the medians are shown. The files have just been written, and are in the system's cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.process import Cost, middle, run
from benchmarks.readers import MOST_POINTS
from benchmarks.world import World, ordered
from openaq_pipeline.columns import to_rows
from openaq_pipeline.locks import hold_location
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.locations import LocationFiles

YEARS, SENSORS, LOCATIONS = 5, 5, 50
EVER = datetime(1, 1, 1, tzinfo=UTC)


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.series", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each kind (default: 5)")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="series-") as name:
        one, many = Path(name, "one"), Path(name, "many")
        rows = _write(one, [1], years=YEARS)
        _write(many, range(1, LOCATIONS + 1), years=0)
        kinds = {
            f"series, {MOST_POINTS:,} points a sensor": ("series", one, "bytes"),
            "all rows as JSON": ("rows", one, "bytes"),
            "calendar of a year": ("calendar", one, "sensor-days"),
            f"last values and days, {LOCATIONS} locations": ("latest", many, "sensors"),
        }
        found: dict[str, list[tuple[dict[str, float], Cost]]] = {kind: [] for kind in kinds}
        for _ in range(runs):
            for kind, (reader, folder, _) in kinds.items():
                found[kind].append(_read(reader, folder))
    load = f"load average {os.getloadavg()[0]:.1f}"
    print(f"Median of {runs} runs, {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {load}\n")
    print(f"| {rows:,} rows of {SENSORS} sensors in {YEARS} years | found | once warm, s | wall s | CPU s | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind, results in found.items():
        cost, answers = middle(cost for _, cost in results), [answer for answer, _ in results]
        seconds = median(answer["seconds"] for answer in answers)
        print(
            f"| {kind} | {answers[0]['rows']:,.0f} {kinds[kind][2]} | {seconds:.3f} "
            f"| {cost.wall_seconds:.2f} | {cost.cpu_seconds:.2f} | {cost.peak_mb:.0f} |"
        )


def _read(kind: str, folder: Path) -> tuple[dict[str, float], Cost]:
    """Return what one of `readers` found, and what its process took."""
    output, cost = run([sys.executable, "-m", "benchmarks.readers", kind, str(folder)])
    answer: dict[str, float] = json.loads(output)
    return answer, cost


def _write(folder: Path, ids: Sequence[int], *, years: int) -> int:
    """Write the locations up to now: the last month in their files, so many years in the history; return all rows."""
    folder.mkdir()
    now = datetime.now(UTC)
    to = (now - timedelta(days=35)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    first = now - timedelta(days=365 * years)
    world = World(ids, years=range(min(to, first).year, now.year + 1), sensors=SENSORS, every_hours=1)
    files, count = LocationFiles(folder), 0
    for location_id in ids:
        whole = pa.concat_tables([world.month(location_id, month) for month in world.months])
        stamps = whole.column("datetime")
        whole = whole.filter(pc.and_(pc.greater(stamps, min(to, first)), pc.less_equal(stamps, now)))
        recent = pc.greater_equal(whole.column("datetime"), to)
        with hold_location(folder, location_id):
            files.replace_tail(
                location_id, EVER, to_rows(location_id, ordered(whole.filter(recent), ("datetime", "sensors_id")))
            )
            if years:
                _history(folder, location_id, whole.filter(pc.invert(recent)))
                files.seal(location_id, to)
        count += len(whole)
    return count


def _history(folder: Path, location_id: int, rows: pa.Table) -> None:
    """Write the history of a location, a file a year."""
    years = pc.year(rows.column("datetime"))
    for year in pc.unique(years).to_pylist():
        History(folder).write(location_id, year, ordered(rows.filter(pc.equal(years, year))), [])


if __name__ == "__main__":
    main()
