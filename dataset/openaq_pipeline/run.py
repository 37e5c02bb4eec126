"""One run: all locations, in parallel, one report. Wires the settings to the parts."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from openaq_pipeline import files
from openaq_pipeline.errors import ConfigError, FatalError, ItemMissing, PipelineError, Stopped
from openaq_pipeline.incremental import plan
from openaq_pipeline.ingest import Ingested, Order, Parts, ingest
from openaq_pipeline.model import (
    Counts,
    Location,
    LocationReport,
    RunPlan,
    RunReport,
    SensorState,
    Window,
)
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.metrics import metrics_of
from openaq_pipeline.openaq.answers import KEY_HINT
from openaq_pipeline.openaq.api import Api
from openaq_pipeline.openaq.budget import Budget, ledger_path
from openaq_pipeline.openaq.session import Client, require_key
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.rejects import Rejects
from openaq_pipeline.storage.state import StateFile

log = logging.getLogger(__name__)

STOPPED = "the run was stopped"
"""The `error` of a run that was asked to end; the daemon does it again at its next start."""


def utc_now() -> datetime:
    """Return the time in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


class Stop:
    """Lets another thread or a signal end a run in order: its `sleep` and `check` raise `Stopped` once `set`."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the run to end."""
        self._event.set()

    def check(self) -> None:
        """Raise `Stopped` if the run is to end."""
        if self._event.is_set():
            raise Stopped(STOPPED)

    def sleep(self, seconds: float) -> None:
        """Wait, or raise `Stopped` as soon as the run is to end."""
        if self._event.wait(seconds):
            raise Stopped(STOPPED)


class Watcher:
    """What a run tells while it goes on; the default tells nothing. Called from the run's own thread only."""

    def planned(self, run_plan: RunPlan) -> None:
        """Hear what is about to be asked, before the first measurement."""

    def finished(self, report: LocationReport) -> None:
        """Hear of one location that is done."""


class _Wired(msgspec.Struct, frozen=True):
    """The parts of a run, and those of them that are asked for figures or saved at its end."""

    parts: Parts
    client: Client
    state: StateFile
    metadata: Metadata
    files: LocationFiles


