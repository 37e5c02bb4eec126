"""A range of the past, from the API, from OpenAQ's archive, or from both; beside a running poller, which goes first.

It moves no watermark. What it has stored it does not ask again after a stop: `storage.progress` knows how far it came.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from openaq_pipeline import installed, locks, run
from openaq_pipeline.errors import ConfigError, FatalError, ItemMissing, PipelineError, Stopped, StorageError
from openaq_pipeline.incremental import due, plan, planner
from openaq_pipeline.ingest import ingest
from openaq_pipeline.model import Counts, Window
from openaq_pipeline.openaq.api import Api
from openaq_pipeline.openaq.budget import Budget, BudgetUse, Reserve
from openaq_pipeline.openaq.session import Client
from openaq_pipeline.order import Ingested, Order, Parts, one_change
from openaq_pipeline.reports import Gauge, LocationReport, Outcome, RunPlan, RunReport, SensorReport
from openaq_pipeline.run import Watcher, log_report, report_of, run_all
from openaq_pipeline.selection import Resolution, resolve
from openaq_pipeline.settings import Settings
from openaq_pipeline.startable import check_selection
from openaq_pipeline.storage import selections
from openaq_pipeline.wiring import Stop, Stores, connected, utc_now

if TYPE_CHECKING:
    from openaq_pipeline.openaq.archive import Archive

Provenance = Literal["api", "archive", "auto"]

ARCHIVE_WORKERS = 2
"""So many locations are read from the archive at the same time: the work is this machine's, not the network's."""

UNTOLD = {"interval_seconds", "has_flags"}


class Job(msgspec.Struct, frozen=True):
    """What is asked of whom; None: nothing of it.

    `days` of the archive are read, all of them, whatever of them was stored before; None: all that are not stored yet.
    """

    api: Window | None
    archive: Window | None
    days: Collection[date] | None = None


def job_of(span: Window, source: Provenance, now: datetime) -> Job:
    """Return what of a range the API and the archive are asked: with `auto` the archive for all days older than 4."""
    if source == "api":
        return Job(span, None)
    if source == "archive":
        return Job(None, span)
    cut = (now - plan.ARCHIVE_AFTER).replace(hour=0, minute=0, second=0, microsecond=0)
    old, recent = Window(span.start, min(span.end, cut)), Window(max(span.start, cut), span.end)
    api, archive = (part if part.length > timedelta(0) else None for part in (recent, old))
    return Job(api, archive)


def backfill(
    settings: Settings,
    span: Window,
    *,
    source: Provenance = "api",
    watcher: Watcher | None = None,
    stop: Stop | None = None,
    clock: Callable[[], datetime] = utc_now,
    yes: bool = False,
    days: Collection[date] | None = None,
) -> RunReport:
    """Store what OpenAQ has of every location in a range, and return the report of what was done and missed.

    `yes`: selections may be as large as they are. `days`: of the archive just the files of these days at the station,
    whatever of them was stored before. Raises `ConfigError` before anything is read and `FatalError` for a
    state this version can't read. What happens later is in the report, whose `error` says why it ended early.
    """
    watcher, stop, began, now = watcher or Watcher(), stop or Stop(), time.monotonic(), clock()
    job = msgspec.structs.replace(job_of(span, source, now), days=days)
    check(settings, job)
    locks.make_folder(settings.data_dir)
    stores = Stores(settings)
    stores.load(now, repair=False)
    with ExitStack() as stack:
        line = None
        if job.api:
            reserve = reserve_of(settings, stores, now)
            line = _Line(*stack.enter_context(connected(settings, stop, reserve=reserve)), reserve)
        chosen = _choose(stores, now, line.client if line else None, stop, yes=yes)
        settings = chosen.settings
        work = stack.enter_context(closing(_Backfill(settings, stores, job, now, line=line, clock=clock, stop=stop)))
        with suppress(OSError):
            watcher.planned(work.plan)
            watcher.begins(work.gauge)
        reports, problem = run_all(work.location, settings.locations, settings.api.max_workers, watcher, stop)
        report = report_of(now, began, line.client if line else None, reports, problem or chosen.problem)
        report = _finish(stores, chosen.told(msgspec.structs.replace(report, more_planned=work.looked_up)))
    log_report(report)
    return report


def dry_run(settings: Settings, span: Window, *, source: Provenance = "api") -> RunPlan:
    """Return what a backfill would ask and fetch, and what it would cost; writes nothing to the data folder.

    It lists the archive, and looks up locations that are not known yet at one request each. Raises what the archive or
    the API has against it.
    """
    now = utc_now()
    job = job_of(span, source, now)
    check(settings, job)
    stores = Stores(settings)
    if job.api:
        found, settings = run.planned(settings, Order(now, job.api))
    else:
        stores.load(now, repair=False)
        chosen = _choose(stores, now, None, Stop(), dry=True)
        if chosen.problem is not None:
            raise chosen.problem
        settings = chosen.settings
        found = msgspec.structs.replace(
            _nothing_asked(settings), requests=chosen.requests, selections=chosen.selections
        )
    if job.archive is None:
        return found
    archive = _archive(settings)
    from openaq_pipeline.ingest_archive import new_files  # noqa: PLC0415 - loads pyarrow

    todo = [
        file
        for location_id in settings.locations
        for file in new_files(
            archive.files(location_id, job.archive), stores.progress.stored_files(location_id), job.archive
        )
    ]
    return msgspec.structs.replace(found, archive_files=len(todo), archive_bytes=sum(file.size_bytes for file in todo))


def check(settings: Settings, job: Job) -> None:
    """Raise `ConfigError` if there is nothing to do, or not what it takes."""
    check_selection(settings, needs_key=job.api is not None or _is_unresolved(settings))
    if job.archive:
        installed.need(installed.HISTORY, installed.QUERY)
    untold = UNTOLD & set(settings.validation.required_fields)
    if job.archive and untold:
        raise ConfigError(
            f"validation.required_fields asks for {', '.join(sorted(untold))}, which OpenAQ's archive does not tell",
            hint="Take it out of the required fields, or use --source api.",
        )


def _is_unresolved(settings: Settings) -> bool:
    """Say whether there is a selection that the API must be asked for, also where the archive has the rows."""
    return bool(settings.selections) and bool(
        selections.unresolved(settings, selections.read(settings.data_dir).selections)
    )


def _choose(
    stores: Stores, now: datetime, client: Client | None, stop: Stop, *, yes: bool = False, dry: bool = False
) -> Resolution:
    """Resolve the selections; without a `client` the API is asked only for those that never were."""
    if client is None and _is_unresolved(stores.settings):
        with connected(stores.settings, stop) as (own, _):
            found = resolve(stores, Api(own, lambda: now), now, yes=yes, dry=dry)
            return found._replace(sent_apart=own.requests_by_status)
    return resolve(stores, Api(client, lambda: now) if client else None, now, yes=yes, dry=dry)


def reserve_of(settings: Settings, stores: Stores, now: datetime) -> Reserve:
    """Return what a backfill leaves to the polls of this folder: what one of them may ask, as often as they come."""
    # Who runs it `once` has a schedule elsewhere: hourly is the usual one.
    api, gap = settings.api, due.gap_of(settings.schedule, now) or timedelta(hours=1)
    return Reserve(
        *plan.reserve_for(
            planner.usual_requests(stores.state.locations().values(), gap),
            gap / timedelta(hours=1),
            per_minute=api.requests_per_minute,
            per_hour=api.requests_per_hour,
        )
    )


class _Line(NamedTuple):
    """The way to the API: who asks, within what, and what is left to others."""

    client: Client
    budget: Budget
    reserve: Reserve


class _Backfill:
    """A backfill under way; `location` is called from several threads."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        job: Job,
        now: datetime,
        *,
        line: _Line | None,
        clock: Callable[[], datetime],
        stop: Stop,
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._job = job
        self._now = now
        self._line = line
        self._order = Order(now, job.api)
        self._parts = stores.parts(line.client, clock, resumed=True) if line else None
        self._archive = stores.archive_parts(_archive(settings), stop.check) if job.archive else None
        self.looked_up = _look_up(self._parts, settings, now) if self._parts else 0
        with suppress(PipelineError):  # what is wrong will be told when the run ends
            stores.metadata.save()  # a start after a stop need not ask again
        # Threads of their own: memory that a thread has freed serves that thread again, and hardly any other.
        self._readers = ThreadPoolExecutor(ARCHIVE_WORKERS, thread_name_prefix="archive")
        self._outage: str | None = None
        self.plan = run.make_plan(self._parts, settings, self._order) if self._parts else _nothing_asked(settings)

    def location(self, location_id: int) -> Ingested:
        """Do what is asked for one location: the API first, which knows the sensors that the archive only names."""
        reports: list[LocationReport] = []
        if self._parts is not None:
            done = ingest(self._parts, location_id, self._order)
            if done.ends_run is not None or self._job.archive is None:
                return done
            reports.append(done.report)
        done = self._from_archive(location_id)
        ends = done.ends_run if not reports or isinstance(done.ends_run, (FatalError, Stopped)) else None
        return Ingested(_together([*reports, done.report]), ends)

    def _from_archive(self, location_id: int) -> Ingested:
        """Store what the archive has of a location; once the archive as a whole is out of reach, it is not tried."""
        from openaq_pipeline.ingest_archive import ingest_archive  # noqa: PLC0415 - loads pyarrow

        if self._archive is None or self._job.archive is None or self._outage is not None:
            return Ingested(LocationReport(location_id, None, "failed", Counts(), error=self._outage))
        job = self._job.archive, self._now, self._job.days
        done = self._readers.submit(ingest_archive, self._archive, location_id, *job).result()
        if done.ends_run is not None:
            self._outage = done.ends_run.advice
        return done

    def close(self) -> None:
        """Let the threads go."""
        self._readers.shutdown()

    def gauge(self) -> Gauge:
        """Return how far it is; raises nothing."""
        tally, files_left = self._stores.tally, self._stores.tally.files_found - self._stores.tally.files_done
        if self._line is None:
            return Gauge(tally.rows, 0, files_left, 0.0)
        left = max(0, self.plan.requests - tally.asked)
        return Gauge(tally.rows, left, files_left, _minutes_left(left, self._line, self._settings))


