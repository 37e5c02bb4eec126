"""Fetching what an audit found missing: of the archive just the files of those days, of the API what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

import msgspec

from openaq_pipeline.audit.findings import Audit, LocationAudit
from openaq_pipeline.backfill import UNTOLD, backfill
from openaq_pipeline.errors import PipelineError, Stopped
from openaq_pipeline.ingest_archive import MOST_EAST, MOST_WEST
from openaq_pipeline.model import Change, Window
from openaq_pipeline.order import one_change
from openaq_pipeline.repair.fetch import OwnStop
from openaq_pipeline.settings import Settings
from openaq_pipeline.wiring import Stop, utc_now

DAY = timedelta(days=1)
PAGE = timedelta(days=40)
"""So many days of an hourly sensor come with one request."""

NO_KEY = "the archive has not all of it, and to ask the API OPENAQ_API_KEY is not set"


class Fixed(msgspec.Struct, frozen=True):
    """What was fetched of a location: how many days were asked for and rows are new; `problem`: None if all went well.

    `change` is what that did to the location's file.
    """

    location_id: int
    days: int
    rows: int
    problem: str | None = None
    change: Change | None = None


def fix(
    settings: Settings,
    found: Audit,
    *,
    tell: Callable[[str], None] = lambda _sentence: None,
    stop: Stop | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> tuple[Fixed, ...]:
    """Fetch what an audit found missing, a location at a time, and return what came of it; `tell` hears at once.

    It holds each location only while its rows are stored, moves no watermark and may run beside the scheduler. Raises
    `Stopped` if it is asked to end.
    """
    stop, done = stop or Stop(), list[Fixed]()
    for location in found.locations:
        if location.of("our_gap"):
            stop.check()
            done.append(_Fix(settings, location, stop, clock).run())
            tell(sentence(done[-1]))
    return tuple(done)


def sentence(fixed: Fixed) -> str:
    """Return what was done, for people."""
    said = f"location {fixed.location_id}: {fixed.rows:,} rows of {fixed.days:,} days were fetched"
    return said if fixed.problem is None else f"{said}; NOT FIXED: {fixed.problem}"


class _Fix:
    """What is done for one location."""

    def __init__(self, settings: Settings, location: LocationAudit, stop: Stop, clock: Callable[[], datetime]) -> None:
        self._settings = settings.model_copy(update={"locations": [location.location_id], "selections": ()})
        self._location = location
        self._stop = stop
        self._clock = clock
        self._changes: list[Change] = []
        self._rows = 0

    def run(self) -> Fixed:
        """Ask the archive for the days' files; and where it has less than was missing, the API for the days."""
        gaps = self._location.of("our_gap")
        days = sorted({gap.first + number * DAY for gap in gaps for number in range(gap.days)})
        problem = None
        if not UNTOLD & set(self._settings.validation.required_fields):
            problem = self._ask("archive", [Window(_start(days[0]), _end(days[-1]))], days)
        if self._rows < self._location.lacked:
            problem = self._ask("api", runs(days)) if self._has_key() else problem or NO_KEY
        return Fixed(self._location.location_id, len(days), self._rows, problem, one_change(self._changes))

    def _has_key(self) -> bool:
        key = self._settings.api.api_key
        return key is not None and bool(key.get_secret_value())

    def _ask(
        self, source: Literal["archive", "api"], spans: list[Window], days: Collection[date] | None = None
    ) -> str | None:
        """Fetch some ranges; return why not all of it could be fetched, None if it was."""
        for span in spans:
            self._stop.check()
            if problem := self._fetch(source, self._within(span), days):
                return problem
        return None

    def _within(self, span: Window) -> Window:
        """Return the part of a range that was looked at: what lies outside is not missing."""
        seen = self._location.window or span
        return Window(max(span.start, seen.start), min(span.end, seen.end, self._clock()))

    def _fetch(self, source: Literal["archive", "api"], span: Window, days: Collection[date] | None) -> str | None:
        try:
            report = backfill(
                self._settings,
                span,
                source=source,
                stop=OwnStop(self._stop),
                clock=self._clock,
                days=days and frozenset(days),
            )
        except Stopped:
            raise
        except PipelineError as error:
            return error.advice
        self._stop.check()
        place = report.locations[0] if report.locations else None
        self._rows += place.counts.new if place else 0
        if place and place.change:
            self._changes.append(place.change)
        return report.error or (place.error if place else None)


def runs(days: Sequence[date]) -> list[Window]:
    """Return the ranges that hold some days, those that a page of the API would reach over as one."""
    found: list[Window] = []
    for day in days:
        if found and _start(day) - found[-1].end <= PAGE:
            found[-1] = Window(found[-1].start, _end(day))
        else:
            found.append(Window(_start(day), _end(day)))
    return found


def _start(day: date) -> datetime:
    """Return a moment before the day begins anywhere on earth."""
    return datetime.combine(day, time(), UTC) - MOST_EAST


def _end(day: date) -> datetime:
    """Return a moment after the day has ended everywhere."""
    return datetime.combine(day + DAY, time(), UTC) + MOST_WEST
