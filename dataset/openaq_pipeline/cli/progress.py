"""What people see while a run goes on: a bar on a terminal, a plain line for each location elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openaq_pipeline.cli import show
from openaq_pipeline.model import Gauge, LocationReport, RunPlan
from openaq_pipeline.run import Watcher

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


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
        yield _Lines()


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


class _Lines(Watcher):
    def __init__(self) -> None:
        self._done = 0
        self._total = 0
        self._gauge: Callable[[], Gauge] | None = None

    def begins(self, gauge: Callable[[], Gauge]) -> None:
        self._gauge = gauge

    def planned(self, run_plan: RunPlan) -> None:
        self._total = run_plan.locations
        print(show.plan(run_plan), file=sys.stderr)

    def finished(self, report: LocationReport) -> None:
        self._done += 1
        counts = report.counts
        became = f"{counts.new:,} new, {counts.revised:,} revised, {counts.identical:,} identical"
        so_far = f" ({show.gauge(self._gauge())})" if self._gauge else ""
        print(
            f"[{self._done}/{self._total}] location {report.location_id}: {report.outcome}, {became}{so_far}",
            file=sys.stderr,
        )
