"""One poll: all locations, in parallel, one report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from datetime import datetime

import msgspec

from openaq_pipeline import installed, locks, pulse, selection
from openaq_pipeline.errors import FatalError, ItemMissing, PipelineError, Stopped, StorageError
from openaq_pipeline.incremental import plan
from openaq_pipeline.ingest import ingest
from openaq_pipeline.model import Counts, LicenseTerms, Location, SensorState
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.metrics import metrics_of
from openaq_pipeline.openaq.api import Api
from openaq_pipeline.openaq.session import Client
from openaq_pipeline.order import Ingested, Order, Parts
from openaq_pipeline.poll import Poll
from openaq_pipeline.ports import LatestSource
from openaq_pipeline.redact import clean
from openaq_pipeline.reports import Gauge, LocationReport, RunPlan, RunReport
from openaq_pipeline.settings import Settings
from openaq_pipeline.startable import check_selection
from openaq_pipeline.storage import licenses
from openaq_pipeline.wiring import Stop, Stores, connected, utc_now

log = logging.getLogger(__name__)

MOST_LOGGED = 100
"""When 25,000 locations fail, what else the log tells should still be there."""


class Watcher:
    """What a run tells while it goes on; the default tells nothing. Called from the run's own thread only."""

    def begins(self, gauge: Callable[[], Gauge]) -> None:
        """Hear from a backfill whom to ask, from any thread and at any time, how far it is."""

    def planned(self, run_plan: RunPlan) -> None:
        """Hear what is about to be asked, before the first measurement."""

    def finished(self, report: LocationReport) -> None:
        """Hear of one location that is done."""


def run_once(
    settings: Settings,
    *,
    reset: bool = False,
    room: int | None = None,
    watcher: Watcher | None = None,
    stop: Stop | None = None,
    clock: Callable[[], datetime] = utc_now,
    yes: bool = False,
) -> RunReport:
    """Bring every location up to now; return the report of what was planned, done and missed.

    `room`: plan so many requests at most, the most urgent ones, and leave others for the next run; None: all. `yes`:
    selections may be as large as they are. Raises `ConfigError` before anything is read, `LockHeld` if another poller
    works on the folder, and `FatalError` for a state this version can't read. What happens later is in the report,
    whose `error` says why a run ended early.
    """
    watcher, stop, began = watcher or Watcher(), stop or Stop(), time.monotonic()
    order = Order(clock(), reset=reset)
    check_selection(settings)
    locks.make_folder(settings.data_dir)
    with locks.hold_folder(settings.data_dir), connected(settings, stop) as (client, budget):
        if not installed.has(installed.HISTORY):
            log.warning("%s", installed.without_history(settings.data.live_days))
        stores = Stores(settings)
        stores.load(order.now, repair=True)
        api = Api(client, clock)
        chosen = selection.resolve(stores, Api(client, lambda: order.now), order.now, yes=yes)
        settings, parts = chosen.settings, stores.parts(client, clock)
        poll = Poll(parts, order, settings, room if room is None else room - chosen.requests)
        with suppress(OSError):
            watcher.planned(poll.expected())
        reports, done, problem = _polled(poll, parts, order, api, settings, watcher, stop)
        report = report_of(order.now, began, client, reports, problem or chosen.problem)
        report = msgspec.structs.replace(report, more_planned=done.lists, deferred=done.deferred)
        report = _saved(stores, chosen.told(report))
        spare = room is None or report.requests_planned < room
        # Nobody waits for what can as well be asked by the next run.
        if report.complete and spare and budget.is_free():
            more = report.more_planned + _licenses(stores, api.licenses, order.now)
            report = msgspec.structs.replace(
                report,
                more_planned=more,
                requests=client.requests_sent,
                requests_by_status=client.requests_by_status,
            )
        report = _noted(stores, report)
        log_report(report)
        return report


def _polled(  # noqa: PLR0917 - what a run has in hand; none of it has a default
    poll: Poll, parts: Parts, order: Order, source: LatestSource, settings: Settings, watcher: Watcher, stop: Stop
) -> tuple[list[LocationReport], RunPlan, PipelineError | None]:
    """Listen, go where it is worth it; return the reports in the order of the settings, the plan, and what ended it."""
    try:
        done = poll.round(poll.listen(source))
    except (FatalError, Stopped) as error:
        failed = [LocationReport(key, None, "failed", Counts(), error=str(error)) for key in settings.locations]
        return failed, poll.expected(), error
    for report in done.quiet:
        with suppress(OSError):
            watcher.finished(report)
    visits = {visit.location_id: visit for visit in done.visits}

    def visited(location_id: int) -> Ingested:
        return ingest(parts, location_id, order, visits[location_id])

    found, problem = run_all(visited, list(visits), settings.api.max_workers, watcher, stop)
    by_id = {report.location_id: report for report in (*done.quiet, *found)}
    return [by_id[key] for key in settings.locations], done.plan, problem


