"""One location: plan -> fetch -> check -> merge -> commit.

The unit of work is the sensor, because OpenAQ gives one series per sensor; the unit of commit is the location.
The order of a commit is fixed: rejects, location file, state. A crash between any two leaves the state behind the
data, never ahead of them, and the next run heals it by reading the look-back again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from openaq_pipeline.errors import (
    FatalError,
    ItemMissing,
    PipelineError,
    RetriableError,
    SensorBroken,
    Stopped,
    StorageError,
    Unreachable,
)
from openaq_pipeline.incremental import plan, watermark
from openaq_pipeline.incremental.merge import Merged, merge
from openaq_pipeline.model import (
    Counts,
    FileMark,
    Key,
    Location,
    LocationReport,
    LocationState,
    Measurement,
    Outcome,
    Reject,
    Sensor,
    SensorOutcome,
    SensorReport,
    SensorState,
    Window,
)
from openaq_pipeline.openaq.series import Pages, walk
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import DataSettings
from openaq_pipeline.storage.locations import Stored

ROWS_IN_FLIGHT = 20_000
"""A worker that holds more rows than this commits them, so that memory does not grow with the window."""


class Source(Pages, Protocol):
    """Where rows come from."""

    def location(self, location_id: int) -> Location: ...


class RowStore(Protocol):
    """Where rows go; see `storage.locations.LocationFiles`."""

    def lock(self, location_id: int) -> AbstractContextManager[None]: ...
    def mark(self, location_id: int) -> FileMark | None: ...
    def inspect(self, location_id: int, mark: FileMark | None, now: datetime) -> Stored: ...
    def tail(self, location_id: int, since: datetime) -> list[Measurement]: ...
    def replace_tail(self, location_id: int, since: datetime, rows: Sequence[Measurement]) -> FileMark: ...


class RejectStore(Protocol):
    """Where broken rows go; see `storage.rejects.Rejects`."""

    def add(self, location_id: int, rejects: Iterable[Reject]) -> None: ...


class StateStore(Protocol):
    """Where the watermarks are; see `storage.state.StateFile`."""

    def get(self, location_id: int) -> LocationState: ...
    def put(self, location_id: int, state: LocationState) -> None: ...


class MetadataStore(Protocol):
    """Where locations are described; see `storage.metadata.Metadata`."""

    def get(self, location_id: int) -> Location | None: ...
    def is_fresh(self, location_id: int, now: datetime) -> bool: ...
    def put(self, location: Location) -> None: ...


class Parts(msgspec.Struct, frozen=True):
    """What an ingest works with."""

    source: Source
    rows: RowStore
    rejects: RejectStore
    state: StateStore
    metadata: MetadataStore
    judge: Judge
    required: Required
    data: DataSettings


class Order(msgspec.Struct, frozen=True):
    """What a run is to do, the same for every location.

    `now` is where every window ends. `span` is the range of a backfill, which moves no watermark; None: a poll.
    `reset` forgets the watermarks first and keeps the data.
    """

    now: datetime
    span: Window | None = None
    reset: bool = False

    def window(self, state: SensorState, data: DataSettings) -> Window | None:
        """Return the window to ask of a sensor; None: nothing to ask."""
        if self.span is not None:
            return None if plan.is_parked(state, self.now) else self.span
        return plan.plan_window(
            state,
            self.now,
            initial=timedelta(days=data.initial_days),
            lookback=timedelta(hours=data.lookback_hours),
            sweep=timedelta(hours=data.sweep_hours),
        )


def ingest(parts: Parts, location_id: int, order: Order) -> LocationReport:
    """Do what the order says for one location; return what came of it.

    Raises `FatalError` and `Stopped`, with what was read so far stored; every
    other error is in the report.
    """
    try:
        return _LocationIngest(parts, location_id, order).run()
    except (FatalError, Stopped):
        raise
    except PipelineError as error:
        return LocationReport(location_id, None, "failed", Counts(), error=str(error))


def known_state(state: LocationState, stored: Stored, now: datetime) -> LocationState:
    """Return the state that the location's file bears out: rebuilt from it where the state is lost or too far."""
    if stored.latest is None:
        return state
    known = {
        sensors_id: watermark.held_by(sensor, stored.latest.get(sensors_id))
        for sensors_id, sensor in state.sensors.items()
    }
    if not state.sensors:
        known = {
            sensors_id: watermark.advance(SensorState(), stamp, now) for sensors_id, stamp in stored.latest.items()
        }
    return msgspec.structs.replace(state, sensors=known)


