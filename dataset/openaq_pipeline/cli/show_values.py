"""The latest values as a table: what each sensor measured last, how long ago, and what that means for the air."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rich.text import Text

from openaq_pipeline.cli.show import printable
from openaq_pipeline.cli.tables import Grid
from openaq_pipeline.monitoring.health import in_words
from openaq_pipeline.quality.aqi import Index
from openaq_pipeline.reading.latest import SensorLatest

BARS = "▁▂▃▄▅▆▇█"
LEVELS = (
    "black on green",
    "black on yellow",
    "black on orange1",
    "white on red",
    "white on purple",
    "white on dark_red",
)
"""The EPA's colours of the six categories, as near as a terminal comes."""

NAME = "latest values"
LONGEST_NAME, LONGEST_PARAMETER, LONGEST_UNIT, LONGEST_VALUE = 60, 16, 13, 10


def values_table(rows: Iterable[tuple[str, Sequence[SensorLatest]]], now: datetime, *, wide: bool) -> Grid:
    """Return a line for each sensor, under the name of its location; `wide`: with the last 24 hours as bars."""
    more = ("last 24 h",) if wide else ()
    table = Grid(NAME, "parameter", "value>", "unit", "age", "AQI>", *more, grows=NAME)
    for name, sensors in rows:
        for number, sensor in enumerate(sensors):
            table.add("" if number else printable(name, LONGEST_NAME), *_cells(sensor, now, wide=wide))
    return table


def _cells(sensor: SensorLatest, now: datetime, *, wide: bool) -> Iterator[str | Text]:
    yield Text(printable(sensor.parameter, LONGEST_PARAMETER))
    yield Text(_number(sensor.value), "yellow" if sensor.issues else "")
    yield Text(printable(sensor.units, LONGEST_UNIT))
    yield in_words(now - sensor.datetime)
    yield _index(sensor.aqi)
    if wide:
        yield bars(sensor.day)


def _number(value: float | None) -> str:
    """Return a value as short as it is true to four digits."""
    if value is None:
        return "-"
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"[:LONGEST_VALUE]


def _index(index: Index | None) -> Text:
    return Text("") if index is None else Text(str(index.value), LEVELS[index.level])


def bars(day: Sequence[float | None]) -> str:
    """Return hours as bars between the lowest and the highest of them; an hour without a value is a blank."""
    known = [value for value in day if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    steps = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if value is None else BARS[round((value - low) * steps)] for value in day)