def _licenses(stores: Stores, licenses_of: Callable[[], list[LicenseTerms]], now: datetime) -> int:
    """Ask what licences allow if one is named that is not known yet; return how many requests were meant to be sent."""
    asked: list[int] = []

    def ask() -> list[LicenseTerms]:
        asked.append(1)
        return licenses_of()

    try:
        if warning := licenses.top_up(stores.settings.data_dir, stores.metadata.all(), ask, now):
            log.warning(warning)
    except PipelineError as error:  # the data are whole without them; the next run asks again
        log.warning("What the licences allow could not be asked: %s", error)
    return len(asked)


def report_of(
    started: datetime, began: float, client: Client | None, reports: list[LocationReport], problem: PipelineError | None
) -> RunReport:
    """Return the report of a run that began at a monotonic time; `client` None: it asked no API.

    `problem` is what ended it early, None if nothing did.
    """
    report = RunReport(
        started=started,
        duration_seconds=time.monotonic() - began,
        requests=client.requests_sent if client else 0,
        locations=tuple(reports),
        slowest_response_seconds=client.slowest_seconds if client else None,
        requests_by_status=client.requests_by_status if client else {},
    )
    if problem is None:
        return report
    fatal = isinstance(problem, FatalError)
    return msgspec.structs.replace(report, error=str(problem), hint=problem.hint, needs_a_person=fatal)


def log_report(report: RunReport) -> None:
    """Write down how a run went: what failed in a line each, the first hundred, and the whole in one."""
    amiss = [*(sentence for each in report.selections for sentence in each.sentences), *_amiss(report)]
    for said in amiss[:MOST_LOGGED]:
        log.warning("%s", said)
    if len(amiss) > MOST_LOGGED:
        log.warning("%d lines more like these; metrics.json has them all", len(amiss) - MOST_LOGGED)
    counts, level = report.counts, logging.INFO if report.complete else logging.WARNING
    log.log(
        level,
        "Run of %d locations %s: %d rows new, %d revised, %d identical, %d rejected; %d requests in %.1f s",
        len(report.locations),
        "complete" if report.complete else f"fell short ({report.error})" if report.error else "fell short",
        *(counts.new, counts.revised, counts.identical, counts.rejected, report.requests),
        report.duration_seconds,
    )


def _amiss(report: RunReport) -> Iterator[str]:
    for location in report.locations:
        if location.outcome != "ok":
            yield f"Location {location.location_id} {location.outcome}: {location.error}"
        yield from (f"Location {location.location_id}: {warning}" for warning in location.warnings)


def _saved(stores: Stores, report: RunReport) -> RunReport:
    """Write what a poll has learnt, and return the report with what went wrong in doing so."""
    report = msgspec.structs.replace(report, consecutive_failures=stores.state.count_run(failed=report.failed))
    try:
        stores.state.save()
        stores.metadata.save()
        for location in report.locations:
            stores.files.vouch(location.location_id, stores.state.get(location.location_id).file)
    except PipelineError as error:
        return _fallen_short(report, error)
    return report


def _noted(stores: Stores, report: RunReport) -> RunReport:
    """Add a poll to the history of runs, and return the report with what went wrong in doing so."""
    try:
        if warning := history.append(stores.settings.data_dir, metrics_of(report), report.started):
            log.warning(warning)
    except PipelineError as error:
        return _fallen_short(report, error)
    return report


def _fallen_short(report: RunReport, error: PipelineError) -> RunReport:
    told = msgspec.structs.replace(report, error=report.error or str(error), hint=report.hint or error.hint)
    return msgspec.structs.replace(told, unsaved=str(error)) if isinstance(error, StorageError) else told


def dry_run(settings: Settings, order: Order, *, room: int | None = None) -> RunPlan:
    """Return what a run would ask of the API and what it would cost; writes nothing to the data folder.

    What lists of latest rows will say is not known before: the plan has them settle all they can. Selections are
    resolved and locations that are not known yet looked up, because only OpenAQ knows their sensors.
    """
    return planned(settings, order, room=room)[0]


