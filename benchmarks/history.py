"""`python -m benchmarks.history`: what years of history cost: kept, filled from OpenAQ's archive, and read back.

Each figure is of a whole process, start-up included; the medians of several runs are shown. What is compared is run in
turns, on folders that are made anew or copied for each run. All files lie on the local disk and have just been written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks import archive
from benchmarks.polls import IDS, LOCATIONS, SENSORS, Figures, configure, load, middle_figures, set_clock, simulator
from benchmarks.process import Cost, middle, run
from benchmarks.readers import DAILY_MEANS
from openaq_pipeline.incremental.plan import live_from

LIVE_DAYS, FIRST_DAYS, NEW_HOURS = 35, 30, 2
YEARS, DAYS = 3, 1096
RANGES = {"1 year": 365, "6 years": 2192}
POLLS = 3
"""So many polls of each kind are measured in each run: what is compared there differs by hundredths of a second."""

FRESH = timedelta(hours=NEW_HOURS)


class History:
    """The measurements, in a temporary folder, of the main job as `python` runs it."""

    def __init__(self, folder: Path, runs: int, python: str) -> None:
        self._folder = folder
        self._runs = runs
        self._python = python
        self._now = datetime.now(UTC)
        self._sealed_to = live_from(None, self._now - FRESH, LIVE_DAYS)
        self._before = live_from(None, self._sealed_to - timedelta(days=1), 0)
        """The start of the last month in the history."""

    def backfills(self) -> Iterator[str]:
        """Measure the filling of empty folders with ten locations, against DuckDB merely reading the files."""
        root = self._folder / "archive"
        rows = archive.write(root, archive.days_until(self._sealed_to.date(), DAYS), locations=LOCATIONS)
        filled, read = list[Cost](), list[Cost]()
        for _ in range(self._runs):
            found = self._backfill("kept", root, IDS, DAYS, rows=rows)
            filled.append(found.cost)
            read.append(self._reader("files", root / "records/csv.gz/*/*/*/*.csv.gz", rows=rows)[1])
        yield from _table(f"Archive, {LOCATIONS} locations x {YEARS} years", "files", "rows/s", "rows/CPU s", *COST)
        names = ("backfill into an empty folder", "DuckDB counting the rows, no more")
        costs = middle(filled), middle(read)
        for name, cost in zip(names, costs, strict=True):
            speeds = (rows / cost.wall_seconds, rows / cost.cpu_seconds)
            yield _row(name, *(f"{number:,.0f}" for number in (LOCATIONS * DAYS, *speeds)), *_cost(cost))
        shares = (costs[1].wall_seconds / costs[0].wall_seconds, costs[1].cpu_seconds / costs[0].cpu_seconds)
        yield f"\nThe backfill of {rows:,} rows runs at {shares[0]:.2f} of DuckDB's speed, by CPU at {shares[1]:.2f}."

    def ranges(self) -> Iterator[str]:
        """Measure the memory of a backfill of one location, whatever the range."""
        root = self._folder / "long"
        last = self._sealed_to.date()
        archive.write(root, archive.days_until(last, max(RANGES.values())), locations=1)
        yield from _table("Archive, one location", "files", "rows", *COST)
        for name, days in RANGES.items():
            rows = days * SENSORS * archive.HOURS
            found = [self._backfill("range", root, IDS[:1], days, rows=rows) for _ in range(self._runs)]
            yield _row(name, f"{days:,}", f"{rows:,}", *_cost(middle_figures(found).cost))
        shutil.rmtree(root)

    def polls(self) -> Iterator[str]:
        """Measure the same poll with a month kept and with years of history, and one that seals a month."""
        with simulator(self._now - FRESH, speed=0) as base_url:
            kinds = self._first_loads(base_url)
            set_clock(base_url, self._now)
            found: dict[str, list[Figures]] = {name: [] for name in kinds}
            for number in range(POLLS * self._runs):
                for name, (folder, seals) in kinds.items():
                    if not seals or number < self._runs:
                        found[name].append(self._poll(folder, seals=seals))
        yield from _table(f"Steady poll, {NEW_HOURS} new rows a sensor", "requests", "new", *COST)
        for name, figures in found.items():
            middles = middle_figures(figures)
            yield _row(name, f"{middles.requests:,.0f}", f"{middles.new:,.0f}", *_cost(middles.cost))
        costs = [middle_figures(figures).cost.cpu_seconds for figures in found.values()]
        yield f"\nWith {YEARS} years of history the poll takes {costs[1] / costs[0]:.2f} of the CPU time without."

    def readings(self) -> Iterator[str]:
        """Measure the reading back of all that is kept."""
        data = self._folder / "kept" / "data"
        command = [self._python, "-m", "openaq_pipeline", "query", "--data-dir", str(data), DAILY_MEANS]
        asked = list[Cost](), list[Cost](), list[Cost]()
        seconds: tuple[list[float], list[float]] = ([], [])
        rows = [0, 0]
        for _ in range(self._runs):
            for place, kind in enumerate(("query", "load")):
                answer, cost = self._reader(kind, data)
                rows[place] = int(answer["rows"])
                seconds[place].append(answer["seconds"])
                asked[place].append(cost)
            asked[2].append(run(command)[1])
        yield from _table("Reading back", "rows", "second call, s", "process: wall s", "CPU s", "peak MB")
        means, everything, process = (_cost(middle(costs)) for costs in asked)
        yield _row("daily means of all sensors, `reading.query`", f"{rows[0]:,}", f"{median(seconds[0]):.2f}", *means)
        yield _row("the same, `openaq-pipeline query`", f"{rows[0]:,}", "", *process)
        yield _row("all rows, `openaq_pipeline.load`", f"{rows[1]:,}", f"{median(seconds[1]):.2f}", *everything)

    def _first_loads(self, base_url: str) -> dict[str, tuple[Path, bool]]:
        """Return for each kind of poll a folder to copy in which the run before is done, and whether it will seal."""
        month = self._folder / "month"
        then = self._now - FRESH
        load(configure(month, base_url=base_url, data={"initial_days": FIRST_DAYS}), now=then)
        years = self._folder / "kept"
        load(configure(years, base_url=base_url, data={"initial_days": FIRST_DAYS}), now=then)
        if _live_bytes(month) != _live_bytes(years):
            raise SystemExit("the location files are not of the same size with and without a history")
        root, due = self._folder / "archive", self._folder / "due"
        # As it was before the last month became older than the live window.
        back = self._now - self._before
        rows = LOCATIONS * SENSORS * archive.HOURS * (DAYS - (self._sealed_to - self._before).days)
        self._backfill("due", root, IDS, DAYS, end=self._before.date(), live_days=back.days, rows=rows)
        load(configure(due, base_url=base_url, data={"initial_days": back.days, "live_days": back.days}), now=then)
        configure(due, base_url=base_url)
        return {
            "one month kept": (month, False),
            f"{YEARS} years of history and one month kept": (years, False),
            "the same, and a month is sealed (once a month)": (due, True),
        }

    def _poll(self, folder: Path, *, seals: bool) -> Figures:
        """Run the main job on a copy of a folder."""
        copy = self._folder / "copy"
        shutil.copytree(folder, copy)  # with the times of change, by which the main job knows its files again
        before = _seals(copy)
        figures = load(copy / "config.yaml", python=self._python, now=self._now)
        if (_seals(copy) != before) != seals:
            raise SystemExit("a poll has sealed a month that was not to, or none where it was to")
        shutil.rmtree(copy)
        return figures

    def _backfill(
        self,
        name: str,
        root: Path,
        ids: Iterable[int],
        days: int,
        *,
        rows: int,
        end: date | None = None,
        live_days: int = LIVE_DAYS,
    ) -> Figures:
        """Fill an empty folder with the last days of an archive, up to `end`; raises `SystemExit` if rows are missing.

        The archive's local days end at 18:15 UTC.
        """
        shutil.rmtree(self._folder / name, ignore_errors=True)
        config = configure(self._folder / name, ids=ids, data={"live_days": live_days}, archive={"location": str(root)})
        first, last = self._sealed_to.date() - timedelta(days=days + 1), (end or self._sealed_to.date()) - archive.DAY
        span = (f"--date-from={first}T18:15Z", f"--date-to={last}T18:15Z")
        found = load(config, "--source", "archive", *span, python=self._python)
        if found.new != rows:
            raise SystemExit(f"the backfill brought {found.new} rows and not {rows}")
        return found

    def _reader(self, kind: str, place: Path, *, rows: int | None = None) -> tuple[dict[str, float], Cost]:
        """Return what one of `readers` found, and what its process took."""
        output, cost = run([self._python, "-m", "benchmarks.readers", kind, str(place)])
        answer: dict[str, float] = json.loads(output)
        if rows is not None and answer["rows"] != rows:
            raise SystemExit(f"{answer['rows']} rows were read and not {rows}")
        return answer, cost


COST = ("wall s", "CPU s", "peak MB")


def _seals(folder: Path) -> list[str]:
    """Return up to where each location is sealed."""
    return [path.read_text() for path in sorted((folder / "data" / ".sealed").glob("*.json"))]


def _live_bytes(folder: Path) -> int:
    """Return how large the location files are together."""
    return sum(path.stat().st_size for path in (folder / "data").glob("location_*.json"))


def _table(title: str, *columns: str) -> Iterator[str]:
    yield ""
    yield _row(title, *columns)
    yield _row("---", *("---:" for _ in columns))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cost(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.wall_seconds:.2f}", f"{cost.cpu_seconds:.2f}", f"{cost.peak_mb:.0f}"


def _environment(python: str) -> str:
    """Return what the processes run on."""
    code = "import platform, importlib.util as u; print(platform.python_version(), u.find_spec('pandas') is not None)"
    version, pandas = run([python, "-c", code])[0].decode().split()
    found = "with pandas" if pandas == "True" else "without pandas"
    return f"Python {version} {found}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"


def main() -> None:
    """Run the benchmark and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each kind (default: 5)")
    parser.add_argument(
        "--runtime-only",
        default=sys.executable,
        metavar="PYTHON",
        help="measure with this interpreter, whose environment has nothing but requirements.txt (default: this one)",
    )
    flags = parser.parse_args()
    print(f"Median of {flags.runs} runs, {datetime.now(UTC):%Y-%m-%d}\n{_environment(flags.runtime_only)}")
    with tempfile.TemporaryDirectory(prefix="history-") as name:
        history = History(Path(name), flags.runs, flags.runtime_only)
        # The last folder of the backfills is the history of the polls, and read back at the end.
        for tables in (history.backfills, history.polls, history.ranges, history.readings):
            for line in tables():
                print(line, flush=True)


if __name__ == "__main__":
    main()
