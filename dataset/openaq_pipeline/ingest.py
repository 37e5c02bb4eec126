"""One location: plan -> fetch -> check -> merge -> commit.

The unit of work is the sensor, because OpenAQ gives one series per sensor; the unit of commit is the location.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from openaq_pipeline.commit import commit
from openaq_pipeline.commit.recent import behind
from openaq_pipeline.commit.seal import open_history, seal
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
from openaq_pipeline.incremental import echo, plan, watermark
from openaq_pipeline.incremental.lateness import counted, late_by
from openaq_pipeline.incremental.planner import as_measurement
from openaq_pipeline.incremental.rhythm import after_read, is_next
from openaq_pipeline.model import (
    Change,
    Counts,
    Key,
    License,
    Location,
    LocationState,
    Measurement,
    Page,
    Reject,
    Sensor,
    SensorState,
    Window,
)
from openaq_pipeline.openaq.api import PAGE_LIMIT
from openaq_pipeline.openaq.series import Step, probe, walk
from openaq_pipeline.order import Ingested, Order, Parts, Visit, one_change
from openaq_pipeline.reports import LocationReport, Outcome, SensorOutcome, SensorReport

ROWS_IN_FLIGHT = 20_000
"""A worker that holds more rows than this commits them, so that memory does not grow with the window."""

STUBBORN_AFTER = 3
"""So many failed reads in a row are no passing trouble, although each alone could be (504, unreadable answers)."""


def ingest(parts: Parts, location_id: int, order: Order, visit: Visit | None = None) -> Ingested:
    """Do what the order says for one location. Errors are in the report, and what was read before them is stored.

    `visit` is what a poll has found worth doing there; None: everything.
    """
    work = _LocationIngest(parts, location_id, order, visit or Visit(location_id))
    try:
        return Ingested(work.run())
    except (FatalError, Stopped) as error:
        return Ingested(work.report(str(error)), error)
    except PipelineError as error:
        return Ingested(work.report(error.advice, spoilt=isinstance(error, StorageError)))


class _LocationIngest:
    """The way of one location through one run."""

    def __init__(self, parts: Parts, location_id: int, order: Order, visit: Visit) -> None:
        self._parts = parts
        self._id = location_id
        self._order = order
        self._visit = visit
        self._name: str | None = None
        self._licenses: tuple[License, ...] | None = None
        self._state = LocationState()
        self._sensors: dict[int, SensorState] = {}
        self._look_back = timedelta(0)
        self._stamps: list[datetime] = []
        self._read_before: dict[int, datetime] = {}
        self._rows: list[Measurement] = []
        self._rejects: list[Reject] = []
        self._reached: dict[int, datetime] = {}
        self._complete: dict[int, datetime] = {}
        self._counts: dict[int, Counts] = {}
        self._reports: list[SensorReport] = []
        self._warnings: list[str] = []
        self._changes: list[Change] = []
        self._planned = 0
        self._answered = False

    def run(self) -> LocationReport:
        """Return the report of this location; raises what ended it early, with what was read before stored."""
        self._open()
        location = self._describe()
        self._name, self._licenses = location.name, location.licenses
        self._planned += self._parts.requests(self._order, location, self._sensors, self._visit.left)
        self._make_room()
        try:
            self._take_latest(location.sensors)
            self._read_all(location.sensors)
            self._park_stubborn()
        finally:
            self._commit()
        self._seal()
        whole = not any(report.outcome in {"failed", "skipped", "deferred"} for report in self._reports)
        self._remember(success=whole)
        return self.report()

    def _open(self) -> None:
        """Take up the state, as far as the data on disk bear it out."""
        rows, state = self._parts.rows, self._parts.state.get(self._id)
        with rows.lock(self._id):
            stored = rows.inspect(self._id, state.file, self._order.now)
            mark = rows.mark(self._id)
            if stored.lost:
                self._order = self._order.anew(self._parts.file_begins(self._id, self._order.now))
        if stored.warning:
            self._warnings.append(stored.warning)
        self._state = msgspec.structs.replace(watermark.borne_out(state, stored.latest, self._order.now), file=mark)
        self._sensors = dict(self._state.sensors)
        if self._order.reset:
            self._sensors = {key: watermark.forgotten(sensor) for key, sensor in self._sensors.items()}
        self._look_back = self._parts.look_back(self._sensors)
        # Only behind what was once read whole can a row be late.
        self._read_before = {
            key: each.watermark for key, each in self._sensors.items() if each.watermark and each.swept
        }

    def _describe(self) -> Location:
        """Return the location with its sensors: asked anew once a day, else as known."""
        metadata, known = self._parts.metadata, self._parts.metadata.get(self._id)
        self._name = known.name if known else None
        if known is not None and metadata.is_fresh(self._id, self._order.now):
            return known
        self._planned += 1
        self._parts.tally.add(asked=1)
        try:
            location = self._parts.source.location(self._id)
        except RetriableError as error:
            if known is None or isinstance(error, Unreachable):
                raise
            self._warnings.append(f"the list of sensors is of {known.fetched:%Y-%m-%d}: {error}")
            return known
        metadata.put(location)
        return metadata.get(self._id) or location  # of its sensors perhaps only some are to be read

    def _live_from(self) -> datetime:
        """Return where the live window begins, also by the rows in hand."""
        newest = [state.watermark for state in self._sensors.values() if state.watermark is not None]
        newest += [row.datetime for row in self._rows]
        return self._parts.live_from(max(newest, default=None), self._order.now)

    def _make_room(self) -> None:
        """Let a backfill of what is older than the live window find a history to go to."""
        span, start = self._order.span, self._live_from()
        if span is None or span.start >= start:
            return
        rows = self._parts.rows
        with rows.lock(self._id):
            self._note_change(open_history(self._id, start, files=rows, licenses=self._licenses))

    def _begin_history(self) -> None:
        """Let rows of a poll that are older than the live window go straight into the history, and not by the file.

        Wants the location's lock held. If that fails they go by the file, and are moved as soon as they can be.
        """
        if self._order.span is not None or not self._rows:
            return
        if min(row.datetime for row in self._rows) < (start := self._live_from()):
            with suppress(StorageError):
                self._note_change(open_history(self._id, start, files=self._parts.rows, licenses=self._licenses))

    def _seal(self) -> None:
        """Move what has become older than the live window into the history; if that fails, the next run does it."""
        if self._order.span is not None:
            return
        try:
            with self._parts.rows.lock(self._id):
                change = seal(self._id, self._live_from(), files=self._parts.rows, licenses=self._licenses)
        except StorageError as error:
            self._warnings.append(f"older rows could not be moved to the history: {error.advice}")
            return
        self._note_change(change)

    def _window(self, sensor: Sensor) -> Window | None:
        return self._parts.window(self._order, self._id, sensor.id, self._known(sensor.id), self._look_back)

    def _take_latest(self, sensors: Iterable[Sensor]) -> None:
        """Take up the rows that lists showed, unless by now the files bear out less than the state said then."""
        by_id = {sensor.id: sensor for sensor in sensors}
        for latest in self._visit.latest:
            known = self._known(latest.sensors_id)
            if latest.sensors_id in by_id and is_next(known.watermark, known.rhythm.interval_seconds, latest.datetime):
                row = as_measurement(self._id, latest, by_id[latest.sensors_id], known.rhythm, self._order.now)
                self._take(row.sensors_id, Step(Page([row], []), row.datetime))

    def _read_all(self, sensors: Iterable[Sensor]) -> None:
        """Read the sensors one by one; without a network the rest is not even tried."""
        outage: str | None = None
        for sensor in sensors:
            if outage is not None:
                self._note(sensor, "skipped", outage)
                continue
            try:
                self._read(sensor)
            except Unreachable as error:
                outage = error.advice
            except (SensorBroken, ItemMissing, RetriableError) as error:
                self._fail(sensor, error)

    def _read(self, sensor: Sensor) -> None:
        """Read one sensor's window; its rows are committed with the location's."""
        before = self._known(sensor.id)
        if sensor.id in self._visit.left:
            self._note(sensor, self._visit.left[sensor.id], before.last_error)
            return
        window = self._window(sensor)
        if window is None:
            parked = self._order.span is None and plan.is_parked(before, self._order.now)
            self._note(sensor, "parked" if parked else "ok", before.last_error)
            return
        swept = before.watermark is None or plan.is_sweep_due(before, self._order.now)
        try:
            if before.parked_until is not None and self._order.span is None:
                probe(self._parts.source, self._id, sensor.id, window)
            self._walk(sensor, window)
        except Unreachable as error:
            self._fail(sensor, error)
            raise
        if self._order.span is None:
            after = watermark.succeeded(self._known(sensor.id), self._order.now, swept=swept)
            reach = max(timedelta(hours=self._parts.data.sweep_hours), self._look_back)
            rhythm = after_read(after.rhythm, self._stamps, self._order.now, reach)
            self._sensors[sensor.id] = msgspec.structs.replace(after, rhythm=rhythm)
        self._answered = True
        self._note(sensor, "ok")

    def _walk(self, sensor: Sensor, window: Window) -> None:
        planned = plan.requests_for([self._reckoned(window)])
        self._stamps = []
        try:
            for step in walk(self._parts.source, self._id, sensor.id, window):
                self._parts.tally.add(asked=min(1, planned))
                planned -= min(1, planned)
                self._take(sensor.id, step)
                self._stamps = (self._stamps + [row.datetime for row in step.page.rows])[-PAGE_LIMIT:]
        finally:
            self._parts.tally.add(asked=planned)  # a silent sensor costs one request, however long its window

    def _reckoned(self, window: Window) -> Window:
        known = self._parts.metadata.get(self._id)
        return window if known is None else self._order.reckoned(known, window)

    def _take(self, sensors_id: int, step: Step) -> None:
        """Take up a page; what is in hand is committed when it becomes too much."""
        rows, rejects = self._parts.required.split(step.page.rows)
        self._rows += rows
        self._rejects += step.page.rejects + rejects
        self._complete[sensors_id] = step.complete_to
        firm = [row.datetime for row in rows if row.datetime <= step.complete_to]
        if firm:
            self._reached[sensors_id] = max(firm)
        if len(self._rows) >= ROWS_IN_FLIGHT:
            self._commit()

    def _fail(self, sensor: Sensor, error: PipelineError) -> None:
        """Remember a failed read; what can't heal by itself parks the sensor."""
        if self._order.span is None:
            park, counts = not isinstance(error, RetriableError), not isinstance(error, Unreachable)
            state = watermark.failed(self._known(sensor.id), str(error), self._order.now, park=park, counts=counts)
            self._sensors[sensor.id] = state
        self._note(sensor, "failed", str(error))

    def _park_stubborn(self) -> None:
        """Park what has failed again and again in ways that usually pass, if OpenAQ answers for its neighbours."""
        if not self._answered:
            return  # then it may be OpenAQ itself that is ill
        for report in self._reports:
            state = self._known(report.sensors_id)
            if report.outcome == "failed" and state.failures >= STUBBORN_AFTER:
                self._sensors[report.sensors_id] = watermark.parked(state, self._order.now)

    def _note(self, sensor: Sensor, outcome: SensorOutcome, error: str | None = None) -> None:
        """Note how a sensor fared; its figures come with the commits."""
        self._reports.append(SensorReport(sensor.id, sensor.parameter, sensor.units, outcome, Counts(), None, error))

    def _commit(self) -> None:
        """Store what was read, and only then let the watermarks stand on it."""
        parts = self._parts
        with parts.rows.lock(self._id):
            if self._rows and not parts.state.get(self._id).sensors and parts.rows.mark(self._id) is None:
                # The first rows of a location: until a state is on disk, nobody may take them for a finished load.
                parts.rows.disclaim(self._id)
            self._begin_history()
            silent = self._silent()
            echoes = {key: found for key, rows in silent.items() if (found := echo.heard(self._known(key), rows))}
            done = commit(
                self._id,
                [row for row in self._rows if row.sensors_id not in echoes],
                self._rejects,
                files=parts.rows,
                rejected=parts.rejects,
                judge=parts.judge,
                licenses=self._licenses,
            )
            if parts.progress is not None and self._order.span is not None and self._complete:
                parts.progress.reached(self._id, self._order.span, self._complete)
        parts.tally.add(rows=sum(counts.new for counts in done.counts.values()))
        for sensors_id, counts in [*done.counts.items(), *echoes.items()]:
            self._counts[sensors_id] = self._counts.get(sensors_id, Counts()) + counts
        for sensors_id in silent.keys() - echoes.keys():
            clean = done.counts[sensors_id].clean
            self._sensors[sensors_id] = echo.remembered(self._known(sensors_id), silent[sensors_id], clean)
        if self._order.span is None:
            for sensors_id, reached in self._reached.items():
                self._sensors[sensors_id] = watermark.advance(self._known(sensors_id), reached, self._order.now)
            self._learn(done.new)
        self._rows, self._rejects, self._reached, self._complete = [], [], {}, {}
        self._note_change(done.change)
        self._remember()

    def _learn(self, new: Iterable[Key]) -> None:
        """Count how late the new rows of each sensor came."""
        late: dict[int, list[timedelta]] = {}
        for sensors_id, stamp in new:
            if read_to := self._read_before.get(sensors_id):
                late.setdefault(sensors_id, []).append(late_by(stamp, read_to, self._order.now))
        for sensors_id, found in late.items():
            known = self._known(sensors_id)
            rhythm = msgspec.structs.replace(known.rhythm, lateness=counted(known.rhythm.lateness, found))
            self._sensors[sensors_id] = msgspec.structs.replace(known, rhythm=rhythm)

    def _silent(self) -> dict[int, list[Measurement]]:
        """Return by sensor what a poll holds of those that have been silent for all of the live window."""
        sealed_to = self._parts.rows.sealed_to(self._id) if self._order.span is None and self._rows else None
        return {} if sealed_to is None else echo.silent(self._rows, behind(sealed_to, self._parts.judge.reach))

    def _known(self, sensors_id: int) -> SensorState:
        return self._sensors.get(sensors_id, SensorState())

    def _note_change(self, change: Change | None) -> None:
        """Remember the file as it is after a write, and what the run did to it so far."""
        if change is None:
            return
        self._state = msgspec.structs.replace(self._state, file=change.after)
        self._changes.append(change)

    def _remember(self, *, success: bool = False) -> None:
        """Hand the state to its store; a backfill has none to hand on."""
        if self._order.span is not None:
            return
        last = self._order.now if success else self._state.last_successful_run
        self._state = LocationState(self._order.now, last, self._state.file, dict(self._sensors))
        known = success or self._order.anew_from is None  # else a loss stays noted, and with it from where to read
        self._parts.state.put(self._id, self._state if known else msgspec.structs.replace(self._state, file=None))

    def report(self, error: str | None = None, *, spoilt: bool = False) -> LocationReport:
        """Return how the location fared so far; `error` is what ended it early, None if nothing did.

        `spoilt`: what had been read could not be stored, so those sensors have failed too.
        """
        if spoilt:
            unstored = {row.sensors_id for row in self._rows}
            self._reports = [
                msgspec.structs.replace(report, outcome="failed", error=error)
                if report.sensors_id in unstored
                else report
                for report in self._reports
            ]
        sensors = tuple(
            msgspec.structs.replace(
                report,
                counts=self._counts.get(report.sensors_id, Counts()),
                watermark=self._known(report.sensors_id).watermark,
            )
            for report in self._reports
        )
        bad = [report for report in sensors if report.outcome in {"failed", "skipped"}]
        if error is None and bad:
            error = f"sensor {bad[0].sensors_id}: {bad[0].error}"
        some = len(bad) < len(sensors) if sensors else not error
        outcome: Outcome = "ok" if error is None else "partial" if some else "failed"
        total = sum(self._counts.values(), Counts())
        return LocationReport(
            self._id,
            self._name,
            outcome,
            total,
            self._planned,
            sensors,
            error,
            tuple(self._warnings),
            change=one_change(self._changes),
        )