def _minutes_left(requests: int, line: _Line, settings: Settings) -> float:
    """Return how many minutes so many more requests take at least."""
    api, reserve = settings.api, line.reserve
    try:
        use = line.budget.use()
    except StorageError:  # it is closed when the run is over, and a bar is drawn once more then
        use = BudgetUse(0, 0, api.requests_per_minute, api.requests_per_hour)
    return plan.minutes_left(
        requests,
        used_minute=use.minute,
        used_hour=use.hour,
        per_minute=max(1, use.per_minute - reserve.per_minute),
        per_hour=max(1, use.per_hour - reserve.per_hour),
    )


def _look_up(parts: Parts, settings: Settings, now: datetime) -> int:
    """Ask for the locations whose sensors are not known, so that the plan is whole; return how many were asked for.

    What can't be had now is asked for again in its turn, and told there.
    """
    asked = 0
    for location_id in settings.locations:
        if parts.metadata.is_fresh(location_id, now):
            continue
        try:
            asked += 1
            found = parts.source.location(location_id)
            # As of the start: the run's time stands still, and what was asked in its future counts as not asked.
            parts.metadata.put(msgspec.structs.replace(found, fetched=now))
        except ItemMissing:
            continue
        except PipelineError:
            break
    return asked


def _archive(settings: Settings) -> Archive:
    """Return OpenAQ's archive, or the copy that the settings name; raises `ConfigError` if it can't be that."""
    from openaq_pipeline.openaq.archive import Archive  # noqa: PLC0415 - loads pyarrow

    return Archive(settings.archive, folder_for_temporary=Path(tempfile.gettempdir()))


