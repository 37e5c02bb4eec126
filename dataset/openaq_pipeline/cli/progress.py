"""What people see while a run goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openaq_pipeline.cli import show
from openaq_pipeline.reports import Gauge, LocationReport, RunPlan
from openaq_pipeline.run import Watcher

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

LINE_SECONDS = 10.0
"""Of many locations a line comes so often, and not with each of them."""


@contextmanager
def watching(*, quiet: bool = False) -> Iterator[Watcher]:
    """Give a run's watcher; `quiet` shows nothing. All goes to stderr, so that stdout holds the report alone."""
    if quiet:
        yield Watcher()
    elif sys.stderr.isatty():
        watcher = _Bar()
        with watcher.bar:
            yield watcher
    else:
        yield Lines()


def _bar(column: ProgressColumn) -> Progress:
    from rich import progress  # noqa: PLC0415 - only a terminal needs it
    from rich.console import Console  # noqa: PLC0415

    return progress.Progress(
        column,
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _column(text: Callable[[], str]) -> ProgressColumn:
    """Return a column that asks for its text anew, once a second."""
    from rich.progress import ProgressColumn, Task  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    class Column(ProgressColumn):
        max_refresh = 1.0

        def render(self, task: Task) -> Text:
            del task
            return Text(text())

    return Column()


class _Bar(Watcher):
    def __init__(self) -> None:
        self.bar = _bar(_column(self._text))
        self._task = self.bar.add_task("locations", total=None)
        self._rows = 0
        self._gauge: Callable[[], Gauge] | None = None

    def planned(self, run_plan: RunPlan) -> None:
        self.bar.update(self._task, total=run_plan.locations)

    def begins(self, gauge: Callable[[], Gauge]) -> None:
        self._gauge = gauge

    def finished(self, report: LocationReport) -> None:
        self._rows += report.counts.new
        self.bar.update(self._task, advance=1)

    def _text(self) -> str:
        if self._gauge is not None:
            return show.gauge(self._gauge())
        return f"locations, {show.count(self._rows, 'new row')}" if self._rows else "locations"


class Lines(Watcher):
    """A line for each location, of many one now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done = 0
        self._total = 0
        self._rows = 0
        self._said_at = float("-inf")
        self._gauge: Callable[[], Gauge] | None = None

    def begins(self, gauge: Callable[[], Gauge]) -> None:
        """Hear from a backfill whom to ask how far it is."""
        self._gauge = gauge

    def planned(self, run_plan: RunPlan) -> None:
        """Say what is about to be asked."""
        self._total = run_plan.locations
        print(show.plan(run_plan), file=sys.stderr)

    def finished(self, report: LocationReport) -> None:
        """Say what came of a location, or how far the run is, or nothing."""
        self._done += 1
        self._rows += report.counts.new
        if self._total > show.MANY and not self._is_time():
            return
        print(f"[{self._done}/{self._total}] {self._said(report)}", file=sys.stderr)

    def _is_time(self) -> bool:
        now, is_last = self._clock(), self._done == self._total
        if now - self._said_at < LINE_SECONDS and not is_last:
            return False
        self._said_at = now
        return True

    def _said(self, report: LocationReport) -> str:
        so_far = show.gauge(self._gauge()) if self._gauge else None
        if self._total > show.MANY:
            return f"locations, {so_far or show.count(self._rows, 'new row')}"
        counts = report.counts
        became = f"{counts.new:,} new, {counts.revised:,} revised, {counts.identical:,} identical"
        return f"location {report.location_id}: {report.outcome}, {became}{f' ({so_far})' if so_far else ''}"
