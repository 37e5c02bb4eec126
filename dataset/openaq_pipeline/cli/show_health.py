"""What `monitor` shows: the overview as tables and sentences, for a terminal and for whoever reads it from a pipe.

Both get the same in the same order. On a terminal long lines are wrapped and what is amiss has a colour;
elsewhere there is neither, tables are 80 characters wide, and each remark is one line.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from openaq_pipeline.cli.show import MANY, count, printable, unlisted
from openaq_pipeline.cli.show_values import values_table
from openaq_pipeline.cli.tables import Grid
from openaq_pipeline.monitoring.health import in_words
from openaq_pipeline.monitoring.metrics import RunMetrics
from openaq_pipeline.overview import Overview
from openaq_pipeline.reading.latest import SensorLatest
from openaq_pipeline.reports import WORST_FIRST, LocationHealth

WIDTH = 80
REMARK_WIDTH = 400
LONGEST_NAME = 60
COLOURS = {
    "ok": "bold green",
    "degraded": "bold yellow",
    "down": "bold red",
    "current": "green",
    "silent": "yellow",
    "failing": "red",
    "unknown": "dim",
}

Values = Mapping[int, Sequence[SensorLatest]]
"""The latest rows by location."""


class Page:
    """All that is shown, for rich to draw; `values` of the locations that are listed."""

    def __init__(self, found: Overview, now: datetime, values: Values) -> None:
        self._found, self._now, self._values = found, now, values

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the parts; a sentence that is not for a terminal stays one line."""
        for part in self._parts(wide=console.is_terminal and options.max_width > WIDTH):
            if isinstance(part, Text) and not console.is_terminal:
                part.no_wrap, part.overflow = True, "ignore"
            yield part

    def _parts(self, *, wide: bool) -> Iterator[Text | Grid]:
        found, now = self._found, self._now
        how, places = found.health, found.health.locations
        yield Text.assemble((how.status.upper(), COLOURS[how.status]), ": ", f"{how.sentence}.")
        yield from (_remark(warning) for warning in found.warnings)
        yield Text()
        yield from _locations(places, now)
        if self._values:
            yield Text()
            names = {place.location_id: place.name or f"Location {place.location_id}" for place in places}
            yield values_table([(names[key], rows) for key, rows in self._values.items()], now, wide=wide)
        yield Text()
        yield from _runs(found.runs)
        yield Text()
        yield Text(_budget(found))
        yield Text(_next(how.next_run, now))
        yield Text(f"Data: {printable(found.data_dir, REMARK_WIDTH)}")


def text(found: Overview, now: datetime, values: Values | None = None) -> str:
    """Return the whole as plain text, as it goes into a pipe."""
    return as_text(Page(found, now, values or {}))


def as_text(page: Page) -> str:
    """Return a page as plain text, whatever the environment says of terminals and colours."""
    output = io.StringIO()
    console = Console(file=output, width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    console.print(page, crop=False)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


def listed(places: Sequence[LocationHealth]) -> Sequence[LocationHealth]:
    """Return the locations that have a line: all, or of many the worst of those with something amiss."""
    return places if len(places) <= MANY else sorted(_odd(places), key=_severity)[:MANY]


def _odd(places: Sequence[LocationHealth]) -> list[LocationHealth]:
    return [place for place in places if place.status != "current" or place.parked]


def _severity(place: LocationHealth) -> int:
    return WORST_FIRST.index(place.status)


def _locations(places: Sequence[LocationHealth], now: datetime) -> Iterator[Text | Grid]:
    """Yield a line for each location, and one for each error and parked sensor; of many only the worst."""
    shown = listed(places)
    if shown or not places:
        table = Grid("location>", "name", "status", "latest row (UTC)", "age>", "sensors>", grows="name")
        for place in shown:
            age = "-" if place.age_seconds is None else in_words(timedelta(seconds=place.age_seconds))
            status = Text(place.status, COLOURS[place.status])
            name = Text(printable(place.name or "-", LONGEST_NAME))
            table.add(str(place.location_id), name, status, _minute(place.latest), age, str(place.sensors))
        yield table
    for place in shown:
        yield from (_remark(f"{_name(place)}: {said}") for said in _remarks(place, now))
    odd = len(_odd(places)) - len(shown)
    yield from map(Text, unlisted(len(places) - len(shown), odd))


def _name(place: LocationHealth) -> str:
    return f"{printable(place.name, LONGEST_NAME)} ({place.location_id})" if place.name else str(place.location_id)


def _remarks(place: LocationHealth, now: datetime) -> Iterator[str]:
    if place.error:
        yield place.error
    for sensor in place.parked:
        parameter, why = sensor.parameter or "parameter unknown", sensor.error or "no reason noted"
        yield f"sensor {sensor.sensors_id} ({parameter}) is parked, next try {_when(sensor.until, now)}: {why}"


def _remark(said: str) -> Text:
    return Text(f"! {printable(said, REMARK_WIDTH)}", "yellow")


def _runs(runs: Sequence[RunMetrics]) -> Iterator[Text | Grid]:
    """Yield a line for each run, the last one at the bottom."""
    if not runs:
        yield Text("No run is on file.")
        return
    names = ("run (UTC)", "took>", "fetched>", "identical>", "failed>", "requests>", "quality>", "slowest>")
    table = Grid(*names, gap=1)
    for run in runs:
        table.add(
            _minute(run.started),
            f"{run.duration_seconds:,.1f} s",
            f"{run.total_records_fetched:,}",
            f"{run.total_records_deduplicated:,}",
            Text(f"{run.failed_locations}/{run.total_locations_processed}", "red" if run.failed_locations else ""),
            f"{run.requests:,}",
            "-" if run.quality_score is None else f"{run.quality_score:.1f} %",
            "-" if run.slowest_response_seconds is None else f"{run.slowest_response_seconds:.2f} s",
        )
    yield table
    yield from (_remark(f"{_minute(run.started)}: {run.error}") for run in runs if run.error)


def _budget(found: Overview) -> str:
    """Return how much of the budget is used, or why that can't be told."""
    use = found.budget
    if use is None:
        return "Budget: unknown; set OPENAQ_API_KEY to see what this key has used."
    return (
        f"Budget: {use.minute:,} of {count(use.per_minute, 'request')} used in the last minute, "
        f"{use.hour:,} of {use.per_hour:,} in the last hour."
    )


def _next(due: datetime | None, now: datetime) -> str:
    if due is None:
        return "Next run: none is scheduled."
    return f"Next run: {_minute(due)} UTC ({_when(due, now)}), while the scheduler runs."


def _when(due: datetime, now: datetime) -> str:
    return f"in {in_words(due - now)}" if due > now else f"due {in_words(now - due)} ago"


def _minute(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
