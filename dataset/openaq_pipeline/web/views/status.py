"""The status page: the locations that are asked for, a page of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, get_args

from openaq_pipeline.errors import StorageError
from openaq_pipeline.model import Location
from openaq_pipeline.reading.latest import SensorLatest
from openaq_pipeline.reports import LocationHealth, LocationStatus
from openaq_pipeline.web.look import Seen
from openaq_pipeline.web.search import is_meant, words_of

PAGE = 50
STATES: tuple[LocationStatus, ...] = get_args(LocationStatus)
WORDS: dict[LocationStatus, str] = {
    "current": "Current",
    "silent": "Silent",
    "failing": "Failing",
    "unknown": "Never read",
}
LONGEST_QUERY = 100

Latest = Callable[[int], tuple[SensorLatest, ...]]
"""The last values of a location; raises `StorageError`."""


class Asked(NamedTuple):
    """What the reader wants to see; `state` None: all."""

    query: str = ""
    state: LocationStatus | None = None
    page: int = 1


class Place(NamedTuple):
    """A location as the page has it; `quality` in percent of its last day, None: no row of it."""

    health: LocationHealth
    known: Location | None
    readings: tuple[SensorLatest, ...]
    quality: float | None
    problem: str | None


class Listing(NamedTuple):
    """A page of locations; `counts` are of each state and of what the query finds, `found` of what is listed."""

    asked: Asked
    places: list[Place]
    counts: dict[LocationStatus, int]
    total: int
    found: int
    pages: int


def listing(seen: Seen, asked: Asked, latest: Latest) -> Listing:
    """Return the locations that are asked for; a page behind the last one is the last."""
    words = words_of(asked.query)
    places = seen.overview.health.locations
    named = [each for each in places if is_meant(words, each, seen.locations.get(each.location_id))]
    counts = {state: sum(each.status == state for each in named) for state in STATES}
    chosen = [each for each in named if asked.state in {None, each.status}]
    pages = max(1, -(-len(chosen) // PAGE))
    page = min(max(asked.page, 1), pages)
    shown = chosen[(page - 1) * PAGE : page * PAGE]
    drawn = [_place(each, seen.locations.get(each.location_id), latest) for each in shown]
    return Listing(asked._replace(page=page), drawn, counts, len(named), len(chosen), pages)


def _place(health: LocationHealth, known: Location | None, latest: Latest) -> Place:
    try:
        readings, problem = latest(health.location_id), None
    except StorageError as error:
        readings, problem = (), error.advice
    return Place(health, known, readings, quality(readings), problem)


def quality(readings: Sequence[SensorLatest]) -> float | None:
    """Return the share of the last day's rows without an issue in percent; None: there was no row."""
    rows, odd = sum(each.rows for each in readings), sum(each.odd for each in readings)
    return 100 * (rows - odd) / rows if rows else None


def is_old(reading: SensorLatest, now: datetime, stale_after_hours: float) -> bool:
    """Say whether a value is older than a current location's may be."""
    return now - reading.datetime > timedelta(hours=stale_after_hours)
