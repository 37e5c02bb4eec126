"""What people see while a run goes on: a bar on a terminal, a plain line for each location elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openaq_pipeline.cli import show
from openaq_pipeline.model import LocationReport, RunPlan
from openaq_pipeline.run import Watcher

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def watching(*, quiet: bool = False) -> Iterator[Watcher]:
    """Give a run's watcher; `quiet` shows nothing. All goes to stderr, so that stdout holds the report alone."""
    if quiet:
        yield Watcher()
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield _Bar(bar)
    else:
        yield _Lines()


def _bar() -> Progress:
    from rich import progress  # noqa: PLC0415 - only a terminal needs it
    from rich.console import Console  # noqa: PLC0415

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


class _Bar(Watcher):
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("locations", total=None)
        self._rows = 0

    def planned(self, run_plan: RunPlan) -> None:
        self._bar.update(self._task, total=run_plan.locations)

    def finished(self, report: LocationReport) -> None:
        self._rows += report.counts.new
        self._bar.update(self._task, advance=1, description=f"locations, {show.count(self._rows, 'new row')}")


class _Lines(Watcher):
    def __init__(self) -> None:
        self._done = 0
        self._total = 0

    def planned(self, run_plan: RunPlan) -> None:
        self._total = run_plan.locations
        print(show.plan(run_plan), file=sys.stderr)

    def finished(self, report: LocationReport) -> None:
        self._done += 1
        counts = report.counts
        became = f"{counts.new:,} new, {counts.revised:,} revised, {counts.identical:,} identical"
        print(
            f"[{self._done}/{self._total}] location {report.location_id}: {report.outcome}, {became}", file=sys.stderr
        )
