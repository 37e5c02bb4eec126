"""The last days of a location by their kinds, as far as is known: by the last audits, and by our own files since.

Nothing is asked and nothing is written. A day that an audit compared with the archive is what it was found to be, as
long as as many rows of it are here as then. All other days are told as `audit --offline` tells them: what only the
archive can tell is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import NamedTuple

from openaq_pipeline.audit import evidence
from openaq_pipeline.audit.evidence import Days
from openaq_pipeline.audit.location import UNNAMED, Asked, LocationWork, joined
from openaq_pipeline.incremental.ledger import NONE, SensorDays, day_of
from openaq_pipeline.model import Window
from openaq_pipeline.storage.ledgers import LETTERS, NO_DAY, Ledgers, LocationLedger, SensorLedger
from openaq_pipeline.wiring import Stores

DAY = timedelta(days=1)
OUR_GAP = LETTERS["our_gap"]


class SensorCalendar(NamedTuple):
    """A sensor's days: a letter of `LETTERS` each, `NO_DAY` where it has none, and how many rows are here and due.

    `due` is `UNTOLD` where nothing tells it.
    """

    sensors_id: int
    parameter: str
    units: str
    kinds: str
    held: list[int]
    due: list[int]


class Calendar(NamedTuple):
    """The days of a location's sensors in `timezone`, from `first` on. `audited` is when the last audit was, if any."""

    timezone: str
    first: date
    audited: datetime | None
    sensors: list[SensorCalendar]


class CalendarWork(LocationWork):
    """The look at one location."""

    def __init__(self, stores: Stores, location_id: int, now: datetime, check: Callable[[], None]) -> None:
        super().__init__(stores, None, location_id, Asked(None, None, now, check))

    def calendar(self, days: int) -> Calendar:
        """Return the last days of what should be here, so many at most; raises `StorageError`."""
        zone, timezone = evidence.zone_of(self._folder, self._location, self._id, self._asked.now)
        known = Ledgers(self._folder).get(self._id)
        if known is not None and known.basis != self._basis(timezone):
            known = None
        audited = None if known is None else known.audited
        should = self._days(known, zone)
        if should is None:
            return Calendar(timezone, day_of(self._asked.now, zone), audited, [])
        shown = _last(should, days)
        self._begun |= self._began_before(shown, known)
        parts = [self._part(part, known and known.of(part.first, part.last), None) for part in shown.years()]
        names, before = self._names(parts, known), known.of(shown.first, shown.last).sensors if known else {}
        found = [_together(key, names.get(key, UNNAMED), each, before.get(key)) for key, each in joined(parts).items()]
        return Calendar(timezone, shown.first, audited, found)

    def _began_before(self, shown: Days, known: LocationLedger | None) -> set[int]:
        """Return the sensors that are known to have had a row before these days."""
        start = shown.window.start
        polled = {key for key, state in self._state.sensors.items() if state.watermark and state.watermark <= start}
        days = (shown.first - known.first).days if known else 0
        told = {key for key, each in (known.sensors if known else {}).items() if each.kinds[: max(days, 0)].strip(".")}
        return {key for key in polled | told if self._sensors is None or key in self._sensors}


def _last(should: Days, days: int) -> Days:
    """Return the last so many of some days."""
    first = max(should.first, should.last - (days - 1) * DAY)
    start = max(should.window.start, evidence.midnight(first, should.zone))
    return Days(should.zone, Window(start, should.window.end))


def _together(sensors_id: int, names: tuple[str, str], now: SensorDays, before: SensorLedger | None) -> SensorCalendar:
    """Return a sensor's days as they are now, those that were compared as they were found then."""
    kinds = [LETTERS[kind] if kind else NO_DAY for kind in now.kinds]
    held, due = now.held.tolist(), now.due.tolist()
    if before is not None:
        for place, upstream in enumerate(before.upstream):
            if upstream != NONE and before.held[place] == held[place] and kinds[place] != OUR_GAP:
                kinds[place], due[place] = before.kinds[place], before.due[place]
    return SensorCalendar(sensors_id, *names, "".join(kinds), held, due)