def planned(settings: Settings, order: Order, *, room: int | None = None) -> tuple[RunPlan, Settings]:
    """Return the plan of `dry_run`, and the settings with the locations of their selections."""
    check_selection(settings)
    with connected(settings, Stop()) as (client, _):
        stores = Stores(settings)
        stores.load(order.now, repair=False)
        chosen = selection.resolve(stores, Api(client, lambda: order.now), order.now, dry=True)
        if chosen.problem is not None:
            raise chosen.problem
        # As of the start: what was asked in its future would count as not asked.
        settings, parts = chosen.settings, stores.parts(client, lambda: order.now, resumed=order.span is not None)
        looked_up = sum(look_up(parts, location_id) for location_id in settings.locations)
        # A run looks them up once more: nothing of this is kept.
        if order.span is not None:
            found = make_plan(parts, settings, order, more_requests=chosen.requests + looked_up)
        else:
            more = chosen.requests + looked_up
            found = Poll(parts, order, settings, None if room is None else room - more).expected(more)
        return msgspec.structs.replace(found, selections=chosen.selections), settings


def look_up(parts: Parts, location_id: int) -> bool:
    """Ask OpenAQ for a location that is not known yet; return whether it was found now."""
    if parts.metadata.get(location_id) is not None:
        return False
    try:
        parts.metadata.put(parts.source.location(location_id))
    except ItemMissing as error:
        log.warning("Location %d can't be had: %s", location_id, error)
        return False
    return True


def make_plan(parts: Parts, settings: Settings, order: Order, *, more_requests: int = 0) -> RunPlan:
    """Return the windows of all sensors that are known, and what they cost in requests and minutes.

    `more_requests` are added to the cost.
    """
    known = [found for key in settings.locations if (found := parts.metadata.get(key)) is not None]
    states = [(location, {} if order.reset else parts.state.get(location.id).sensors) for location in known]
    windows = [window for location, state in states for window in parts.windows(order, location, state)]
    lookups = sum(not parts.metadata.is_fresh(location_id, order.now) for location_id in settings.locations)
    asked = sum(parts.requests(order, location, state) for location, state in states)
    requests, api = lookups + asked + more_requests, settings.api
    return RunPlan(
        locations=len(settings.locations),
        unknown_locations=len(settings.locations) - len(known),
        sensors=len(windows),
        parked=sum(_parked(location, state, order.now) for location, state in states),
        oldest=min((window.start for window in windows), default=None),
        requests=requests,
        minutes=plan.minutes_for(requests, per_minute=api.requests_per_minute, per_hour=api.requests_per_hour),
    )


def _parked(location: Location, known: Mapping[int, SensorState], now: datetime) -> int:
    """Return how many of a location's sensors are not asked for now."""
    return sum(plan.is_parked(known.get(sensor.id, SensorState()), now) for sensor in location.sensors)


def run_all(
    work: Callable[[int], Ingested], ids: Sequence[int], workers: int, watcher: Watcher, stop: Stop
) -> tuple[list[LocationReport], PipelineError | None]:
    """Do the work of each location on a pool of threads; return their reports, and what ended the run early.

    They are begun in the order of `ids`, and the reports are in it.
    """
    reports: dict[int, LocationReport] = {}
    problem: PipelineError | None = None
    with ThreadPoolExecutor(workers, thread_name_prefix="location") as pool:
        todo = {pool.submit(_ending, work, stop, location_id): location_id for location_id in ids}
        for future in as_completed(todo):
            done = _result(future, todo[future])
            reports[todo[future]] = done.report
            pulse.beat()
            if done.ends_run is not None:
                # Of several the first counts, but anything rather than the stop that it caused itself.
                problem = done.ends_run if problem is None or isinstance(problem, Stopped) else problem
            with suppress(OSError):  # a terminal that is gone must not cost what the run has learnt
                watcher.finished(done.report)
    return [reports[location_id] for location_id in ids], problem


def _ending(work: Callable[[int], Ingested], stop: Stop, location_id: int) -> Ingested:
    """Do the work of a location; what concerns all others ends them at their next request, with what they stored."""
    done = work(location_id)
    if done.ends_run is not None:
        stop.set()  # here and not where it is collected: this thread takes up the next location at once
    return done


def _result(future: Future[Ingested], location_id: int) -> Ingested:
    """Return what came of a location; a bug in one of them is told, and ends no other."""
    try:
        return future.result()
    except Exception as error:
        log.exception("Location %s failed by a bug", location_id)
        said = clean(f"this is a bug: {type(error).__name__}: {error}")
        return Ingested(LocationReport(location_id, None, "failed", Counts(), error=said, bug=True))
