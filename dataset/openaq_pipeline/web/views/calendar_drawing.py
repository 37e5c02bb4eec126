"""The completeness of a sensor as a calendar: a column a week, a square a day, coloured by what the ledger says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from openaq_pipeline.storage.ledgers import LETTERS, NO_DAY, UNTOLD

if TYPE_CHECKING:  # it loads numpy
    from openaq_pipeline.audit.calendar import Calendar, SensorCalendar

STEP, SIDE = 11, 9
LEFT, TOP = 26, 14
"""Room for the names of the days and the months."""

SCALE = 1.2
"""Pixels of a drawing's unit where there is room: of few weeks the squares are no larger than of many."""

FEW_WEEKS = 13
"""So many have room in a narrow column, beside the calendars of other sensors."""

LISTED_DAYS = 100

KINDS = {letter: kind for kind, letter in LETTERS.items()}
FULL, SHORT = "unknown_full", "unknown_short"
"""What nobody compared with the archive, but is known to have all rows of its grid, or not."""

WORDS = {
    "complete": "Complete",
    "late": "Late, may still come",
    "upstream_gap": "Gap at OpenAQ",
    "our_gap": "Missing here",
    "broken_sensor": "Broken sensor",
    FULL: "Full, not compared",
    SHORT: "Not full, not compared",
    "unknown": "Unknown",
    "not_due": "Not due yet",
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
    held: str
    due: str


class Sheet(NamedTuple):
    """What all calendars of a location share: their size, where the months are written, and from when on."""

    width: int
    height: int
    months: list[tuple[int, str]]
    first: date
    sensors: list[Drawn]

    @property
    def pixels(self) -> int:
        """Return how wide it is where there is room."""
        return round(self.width * SCALE)

    @property
    def is_narrow(self) -> bool:
        """Say whether it is of few weeks."""
        return self.width <= LEFT + FEW_WEEKS * STEP

    @property
    def words(self) -> dict[str, str]:
        """Return the kinds of days that there are, in words."""
        return {kind: word for kind, word in WORDS.items() if any(kind in each.counts for each in self.sensors)}


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
    kinds = list(map(_kind, each.kinds, each.held, each.due))
    counts = Counter(kind for kind in kinds if kind)
    settled = counts.total() - counts["not_due"] - counts["unknown"]
    amiss = list(_amiss(each, kinds, first))
    return Drawn(
        each.sensors_id,
        each.parameter,
        each.units,
        list(_paths(kinds, first.weekday())),
        {kind: counts[kind] for kind in WORDS if counts[kind]},
        counts.total(),
        100 * (counts["complete"] + counts[FULL]) / settled if settled else None,
        amiss[: -LISTED_DAYS - 1 : -1],
        max(0, len(amiss) - LISTED_DAYS),
        " ".join(map(str, each.held)),
        " ".join(map(str, each.due)),
    )


def _kind(letter: str, held: int, due: int) -> str | None:
    """Return what a day is, and of one that was not compared whether it is full; None: it is none of the sensor."""
    if letter == NO_DAY:
        return None
    if KINDS[letter] != "unknown" or UNTOLD in {held, due} or not due:
        return KINDS[letter]
    return FULL if held >= due else SHORT


def _paths(kinds: list[str | None], weekday: int) -> Iterator[tuple[str, str]]:
    """Yield for each kind of day the squares of its days, as one path."""
    squares: dict[str, list[str]] = {}
    for day, kind in enumerate(kinds):
        if kind:
            week, row = divmod(weekday + day, 7)
            square = f"M{LEFT + week * STEP} {TOP + row * STEP}h{SIDE}v{SIDE}h-{SIDE}z"
            squares.setdefault(kind, []).append(square)
    for kind in WORDS:
        if kind in squares:
            yield kind, "".join(squares[kind])


def _amiss(each: SensorCalendar, kinds: list[str | None], first: date) -> Iterator[Amiss]:
    """Yield the days that are neither full nor to come, those in a row of one kind together."""
    day = 0
    for kind, run in groupby(kinds):
        days = len(list(run))
        if kind not in {None, "complete", FULL, "not_due"}:
            last = first + timedelta(days=day + days - 1)
            held, due = _sum(each.held[day : day + days]), _sum(each.due[day : day + days])
            yield Amiss(first + timedelta(days=day), last, kind or "", held, due)
        day += days


def _sum(numbers: list[int]) -> int | None:
    return None if UNTOLD in numbers else sum(numbers)