class _LocationIngest:
    """The way of one location through one run."""

    def __init__(self, parts: Parts, location_id: int, order: Order) -> None:
        self._parts = parts
        self._id = location_id
        self._order = order
        self._now = order.now
        self._warnings: list[str] = []
        self._rows: list[Measurement] = []
        self._rejects: list[Reject] = []
        self._reached: dict[int, datetime] = {}
        self._counts: dict[int, Counts] = {}
        self._sensors: dict[int, SensorState] = {}
        self._mark: FileMark | None = None
        self._state = LocationState()
        self._planned = 0

    def run(self) -> LocationReport:
        """Return the report of this location."""
        self._open()
        location = self._describe()
        self._planned += plan.requests_for(self._windows(location))
        reports: list[SensorReport] = []
        outage: str | None = None
        for sensor in location.sensors:
            if outage is not None:
                reports.append(self._report(sensor, "skipped", outage))
                continue
            try:
                reports.append(self._read(sensor))
            except Unreachable as error:
                outage = str(error)
                self._fail(sensor, outage, park=False)
                reports.append(self._report(sensor, "failed", outage))
        self._commit()
        return self._close(location, reports)

    def _open(self) -> None:
        """Take up the state, as far as the data on disk bear it out."""
        rows, state = self._parts.rows, self._parts.state.get(self._id)
        with rows.lock(self._id):
            stored = rows.inspect(self._id, state.file, self._now)
            self._mark = rows.mark(self._id)
        if stored.warning:
            self._warnings.append(stored.warning)
        self._state = known_state(state, stored, self._now)
        self._sensors = {} if self._order.reset else dict(self._state.sensors)

    def _describe(self) -> Location:
        """Return the location with its sensors: asked anew once a day, else as known."""
        metadata, known = self._parts.metadata, self._parts.metadata.get(self._id)
        if known is not None and metadata.is_fresh(self._id, self._now):
            return known
        self._planned += 1
        try:
            location = self._parts.source.location(self._id)
        except ItemMissing as error:
            raise ItemMissing(f"Location {self._id} can't be had: {error}") from error
        except RetriableError as error:
            if known is None or isinstance(error, Unreachable):
                raise
            self._warnings.append(f"the list of sensors is of {known.fetched:%Y-%m-%d}: {error}")
            return known
        metadata.put(location)
        return location

    def _windows(self, location: Location) -> list[Window]:
        states = (self._sensors.get(sensor.id, SensorState()) for sensor in location.sensors)
        return [window for state in states if (window := self._order.window(state, self._parts.data))]

    def _read(self, sensor: Sensor) -> SensorReport:
        """Read one sensor's window; its rows are committed here or with the next sensor's."""
        state = self._sensors.get(sensor.id, SensorState())
        if plan.is_parked(state, self._now):
            return self._report(sensor, "parked", state.last_error)
        window = self._order.window(state, self._parts.data)
        if window is None:
            return self._report(sensor, "ok", None)
        swept = state.watermark is None or plan.is_sweep_due(state, self._now)
        try:
            self._walk(sensor, window)
        except Unreachable:
            raise
        except (FatalError, Stopped):
            self._commit()  # what was read before stays read
            raise
        except (SensorBroken, ItemMissing, RetriableError) as error:
            self._fail(sensor, str(error), park=not isinstance(error, RetriableError))
            return self._report(sensor, "failed", str(error))
        if self._order.span is None:
            self._sensors[sensor.id] = watermark.succeeded(
                self._sensors.get(sensor.id, state), self._now, swept=swept
            )
        return self._report(sensor, "ok", None)

    def _walk(self, sensor: Sensor, window: Window) -> None:
        for step in walk(self._parts.source, self._id, sensor.id, window):
            rows, rejects = self._parts.required.split(step.page.rows)
            self._rows += rows
            self._rejects += step.page.rejects + rejects
            firm = [row.datetime for row in rows if row.datetime <= step.complete_to]
            if firm:
                self._reached[sensor.id] = max(firm)
            if len(self._rows) >= ROWS_IN_FLIGHT:
                self._commit()

    def _fail(self, sensor: Sensor, error: str, *, park: bool) -> None:
        if self._order.span is None:
            state = self._sensors.get(sensor.id, SensorState())
            self._sensors[sensor.id] = watermark.failed(state, error, self._now, park=park)

    def _commit(self) -> None:
        """Store what was read: rejects, rows, and only then the watermarks that stand on them."""
        parts, rows, rejects = self._parts, self._rows, self._rejects
        with parts.rows.lock(self._id):
            if rejects:
                parts.rejects.add(self._id, rejects)
                self._count(Counts(rejected=1), (reject.sensors_id for reject in rejects))
            if rows:
                self._store(rows)
        for sensors_id, reached in self._reached.items():
            if self._order.span is None:
                state = self._sensors.get(sensors_id, SensorState())
                self._sensors[sensors_id] = watermark.advance(state, reached, self._now)
        self._rows, self._rejects, self._reached = [], [], {}
        self._remember()

    def _store(self, rows: list[Measurement]) -> None:
        """Merge rows into the file, and judge again whatever they may have changed."""
        files, judge = self._parts.rows, self._parts.judge
        first = min(row.datetime for row in rows)
        # Judging needs `context` on both sides of a row, and rows up to `context` before the first may change.
        since = first - 2 * judge.context
        before = files.tail(self._id, since)
        merged = merge(before, rows)
        changed = {key.sensors_id for key in merged.new | merged.revised}
        judged = _judged(merged.rows, changed, judge, first - judge.context)
        if judged != before:
            self._mark = files.replace_tail(self._id, since, judged)
        self._tally(merged, judged, Counter(row.sensors_id for row in rows))

    def _tally(self, merged: Merged, rows: list[Measurement], sent: Counter[int]) -> None:
        """Count rows by sensor and by what became of them; a row sent twice counts as identical."""
        new, revised = _by_sensor(merged.new), _by_sensor(merged.revised)
        read = merged.new | merged.revised | merged.identical
        clean = Counter(row.sensors_id for row in rows if not row.issues and row.key in read)
        for sensors_id, count in sent.items():
            identical = count - new[sensors_id] - revised[sensors_id]
            repeats = count - sum(1 for key in read if key.sensors_id == sensors_id) if merged.repeated else 0
            self._counts[sensors_id] = self._counts.get(sensors_id, Counts()) + Counts(
                new[sensors_id], revised[sensors_id], identical, 0, clean[sensors_id] + repeats
            )

    def _count(self, one: Counts, sensors_ids: Iterable[int]) -> None:
        for sensors_id in sensors_ids:
            self._counts[sensors_id] = self._counts.get(sensors_id, Counts()) + one

    def _remember(self, *, success: bool = False) -> None:
        """Hand the state to its store; a backfill has none to hand on."""
        if self._order.span is not None:
            return
        self._state = LocationState(
            last_fetch_time=self._now,
            last_successful_run=self._now if success else self._state.last_successful_run,
            file=self._mark,
            sensors=dict(self._sensors),
        )
        self._parts.state.put(self._id, self._state)

    def _report(self, sensor: Sensor, outcome: SensorOutcome, error: str | None) -> SensorReport:
        """Return a sensor's report without its figures, which the commits have yet to make."""
        return SensorReport(sensor.id, sensor.parameter, sensor.units, outcome, Counts(), None, error)

    def _close(self, location: Location, reports: list[SensorReport]) -> LocationReport:
        """Return the report with the counts that the commits have made, and remember how it went."""
        sensors = tuple(
            msgspec.structs.replace(
                report,
                counts=self._counts.get(report.sensors_id, Counts()),
                watermark=self._sensors.get(report.sensors_id, SensorState()).watermark,
            )
            for report in reports
        )
        bad = [report for report in sensors if report.outcome in {"failed", "skipped"}]
        outcome: Outcome = "ok" if not bad else "failed" if len(bad) == len(sensors) else "partial"
        self._remember(success=not bad)
        total = sum(self._counts.values(), Counts())
        error = f"sensor {bad[0].sensors_id}: {bad[0].error}" if bad else None
        return LocationReport(
            self._id,
            location.name,
            outcome,
            total,
            self._planned,
            sensors,
            error,
            tuple(self._warnings),
        )


def _judged(rows: list[Measurement], sensors: set[int], judge: Judge, since: datetime) -> list[Measurement]:
    """Return the rows, those of changed sensors from `since` on with their issues as they are now."""
    places = [place for place, row in enumerate(rows) if row.sensors_id in sensors]
    verdicts = judge.issues([rows[place] for place in places])
    judged = list(rows)
    for place, issues in zip(places, verdicts, strict=True):
        if issues != rows[place].issues and rows[place].datetime >= since:
            judged[place] = msgspec.structs.replace(rows[place], issues=issues)
    return judged


def _by_sensor(keys: Iterable[Key]) -> Counter[int]:
    return Counter(key.sensors_id for key in keys)
