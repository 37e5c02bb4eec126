"""What people see: the plan, the progress and the report, as text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openaq_pipeline.model import LocationReport, RunPlan, RunReport
from openaq_pipeline.run import Watcher
from openaq_pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress

NAME_WIDTH = 28


def plan(found: RunPlan) -> str:
    """Return what a run would ask and cost, for people."""
    lines = [
        f"{count(found.locations, 'location')}, {count(found.sensors, 'sensor')} to read"
        + (f", {found.parked} parked" if found.parked else "")
        + (f", {found.unknown_locations} not known yet" if found.unknown_locations else "")
        + (f"; the earliest window begins {found.oldest:%Y-%m-%d %H:%M} UTC." if found.oldest else "."),
        f"About {count(found.requests, 'request')}, at least {minutes(found.minutes)} within the limits of the key.",
    ]
    return "\n".join(lines)


def report(found: RunReport, settings: Settings) -> str:
    """Return the run report for people."""
    counts = found.counts
    outcomes = [location.outcome for location in found.locations]
    quality = found.quality_score
    slowest = found.slowest_response_seconds
    lines = [
        *table(found.locations),
        "",
        f"{count(len(outcomes), 'location')}: {outcomes.count('ok')} ok, {outcomes.count('partial')} partial, "
        f"{outcomes.count('failed')} failed.",
        f"{count(counts.fetched, 'row')} fetched: {counts.new:,} new, {counts.revised:,} revised, "
        f"{counts.identical:,} identical, {counts.rejected:,} rejected."
        + ("" if quality is None else f" Quality {quality:.1f} % (share of rows without an issue)."),
        f"{count(found.requests, 'request')} sent, {found.requests_planned:,} planned, "
        f"in {found.duration_seconds:.1f} s"
        + ("." if slowest is None else f"; the slowest answer took {slowest:.2f} s."),
        f"Data: {settings.data_dir}",
    ]
    return "\n".join(lines)


def table(locations: Sequence[LocationReport]) -> list[str]:
    """Return a line for each location, and one for each thing that went wrong there."""
    head = f"{'location':>10}  {'name':<{NAME_WIDTH}}  {'outcome':<7}  {'new':>7}  {'revised':>7}  {'identical':>9}  {'rejected':>8}"
    lines = [head]
    for location in locations:
        counts = location.counts
        lines.append(
            f"{location.location_id:>10}  {printable(location.name or '-', NAME_WIDTH):<{NAME_WIDTH}}  "
            f"{location.outcome:<7}  {counts.new:>7,}  {counts.revised:>7,}  {counts.identical:>9,}  {counts.rejected:>8,}"
        )
        lines += [f"            ! {printable(remark, 400)}" for remark in remarks(location)]
    return lines


def remarks(location: LocationReport) -> list[str]:
    """Return what a person should know of a location beside its counts."""
    failed = [sensor for sensor in location.sensors if sensor.outcome in {"failed", "skipped"}]
    parked = [sensor for sensor in location.sensors if sensor.outcome == "parked"]
    said = [f"sensor {sensor.sensors_id} ({sensor.parameter}) {sensor.outcome}: {sensor.error}" for sensor in failed]
    said += [f"sensor {sensor.sensors_id} ({sensor.parameter}) is parked: {sensor.error}" for sensor in parked]
    if not failed and location.error:
        said.insert(0, location.error)
    return [*said, *location.warnings]


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Watcher]:
    """Give a watcher that shows a bar on a terminal and a plain line for each location elsewhere."""
    if quiet:
        yield Watcher()
    elif sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            yield _Bar(bar)
    else:
        yield _Lines()


class _Bar(Watcher):
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("locations", total=None)
        self._rows = 0

    def planned(self, run_plan: RunPlan) -> None:
        self._bar.update(self._task, total=run_plan.locations)

    def finished(self, report: LocationReport) -> None:
        self._rows += report.counts.new
        self._bar.update(self._task, advance=1, description=f"locations, {self._rows:,} new rows")


class _Lines(Watcher):
    def __init__(self) -> None:
        self._done = 0
        self._total = 0

    def planned(self, run_plan: RunPlan) -> None:
        self._total = run_plan.locations
        print(plan(run_plan), file=sys.stderr)

    def finished(self, report: LocationReport) -> None:
        self._done += 1
        counts = report.counts
        print(
            f"[{self._done}/{self._total}] location {report.location_id}: {report.outcome}, "
            f"{counts.new:,} new, {counts.revised:,} revised, {counts.identical:,} identical",
            file=sys.stderr,
        )


def printable(text: str, width: int) -> str:
    """Return text that can't move the cursor or run over its column: names come from outside."""
    clean = "".join(char if char.isprintable() else " " for char in text).strip()
    return clean if len(clean) <= width else clean[: width - 1] + "…"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it belongs."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def minutes(span: float) -> str:
    """Return a span for people: less than a minute, minutes, or hours and minutes."""
    if span < 1:
        return "a few seconds"
    hours, rest = divmod(round(span), 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"