def run_once(
    settings: Settings,
    *,
    span: Window | None = None,
    reset: bool = False,
    watcher: Watcher | None = None,
    stop: Stop | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> RunReport:
    """Bring every location up to now, or backfill `span`; return the report of what was planned, done and missed.

    Raises `ConfigError` before anything begins, `LockHeld` if another poller works on the folder, and `FatalError`
    for a state this version can't read. What happens later is in the report, whose `error` says why a run ended early.
    """
    watcher, stop, began = watcher or Watcher(), stop or Stop(), time.monotonic()
    order = Order(clock(), span, reset)
    check_selection(settings)
    files.make_folder(settings.data_dir)
    # A backfill moves no watermark, so it may work beside the poller that holds the folder.
    folder = nullcontext() if span else files.hold_folder(settings.data_dir)
    with folder, _wire(settings, stop, clock) as wired:
        _load(wired, order.now, repair=span is None)
        with suppress(OSError):
            watcher.planned(make_plan(wired.parts, settings, order))
        reports, problem = _run_all(wired.parts, settings, order, watcher, stop)
        report = RunReport(
            started=order.now,
            duration_seconds=time.monotonic() - began,
            requests=wired.client.requests_sent,
            locations=tuple(reports),
            slowest_response_seconds=wired.client.slowest_seconds,
        )
        report = _finish(wired, report, problem, settings.data_dir if span is None else None)
        _log(report)
        return report


def _log(report: RunReport) -> None:
    """Write down how a run went: what failed in a line each, and the whole in one."""
    for location in report.locations:
        if location.outcome != "ok":
            log.warning("Location %d %s: %s", location.location_id, location.outcome, location.error)
        for warning in location.warnings:
            log.warning("Location %d: %s", location.location_id, warning)
    counts, level = report.counts, logging.INFO if report.complete else logging.WARNING
    log.log(
        level,
        "Run of %d locations %s: %d rows new, %d revised, %d identical, %d rejected; %d requests in %.1f s",
        len(report.locations),
        "complete" if report.complete else f"fell short ({report.error})" if report.error else "fell short",
        *(counts.new, counts.revised, counts.identical, counts.rejected, report.requests),
        report.duration_seconds,
    )


def _finish(wired: _Wired, report: RunReport, problem: PipelineError | None, folder: Path | None) -> RunReport:
    """Write what a poll has learnt, and return the report with what ended the run early; `folder` None: no poll."""
    if problem is not None:
        fatal = isinstance(problem, FatalError)
        report = msgspec.structs.replace(report, error=str(problem), hint=problem.hint, needs_a_person=fatal)
    if folder is None:
        return report
    report = msgspec.structs.replace(report, consecutive_failures=wired.state.count_run(failed=report.failed))
    try:
        wired.state.save()
        wired.metadata.save()
        for location in report.locations:
            wired.files.vouch(location.location_id, wired.state.get(location.location_id).file)
        if warning := history.append(folder, metrics_of(report), report.started):
            log.warning(warning)
    except PipelineError as error:
        return msgspec.structs.replace(report, error=report.error or str(error), hint=report.hint or error.hint)
    return report


def dry_run(settings: Settings, *, span: Window | None = None, reset: bool = False) -> RunPlan:
    """Return what a run would ask and what it would cost; writes nothing to the data folder.

    Locations that are not known yet are looked up, at one request each, because only OpenAQ knows their sensors.
    """
    check_selection(settings)
    now = utc_now()
    with _wire(settings, Stop(), utc_now) as wired:
        _load(wired, now, repair=False)
        looked_up = sum(_look_up(wired, location_id) for location_id in settings.locations)
        # A run looks them up once more: nothing of this is kept.
        return make_plan(wired.parts, settings, Order(now, span, reset), more_requests=looked_up)


def _look_up(wired: _Wired, location_id: int) -> bool:
    """Ask OpenAQ for a location that is not known yet; return whether it was found now."""
    if wired.metadata.get(location_id) is not None:
        return False
    try:
        wired.metadata.put(wired.parts.source.location(location_id))
    except ItemMissing as error:
        log.warning("Location %d can't be had: %s", location_id, error)
        return False
    return True


def check_selection(settings: Settings) -> None:
    """Raise `ConfigError` if there is nothing to do or no key to do it with."""
    if not settings.locations:
        raise ConfigError(
            "No location is selected",
            hint="List location ids under `locations:` in config.yaml, or pass --locations.",
        )
    if settings.api.api_key is None or not settings.api.api_key.get_secret_value():
        raise ConfigError("OPENAQ_API_KEY is not set", hint=KEY_HINT)


def make_plan(parts: Parts, settings: Settings, order: Order, *, more_requests: int = 0) -> RunPlan:
    """Return the windows of all sensors that are known, and what they cost in requests and minutes.

    `more_requests` are added to the cost.
    """
    known = [parts.metadata.get(location_id) for location_id in settings.locations]
    states = [state for location in known if location for state in _states(parts, location, order)]
    windows = [window for state in states if (window := order.window(state, settings.data))]
    lookups = sum(not parts.metadata.is_fresh(location_id, order.now) for location_id in settings.locations)
    requests = lookups + plan.requests_for(windows) + more_requests
    api = settings.api
    return RunPlan(
        locations=len(settings.locations),
        unknown_locations=known.count(None),
        sensors=len(windows),
        parked=sum(plan.is_parked(state, order.now) for state in states),
        oldest=min((window.start for window in windows), default=None),
        requests=requests,
        minutes=plan.minutes_for(requests, per_minute=api.requests_per_minute, per_hour=api.requests_per_hour),
    )


def _states(parts: Parts, location: Location, order: Order) -> Iterator[SensorState]:
    known = {} if order.reset else parts.state.get(location.id).sensors
    return (known.get(sensor.id, SensorState()) for sensor in location.sensors)


@contextmanager
def _wire(settings: Settings, stop: Stop, clock: Callable[[], datetime]) -> Iterator[_Wired]:
    """Make the parts of a run from its settings."""
    api, folder = settings.api, settings.data_dir
    key = require_key(api.api_key.get_secret_value() if api.api_key else None)
    budget = Budget(
        ledger_path(key, api.base_url, folder, os.environ),
        per_minute=api.requests_per_minute,
        per_hour=api.requests_per_hour,
        sleep=stop.sleep,
    )
    client = Client(
        api.base_url,
        key,
        budget,
        timeout_seconds=api.timeout_seconds,
        sleep=stop.sleep,
        checkpoint=stop.check,
    )
    state, metadata, location_files = StateFile(folder), Metadata(folder), LocationFiles(folder)
    parts = Parts(
        source=Api(client, clock),
        rows=location_files,
        rejects=Rejects(folder),
        state=state,
        metadata=metadata,
        judge=Judge(settings.validation),
        required=Required(settings.validation.required_fields),
        data=settings.data,
    )
    try:
        yield _Wired(parts, client, state, metadata, location_files)
    finally:
        budget.close()


def _load(wired: _Wired, now: datetime, *, repair: bool) -> None:
    for warning in (wired.state.load(now, repair=repair), wired.metadata.load(now, repair=repair)):
        if warning:
            log.warning(warning)


def _run_all(
    parts: Parts, settings: Settings, order: Order, watcher: Watcher, stop: Stop
) -> tuple[list[LocationReport], PipelineError | None]:
    """Run the locations on a pool of threads; return their reports in the order asked, and what ended the run early."""
    reports: dict[int, LocationReport] = {}
    problem: PipelineError | None = None
    with ThreadPoolExecutor(settings.api.max_workers, thread_name_prefix="location") as pool:
        todo = {pool.submit(ingest, parts, location_id, order): location_id for location_id in settings.locations}
        for future in as_completed(todo):
            done = _result(future, todo[future])
            reports[todo[future]] = done.report
            if done.ends_run is not None:
                # Of several the first counts, but anything rather than the stop that it caused itself.
                problem = done.ends_run if problem is None or isinstance(problem, Stopped) else problem
                stop.set()  # the others end at their next request, with what they have stored
            with suppress(OSError):  # a terminal that is gone must not cost what the run has learnt
                watcher.finished(done.report)
    return [reports[location_id] for location_id in settings.locations], problem


def _result(future: Future[Ingested], location_id: int) -> Ingested:
    """Return what came of a location; a bug in one of them is told, and ends no other."""
    try:
        return future.result()
    except Exception as error:
        log.exception("Location %s failed by a bug", location_id)
        said = f"this is a bug: {type(error).__name__}: {error}"
        return Ingested(LocationReport(location_id, None, "failed", Counts(), error=said, bug=True))