def _nothing_asked(settings: Settings) -> RunPlan:
    """Return the plan of a backfill that asks the API nothing."""
    return RunPlan(len(settings.locations), 0, 0, 0, None, 0, 0.0)


def _together(reports: list[LocationReport]) -> LocationReport:
    """Return the reports of one location as one."""
    errors = [report.error for report in reports if report.error]
    outcomes = {report.outcome for report in reports}
    outcome: Outcome = outcomes.pop() if len(outcomes) == 1 else "partial"
    return LocationReport(
        reports[0].location_id,
        next((report.name for report in reports if report.name), None),
        outcome,
        sum((report.counts for report in reports), Counts()),
        sum(report.requests_planned for report in reports),
        _sensors_together(reports),
        "; ".join(errors) or None,
        tuple(warning for report in reports for warning in report.warnings),
        any(report.bug for report in reports),
        one_change(report.change for report in reports if report.change is not None),
    )


def _sensors_together(reports: list[LocationReport]) -> tuple[SensorReport, ...]:
    """Return each sensor once: as the API found it, with the rows of both."""
    found: dict[int, SensorReport] = {}
    for sensor in (sensor for report in reports for sensor in report.sensors):
        known = found.get(sensor.sensors_id)
        both = msgspec.structs.replace(known, counts=known.counts + sensor.counts) if known else sensor
        found[sensor.sensors_id] = both
    return tuple(found.values())


def _finish(stores: Stores, report: RunReport) -> RunReport:
    """Forget the progress of what is wholly done, and keep what was learnt of the locations."""
    try:
        if report.complete:
            for location in report.locations:
                with stores.files.lock(location.location_id):
                    stores.progress.finish(location.location_id)
        stores.metadata.save()
    except PipelineError as error:
        return msgspec.structs.replace(report, error=report.error or str(error), hint=report.hint or error.hint)
    return report
