"""A table of any columns, for people: bounded in width and in rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from openaq_pipeline.cli.show import count, printable

CELL_WIDTH = 40
GAP = "  "


def rows(names: Sequence[str], found: Sequence[Sequence[Any]], total: int, width: int) -> str:
    """Return the first rows of a result, of which there are `total`, in lines of at most `width` characters.

    What did not fit is told at the end: further columns by name, further rows by number.
    """
    right = [_is_numeric(values) for values in zip(*found, strict=True)] if found else [False] * len(names)
    columns = [
        [printable(name, CELL_WIDTH), *(printable(text(row[place]), CELL_WIDTH) for row in found)]
        for place, name in enumerate(names)
    ]
    shown = _fitting(columns, width)
    lines = _lines(columns[:shown], right)
    rule = GAP.join("-" * max(map(len, column)) for column in columns[:shown])
    return "\n".join([lines[0], rule[:width], *lines[1:], "", *_notes(names[shown:], len(found), total)])


def text(value: Any) -> str:
    """Return a value in one line: times in UTC with `Z`, numbers with up to ten digits, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list):
        return "[" + ", ".join(map(text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {text(each)}" for key, each in value.items()) + "}"
    return str(value)


def _is_numeric(values: Iterable[Any]) -> bool:
    return all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)


def _fitting(columns: Sequence[Sequence[str]], width: int) -> int:
    """Return how many columns fit, at least one."""
    used = 0
    for number, column in enumerate(columns):
        used += max(map(len, column)) + (len(GAP) if number else 0)
        if used > width and number:
            return number
    return len(columns)


def _lines(columns: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    widths = [max(map(len, column)) for column in columns]
    return [
        GAP.join(
            cell.rjust(size) if is_right else cell.ljust(size)
            for cell, size, is_right in zip(line, widths, right, strict=False)
        ).rstrip()
        for line in zip(*columns, strict=True)
    ]


def _notes(hidden: Sequence[str], shown: int, total: int) -> list[str]:
    said = [count(total, "row")]
    if shown < total:
        said[0] = f"The first {shown:,} of {count(total, 'row')}"
    if hidden:
        said.append(f"columns that did not fit: {', '.join(printable(name, CELL_WIDTH) for name in hidden)}")
    advice = " (--format csv shows all)" if shown < total or hidden else ""
    return ["; ".join(said) + advice + "."]
