"""Small drawings as SVG: the numbers of paths, for the templates to put in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

SPARK_WIDTH, SPARK_HEIGHT = 96, 24
MARGIN = 3
"""Room for the dot at the end and for the width of the line."""


class Spark(NamedTuple):
    """A sparkline: `line` and `area` are paths, `dot` is where the last value is, `said` is the same in words."""

    line: str
    dot: tuple[str, str]
    lowest: float
    highest: float


def spark(values: Sequence[float | None]) -> Spark | None:
    """Return the drawing of evenly spaced values, None is a gap; None: there is nothing to draw."""
    there = [(index, value) for index, value in enumerate(values) if value is not None]
    if not there:
        return None
    lowest, highest = min(value for _, value in there), max(value for _, value in there)
    wide = max(1, len(values) - 1)

    def place(index: int, value: float) -> tuple[str, str]:
        x = MARGIN + index * (SPARK_WIDTH - 2 * MARGIN) / wide
        share = (value - lowest) / (highest - lowest) if highest > lowest else 0.5
        return _short(x), _short(SPARK_HEIGHT - MARGIN - share * (SPARK_HEIGHT - 2 * MARGIN))

    line = "".join(_piece([place(*each) for each in piece]) for piece in _pieces(there))
    return Spark(line, place(*there[-1]), lowest, highest)


def _pieces(there: Iterable[tuple[int, float]]) -> Iterable[list[tuple[int, float]]]:
    """Yield runs of neighbours: between them is a gap."""
    for _, run in groupby(enumerate(there), key=lambda each: each[1][0] - each[0]):
        yield [value for _, value in run]


def _piece(points: Sequence[tuple[str, str]]) -> str:
    """Return a path through points; a single one is a short stroke, or else it would not be seen."""
    (x, y), *rest = points
    return f"M{x} {y}" + ("".join(f"L{x} {y}" for x, y in rest) if rest else "h.01")


class Bar(NamedTuple):
    """One bar: where it begins from the left, its width, where it begins from above, and its height."""

    x: str
    width: str
    y: str
    height: str


def bars(values: Sequence[float], width: float, height: float) -> list[Bar]:
    """Return bars for values of zero and above, side by side; what is above zero can be seen."""
    highest, step = max([*values, 0]) or 1, width / max(len(values), 1)
    heights = [max(1.0, value / highest * height) if value > 0 else 0.0 for value in values]
    thick = max(1.0, min(step - 1.5, 18))
    return [
        Bar(_short(index * step + (step - thick) / 2), _short(thick), _short(height - tall), _short(tall))
        for index, tall in enumerate(heights)
    ]


def curve(
    times: Sequence[int], values: Sequence[float | None], frame: tuple[int, int, float, float], size: tuple[int, int]
) -> str:
    """Return a path of a series in a box of `size`, with `frame` = (first, last moment, lowest, highest value)."""
    first, last, lowest, highest = frame
    width, height = size

    def place(moment: int, value: float) -> tuple[str, str]:
        x = (moment - first) / max(1, last - first) * width
        return _short(x), _short(height - (value - lowest) / ((highest - lowest) or 1) * height)

    path = []
    for is_gap, run in groupby(zip(times, values, strict=True), key=lambda each: each[1] is None):
        if not is_gap:
            path.append(_piece([place(moment, value) for moment, value in run if value is not None]))
    return "".join(path)


def _short(value: float) -> str:
    """Return a coordinate with one digit behind the point, if any."""
    return f"{value:.1f}".removesuffix(".0")
