"""One location: its days, a year in memory at a time, compared with the archive and called by their kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

import numpy as np

from openaq_pipeline.audit import evidence
from openaq_pipeline.audit.comparison import Comparison, Own, Upstream, compare, offline
from openaq_pipeline.audit.evidence import Days
from openaq_pipeline.audit.findings import LocationAudit, gaps, total
from openaq_pipeline.audit.rows import NOTHING, held, rejected
from openaq_pipeline.errors import RetriableError
from openaq_pipeline.incremental.ledger import (
    SensorDays,
    Stamps,
    Standing,
    day_of,
    no_days,
    number_of,
    sensor_days,
)
from openaq_pipeline.model import Window
from openaq_pipeline.openaq.archive import Archive
from openaq_pipeline.storage.ledgers import LETTERS, NO_DAY, VERSION, Ledgers, LocationLedger, SensorLedger
from openaq_pipeline.storage.selections import trimmed
from openaq_pipeline.wiring import Stores

DAY = timedelta(days=1)
NOTHING_STORED = "nothing of it is stored yet"
UNNAMED = ("", "")


class Asked(NamedTuple):
    """What is asked of an audit: later than `start`, up to `end` (None: all that should be here), as of `now`.

    `check` raises `Stopped` if it is to end.
    """

    start: Callable[[tzinfo], datetime] | None
    end: Callable[[tzinfo], datetime] | None
    now: datetime
    check: Callable[[], None]


class Part(NamedTuple):
    """Some days of a location, from `first` on, and what was found of its sensors in them."""

    first: date
    comparison: Comparison
    sensors: dict[int, SensorDays]


class LocationWork:
    """The audit of one location. Without an `archive` what it alone can tell stays unknown, and nothing is remembered.

    The state is read before the data, as `verify` does: what it says of them was true by then.
    """

    def __init__(self, stores: Stores, archive: Archive | None, location_id: int, asked: Asked) -> None:
        self._stores = stores
        self._folder = stores.settings.data_dir
        self._archive = archive
        self._id = location_id
        self._asked = asked
        self._state = stores.state.get(location_id)
        self._location = stores.metadata.get(location_id)
        self._sensors = self._chosen()
        self._steps = {key: state.rhythm.interval_seconds for key, state in self._state.sensors.items()}
        self._begun = {key for key in self._state.sensors if self._never_told(key)}
        self.outage: str | None = None

    def run(self) -> LocationAudit:
        """Return what is found; raises `StorageError` if our own files can't be read, `ConfigError` for no archive."""
        zone, timezone = evidence.zone_of(self._folder, self._location, self._id, self._asked.now)
        known = Ledgers(self._folder).get(self._id)
        if known is not None and known.basis != self._basis(timezone):
            known = None
        name = self._location.name if self._location else None
        days = self._days(known, zone)
        if days is None:
            return LocationAudit(self._id, name, timezone, problems=(NOTHING_STORED,))
        upstream = self._upstream(days)
        parts = [self._part(part, known and known.of(part.first, part.last), upstream) for part in days.years()]
        sensors = joined(parts)
        if self._archive is not None and self.outage is None:
            self._remember(parts, sensors, timezone, None if self._asked.start else days.window.start)
        names = self._names(parts, known)
        found = [gap for key, each in sensors.items() for gap in gaps(key, names.get(key, UNNAMED), each, days.first)]
        return LocationAudit(
            self._id,
            name,
            timezone,
            days.window,
            days.first,
            days.last,
            len(sensors),
            total(Counter(filter(None, each.kinds)) for each in sensors.values()),
            sum(int(each.lacked.sum()) for each in sensors.values()),
            tuple(found),
            sum(part.comparison.read for part in parts),
            tuple(problem for part in parts for problem in part.comparison.problems),
        )

    def _chosen(self) -> frozenset[int] | None:
        """Return the sensors that are to be read; None: all there are."""
        parameters = self._stores.settings.parameters.get(self._id)
        if parameters is None or self._location is None:
            return None
        return frozenset(sensor.id for sensor in trimmed(self._location, parameters).sensors)

    def _never_told(self, sensors_id: int) -> bool:
        """Say whether a sensor is broken since it is known, so that not even its first row is."""
        state = self._state.sensors[sensors_id]
        wanted = self._sensors is None or sensors_id in self._sensors
        return wanted and state.parked_until is not None and state.watermark is None

    def _basis(self, timezone: str) -> str:
        """Return what a comparison depends on besides the rows."""
        parameters = self._stores.settings.parameters.get(self._id)
        required = self._stores.settings.validation.required_fields
        return f"{timezone}; {'all' if parameters is None else sorted(parameters)}; {sorted(required)}"

    def _days(self, known: LocationLedger | None, zone: tzinfo) -> Days | None:
        """Return the days to look at."""
        now, asked = self._asked.now, self._asked
        found = evidence.window_of(self._stores, self._id, known, zone, now)
        if found is None and asked.start is None:
            return None
        today = evidence.midnight(day_of(now, zone) + DAY, zone)
        start = asked.start(zone) if asked.start else found.start if found else now
        end = min(asked.end(zone), today) if asked.end else found.end if found else today
        return Days(zone, Window(start, end)) if start < end else None

    def _upstream(self, days: Days) -> Upstream | None:
        """Return the archive with its files of these days; None: it is not asked, or can't be reached."""
        if self._archive is None:
            return None
        try:
            files = self._archive.files(self._id, days.window)
        except RetriableError as error:
            self.outage = error.advice
            return None
        return Upstream(
            self._id,
            self._archive,
            {file.day: file for file in files},
            self._stores.required,
            self._sensors,
            self._asked.check,
        )

    def _part(self, days: Days, known: LocationLedger | None, upstream: Upstream | None) -> Part:
        """Return what is found of some days."""
        self._asked.check()
        bounds, window = days.bounds, days.window
        own = Own(lambda: held(self._folder, self._id, window, self._sensors), lambda: rejected(self._folder, self._id))
        found = self._compared(upstream, own, known, days.first, bounds)
        return Part(
            days.first, found, {key: self._sensor(key, found, bounds) for key in {*found.sensors, *self._begun}}
        )

    def _compared(
        self, upstream: Upstream | None, own: Own, known: LocationLedger | None, first: date, bounds: Stamps
    ) -> Comparison:
        """Return how days compare with the archive, or what can be told without it."""
        if upstream is not None and self.outage is None:
            try:
                return compare(upstream, own, known, first=first, bounds=bounds, now=self._asked.now)
            except RetriableError as error:
                self.outage = error.advice
        return offline(own.held(), known, bounds)

    def _sensor(self, key: int, found: Comparison, bounds: Stamps) -> SensorDays:
        """Return the days of a sensor, and remember what the next ones need to know."""
        stamps = found.held.get(key, NOTHING)
        days = sensor_days(
            stamps,
            found.of(key),
            found.exported,
            bounds,
            sensor=self._standing(key, stamps),
            now=self._asked.now,
            step_seconds=self._steps.get(key),
            has_begun=key in self._begun,
        )
        self._steps[key] = days.step_seconds
        if days.has_begun:
            self._begun.add(key)
        return days

    def _standing(self, key: int, stamps: Stamps) -> Standing:
        """Return what the state says of a sensor, as far as its rows bear it out."""
        state, polled = self._state.sensors.get(key), self._state.last_successful_run
        if state is None:  # OpenAQ names it no more
            return Standing(polled)
        watermark = state.watermark
        if watermark is not None and (not len(stamps) or stamps[-1] < number_of(watermark)):
            return Standing(None, watermark, state.parked_until is not None)
        told = [moment for moment in (state.rhythm.read_at, None if state.failures else polled) if moment is not None]
        return Standing(max(told, default=None), watermark, state.parked_until is not None)

    def _names(self, parts: list[Part], known: LocationLedger | None) -> dict[int, tuple[str, str]]:
        """Return parameter and units of sensors: as OpenAQ says, else as the archive does or did."""
        found = {key: (each.parameter, each.units) for key, each in (known.sensors if known else {}).items()}
        for part in parts:
            found |= part.comparison.names
        return found | {
            each.id: (each.parameter, each.units) for each in (self._location.sensors if self._location else ())
        }

    def _remember(
        self, parts: list[Part], sensors: dict[int, SensorDays], timezone: str, since: datetime | None
    ) -> None:
        """Keep what was found for the next audit, and for whoever draws it."""
        ledgers = Ledgers(self._folder)
        names = self._names(parts, ledgers.get(self._id))
        with self._stores.files.lock(self._id):
            ledgers.put(
                self._id,
                LocationLedger(
                    VERSION,
                    self._asked.now,
                    timezone,
                    self._basis(timezone),
                    since,
                    parts[0].first,
                    [file for part in parts for file in part.comparison.seen],
                    {key: _stored(names.get(key, UNNAMED), each) for key, each in sensors.items()},
                ),
            )


def joined(parts: list[Part]) -> dict[int, SensorDays]:
    """Return the days of each sensor of all parts, by sensor."""
    lengths = [len(part.comparison.seen) for part in parts]
    found = {}
    for key in sorted(
        {key for part in parts for key, days in part.sensors.items() if days.kinds.count(None) < len(days.kinds)}
    ):
        each = [part.sensors.get(key) or no_days(length) for part, length in zip(parts, lengths, strict=True)]
        held, due, absent, upstream, lacked = map(np.concatenate, zip(*(days.numbers for days in each), strict=True))
        kinds = tuple(kind for days in each for kind in days.kinds)
        found[key] = SensorDays(kinds, held, due, absent, upstream, lacked, each[-1].step_seconds)
    return found


def _stored(names: tuple[str, str], days: SensorDays) -> SensorLedger:
    kinds = "".join(LETTERS[kind] if kind else NO_DAY for kind in days.kinds)
    numbers = (each.tolist() for each in (days.held, days.held, days.due, days.upstream, days.lacked))
    return SensorLedger(*names, kinds, *numbers)
