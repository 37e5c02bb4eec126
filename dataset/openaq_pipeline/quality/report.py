"""How good a file is: what is broken in its structure, what is odd in its values, and a score."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from openaq_pipeline.model import Key, Measurement
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import RULES, Judge
from openaq_pipeline.reports import Finding
from openaq_pipeline.settings import ValidationSettings

_STRUCTURE: dict[str, tuple[str, str]] = {
    "undecodable_row": ("not a measurement", "something else edited the file: fetch these rows again"),
    "wrong_location": ("of another location", "move them to their own file, or restore this one"),
    "duplicate_key": ("whose sensor and time occurred before", "keep one row of each"),
    "not_sorted": ("earlier than the row before", "sort by datetime, then by sensors_id"),
    "missing_field": ("without a required field", "fetch them again, or see validation.required_fields"),
}
"""Structural rules in the order of reporting: what is said of the rows, and what to do."""

_VALUES: dict[str, tuple[str, str]] = {
    "missing_value": ("without a value", "OpenAQ has the row but no number: skip it in sums and means"),
    "sentinel_value": ("whose number means 'no value'", "skip them in sums and means"),
    "out_of_range": ("outside the range", "see validation.parameter_ranges"),
    "future_datetime": ("dated after they were seen", "the station's clock or time zone is off"),
    "implausible_datetime": ("older than OpenAQ's data can be", "the station's clock is off"),
    "flat_line": ("unchanged for too long", "the sensor may be stuck; see series_tests.flat_line_hours"),
    "spike": ("far from both neighbours", "compare with nearby stations; see series_tests.spike"),
    "rate_of_change": ("changed too fast", "compare with nearby stations; see series_tests.rate_of_change"),
}
"""What is said of the rows that break a rule of `rules.RULES`, and what to do."""


class SensorSummary(msgspec.Struct, frozen=True):
    """One series of a file: its span by period ends, its rows, and the share without any issue in percent."""

    sensors_id: int
    parameter: str
    units: str
    first: dt.datetime
    last: dt.datetime
    rows: int
    clean: int
    quality_score: float


class FileReport(msgspec.Struct, frozen=True):
    """What a check found in one file.

    `rows` counts all rows, the `undecodable` ones too; `clean` counts those without any issue, of structure
    or of value. `quality_score` is 100 * clean / rows, None when there are no rows.
    """

    rows: int
    undecodable: int
    clean: int
    quality_score: float | None
    findings: tuple[Finding, ...]
    sensors: tuple[SensorSummary, ...]

    @property
    def broken(self) -> bool:
        """Return whether the structure is broken, which no threshold excuses."""
        return any(finding.severity == "error" for finding in self.findings)


def check(
    rows: Sequence[Measurement],
    validation: ValidationSettings,
    *,
    expected_location_id: int | None = None,
    undecodable: Sequence[tuple[int, str]] = (),
    only: Collection[int] | None = None,
) -> FileReport:
    """Return what is wrong with a file's rows, given in the order of the file.

    The rows are judged anew with `validation`; the issues they carry are not believed. `expected_location_id`
    is the one the file belongs to, None if that is unknown and must not be compared. `undecodable` holds the
    position and the reason of each row that is no measurement. `only` holds the places of a sample: those rows
    alone are counted, but they are judged among all others; None counts every row.
    """
    judge = Judge(validation)
    broken = _broken_structure(rows, expected_location_id, Required(validation.required_fields))
    odd: dict[str, list[int]] = defaultdict(list)
    for place, names in enumerate(judge.issues(rows)):
        for name in names:
            odd[name].append(place)
    counted = range(len(rows)) if only is None else frozenset(only)
    found = {rule: [place for place in places if place in counted] for rule, places in (broken | odd).items()}
    # The order of rows is a fault of the file, not of a row.
    dirty = {place for rule, places in found.items() if rule != "not_sorted" for place in places}
    total = len(counted) + len(undecodable)
    clean = len(counted) - len(dirty)
    return FileReport(
        rows=total,
        undecodable=len(undecodable),
        clean=clean,
        quality_score=100 * clean / total if total else None,
        findings=(*_undecodable_finding(undecodable), *_findings(rows, judge, found)),
        sensors=_summaries(rows, counted, dirty),
    )


def _broken_structure(
    rows: Sequence[Measurement], expected_location_id: int | None, required: Required
) -> dict[str, list[int]]:
    """Return the places of the rows that break each structural rule."""
    return {
        "wrong_location": [
            place
            for place, row in enumerate(rows)
            if expected_location_id is not None and row.location_id != expected_location_id
        ],
        "duplicate_key": _duplicates(rows),
        "not_sorted": [
            place
            for place in range(1, len(rows))
            if (rows[place].datetime, rows[place].sensors_id) < (rows[place - 1].datetime, rows[place - 1].sensors_id)
        ],
        "missing_field": [place for place, row in enumerate(rows) if required.missing(row) is not None],
    }


def _duplicates(rows: Sequence[Measurement]) -> list[int]:
    """Return the places of all rows whose key stood in the file before."""
    seen: set[Key] = set()
    places = []
    for place, row in enumerate(rows):
        key = row.key
        if key in seen:
            places.append(place)
        seen.add(key)
    return places


def _findings(rows: Sequence[Measurement], judge: Judge, found: dict[str, list[int]]) -> Iterator[Finding]:
    """Yield a finding for every rule with rows that break it: structure first, then values."""
    for rule in (*_STRUCTURE, *RULES):
        if places := found.get(rule):
            first = rows[places[0]]
            allowed = _allowed(judge, first) if rule == "out_of_range" else ""
            yield _finding(rule, len(places), _example(first) + allowed)


def _undecodable_finding(undecodable: Sequence[tuple[int, str]]) -> Iterator[Finding]:
    """Yield the finding for rows that are no measurements, if there are any."""
    if undecodable:
        position, reason = undecodable[0]
        yield _finding("undecodable_row", len(undecodable), f"number {position}: {reason}")


def _finding(rule: str, count: int, example: str) -> Finding:
    """Return a finding whose message says how many rows, what of them, and which is the first."""
    what, hint = _STRUCTURE[rule] if rule in _STRUCTURE else _VALUES[rule]
    noun = "row" if count == 1 else "rows"
    message = f"{count} {noun} {what}; first: {example}"
    return Finding(rule, "error" if rule in _STRUCTURE else "warning", count, message, hint)


def _example(row: Measurement) -> str:
    """Return which row it is and what it says, in words."""
    stamp = row.datetime.strftime("%Y-%m-%dT%H:%M:%SZ")
    value = "no value" if row.value is None else f"{row.value:g} {row.units}"
    return f"sensor {row.sensors_id} at {stamp}, {row.parameter} {value}"


def _allowed(judge: Judge, row: Measurement) -> str:
    """Return the range that the row is outside of, in words."""
    bounds = judge.limits(row.parameter, row.units).range
    return "" if bounds is None else f" (allowed: {bounds[0]:g} to {bounds[1]:g})"


def _summaries(rows: Sequence[Measurement], counted: Iterable[int], dirty: set[int]) -> tuple[SensorSummary, ...]:
    """Return a summary for each series, by sensor."""
    groups: dict[tuple[int, str, str], list[int]] = defaultdict(list)
    for place in sorted(counted):
        row = rows[place]
        groups[row.sensors_id, row.parameter, row.units].append(place)
    return tuple(_summary(series, groups[series], rows, dirty) for series in sorted(groups))


def _summary(
    series: tuple[int, str, str], places: list[int], rows: Sequence[Measurement], dirty: set[int]
) -> SensorSummary:
    """Return the summary of one series, whose rows stand at the places given."""
    stamps = [rows[place].datetime for place in places]
    clean = sum(place not in dirty for place in places)
    score = 100 * clean / len(places)
    return SensorSummary(*series, min(stamps), max(stamps), len(places), clean, score)
