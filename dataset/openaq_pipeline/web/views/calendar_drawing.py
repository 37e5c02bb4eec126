"""The completeness of a sensor as a calendar: a column a week, a square a day, coloured by what the ledger says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

from openaq_pipeline.storage.ledgers import LETTERS, NO_DAY, UNTOLD
from openaq_pipeline.web.calendar import Calendar, SensorCalendar

STEP, SIDE = 11, 9
LEFT, TOP = 26, 14
"""Room for the names of the days and the months."""

LISTED_DAYS = 100

KINDS = {letter: kind for kind, letter in LETTERS.items()}
WORDS = {
    "complete": "Complete",
    "late": "Late, may still come",
    "upstream_gap": "Gap at OpenAQ",
    "our_gap": "Missing here",
    "broken_sensor": "Broken sensor",
    "not_due": "Not due yet",
    "unknown": "Unknown",
}


class Amiss(NamedTuple):
    """Days in a row of one kind that is not complete; rows `held` of those `due`, None where nobody knows."""

    first: date
    last: date
    kind: str
    held: int | None
    due: int | None


class Drawn(NamedTuple):
    """A sensor's calendar: a path for each kind, and the same in numbers and words."""

    sensors_id: int
    parameter: str
    units: str
    paths: list[tuple[str, str]]
    counts: dict[str, int]
    days: int
    share: float | None
    amiss: list[Amiss]
    more: int
    kinds: str
    held: str
    due: str


class Sheet(NamedTuple):
    """What all calendars of a location share: their size, where the months are written, and from when on."""

    width: int
    height: int
    months: list[tuple[int, str]]
    first: date
    sensors: list[Drawn]


def sheet(found: Calendar) -> Sheet:
    """Return the drawing of a location's calendars."""
    days = max((len(each.kinds) for each in found.sensors), default=0)
    weeks = (found.first.weekday() + days + 6) // 7
    months = list(_months(found.first, days))
    drawn = [_drawn(each, found.first) for each in found.sensors]
    return Sheet(LEFT + weeks * STEP, TOP + 7 * STEP, months, found.first, drawn)


def _months(first: date, days: int) -> Iterator[tuple[int, str]]:
    """Yield where each month's name goes, above the week with its first day; not closer than they can be read."""
    last = -3
    for day in range(days):
        moment = first + timedelta(days=day)
        column = (first.weekday() + day) // 7
        if moment.day == 1 and column - last >= 3:
            last = column
            yield LEFT + column * STEP, f"{moment:%b}" if moment.month > 1 else f"{moment:%Y}"


def _drawn(each: SensorCalendar, first: date) -> Drawn:
    counts = Counter(KINDS[letter] for letter in each.kinds if letter != NO_DAY)
    settled = sum(number for kind, number in counts.items() if kind != "not_due")
    amiss = list(_amiss(each, first))
    return Drawn(
        each.sensors_id,
        each.parameter,
        each.units,
        list(_paths(each.kinds, first.weekday())),
        {kind: counts[kind] for kind in LETTERS if counts[kind]},
        sum(counts.values()),
        100 * counts["complete"] / settled if settled else None,
        amiss[: -LISTED_DAYS - 1 : -1],
        max(0, len(amiss) - LISTED_DAYS),
        each.kinds,
        " ".join(map(str, each.held)),
        " ".join(map(str, each.due)),
    )


def _paths(kinds: str, weekday: int) -> Iterator[tuple[str, str]]:
    """Yield for each kind of day the squares of its days, as one path."""
    squares: dict[str, list[str]] = {}
    for day, letter in enumerate(kinds):
        if letter != NO_DAY:
            week, row = divmod(weekday + day, 7)
            squares.setdefault(KINDS[letter], []).append(f"M{LEFT + week * STEP} {TOP + row * STEP}h{SIDE}v{SIDE}h-{SIDE}z")
    for kind in LETTERS:
        if kind in squares:
            yield kind, "".join(squares[kind])


def _amiss(each: SensorCalendar, first: date) -> Iterator[Amiss]:
    """Yield the days that are neither complete nor to come, those in a row of one kind together."""
    start = 0
    for day in range(1, len(each.kinds) + 1):
        if day < len(each.kinds) and each.kinds[day] == each.kinds[start]:
            continue
        if each.kinds[start] not in {NO_DAY, LETTERS["complete"], LETTERS["not_due"]}:
            yield Amiss(
                first + timedelta(days=start),
                first + timedelta(days=day - 1),
                KINDS[each.kinds[start]],
                _sum(each.held[start:day]),
                _sum(each.due[start:day]),
            )
        start = day


def _sum(numbers: list[int]) -> int | None:
    return None if UNTOLD in numbers else sum(numbers)
