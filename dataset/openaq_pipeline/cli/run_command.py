"""`run` and `backfill`: the main job once, and a range of the past."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType

import msgspec

from openaq_pipeline import pulse
from openaq_pipeline.backfill import Provenance, backfill
from openaq_pipeline.backfill import dry_run as dry_run_backfill
from openaq_pipeline.cli import EXIT_BUG, EXIT_FELL_SHORT, EXIT_FINE, show
from openaq_pipeline.cli.progress import watching
from openaq_pipeline.cli.values import range_end
from openaq_pipeline.config import load
from openaq_pipeline.daemon.heartbeat import HEARTBEAT_SECONDS, Heartbeat
from openaq_pipeline.errors import ConfigError, LockHeld, PipelineError, Stopped
from openaq_pipeline.locks import LOCK_VARIABLE
from openaq_pipeline.mirror import after_run
from openaq_pipeline.model import Window
from openaq_pipeline.monitoring.log import set_up
from openaq_pipeline.monitoring.metrics import metrics_of
from openaq_pipeline.order import Order
from openaq_pipeline.reports import RunPlan, RunReport
from openaq_pipeline.run import dry_run, run_once
from openaq_pipeline.settings import Settings
from openaq_pipeline.watch import after_no_poll, after_poll
from openaq_pipeline.wiring import Stop, utc_now

log = logging.getLogger(__name__)

GRACE_SECONDS = 8.0
"""So long a run may take to end in order; Docker kills after ten seconds."""


def main(namespace: argparse.Namespace) -> int:
    """Run once as the flags say; return the exit code."""
    settings = _settings(namespace, namespace.locations)
    whole = _whole(namespace, settings)
    pulse.beat()  # on a slow machine all these modules take their time
    span = span_of(namespace.date_from, namespace.date_to, utc_now())
    if span is not None and namespace.max_requests is not None:
        raise ConfigError("--max-requests is for polls", hint="A backfill leaves the polls their share by itself.")
    source = source_of(namespace.source, span)
    apply(settings, to_file=not namespace.dry_run)
    if namespace.dry_run:
        plan = _dry_run(settings, span, source, reset=namespace.reset_state, room=namespace.max_requests)
        print_json(plan) if namespace.json else print(show.plan(plan))
        return 0
    with stopping() as stop, watching(quiet=namespace.json) as watcher:
        if span is not None:
            report = backfill(settings, span, source=source, watcher=watcher, stop=stop, yes=namespace.yes)
        else:
            how = {"reset": namespace.reset_state, "room": namespace.max_requests, "yes": namespace.yes}
            with _telling(whole):
                report = run_once(settings, **how, watcher=watcher, stop=stop)
    after_run(settings, {place.location_id: place.change for place in report.locations if place.change})
    if span is None:
        if after_poll(settings, report, utc_now(), whole=whole):
            _say_all_is_current(settings, chosen=whole is not settings)
        _tell_prometheus(whole)
    if namespace.json:
        print_json(metrics_of(report))
    else:
        print(show.report(report, settings.data_dir))
    return exit_code(report)


def _settings(namespace: argparse.Namespace, locations: list[int] | None) -> Settings:
    """Return the settings, with some locations in the place of those that they select."""
    return load(
        config=namespace.config,
        data_dir=namespace.data_dir,
        base_url=namespace.base_url,
        locations=locations,
        log_level="DEBUG" if namespace.debug else None,
    )


def _whole(namespace: argparse.Namespace, settings: Settings) -> Settings:
    """Return the settings with all that is selected, of which a flag may have chosen a few for this run.

    Where the file selects nothing, what the flag names is all there is.
    """
    if namespace.locations is None:
        return settings
    whole = _settings(namespace, None)
    return whole if whole.locations or whole.selections else settings


def _say_all_is_current(settings: Settings, *, chosen: bool) -> None:
    """Tell the watcher outside, which is the daemon's business where there is one.

    A few locations that were `chosen` by a flag do not vouch for all.
    """
    pulse.all_is_current()
    if LOCK_VARIABLE not in os.environ and not chosen:
        heartbeat = Heartbeat()
        heartbeat.beat(settings.monitoring.heartbeat_url)
        heartbeat.finish(2 * HEARTBEAT_SECONDS)


@contextmanager
def _telling(settings: Settings) -> Iterator[None]:
    """Have somebody told of what ends a poll before there is a report, and let it end it.

    A mistake in the settings is told by the exit code to whoever is there to mend it, except under a scheduler.
    """
    try:
        yield
    except (LockHeld, Stopped):
        raise
    except PipelineError as error:
        if LOCK_VARIABLE in os.environ or not isinstance(error, ConfigError):
            after_no_poll(settings, error)
            _tell_prometheus(settings)
        raise
    except Exception as error:
        bug = f"A bug has ended the run: {type(error).__name__}"
        after_no_poll(settings, PipelineError(bug, hint="Please report it, with what pipeline.log says."))
        _tell_prometheus(settings)
        raise


def _tell_prometheus(settings: Settings) -> None:
    """Write the file for node_exporter, if there is to be one; the library costs a run without it nothing."""
    if settings.monitoring.textfile:
        from openaq_pipeline.figures import write_textfile  # noqa: PLC0415

        write_textfile(settings, utc_now())


def _dry_run(settings: Settings, span: Window | None, source: Provenance, *, reset: bool, room: int | None) -> RunPlan:
    """Return the plan of a poll or a backfill, which says what it would cost."""
    if span is None:
        return dry_run(settings, Order(utc_now(), reset=reset), room=room)
    return dry_run_backfill(settings, span, source=source)


def source_of(given: Provenance | None, span: Window | None) -> Provenance:
    """Return where a backfill takes its rows from, the API unless told otherwise."""
    if given is not None and span is None:
        raise ConfigError("--source needs --date-from", hint="A run without a range always asks the API.")
    return given or "api"


def apply(settings: Settings, *, to_file: bool) -> None:
    """Let the log be as the settings have it, and tell the user what is odd about them."""
    set_up(settings, to_file=to_file)
    for warning in settings.warnings:
        log.warning(warning)


def span_of(
    date_from: tuple[datetime, bool] | None, date_to: tuple[datetime, bool] | None, now: datetime
) -> Window | None:
    """Return the range of the two flags, None when neither is given; it ends at now at the latest."""
    if date_from is None:
        if date_to is not None:
            raise ConfigError("--date-to needs --date-from", hint="Say where the range begins.")
        return None
    start, end = date_from[0], range_end(date_to) if date_to else now
    if start >= now:
        raise ConfigError(
            f"The range begins {_minute(start)}, which lies in the future: it is {_minute(now)}",
            hint="Give an earlier --date-from.",
        )
    if start >= end:
        raise ConfigError(
            f"The range is upside down: it begins {_minute(start)} and ends {_minute(end)}",
            hint="Give an earlier --date-from or a later --date-to.",
        )
    return Window(start, min(end, now))


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%MZ}"


def exit_code(report: RunReport) -> int:
    """Return 0 for a complete run, 1 for one that fell short, 4 if a bug is to blame; a fatal error is told too."""
    if report.error:
        print(f"Error: {report.error.rstrip('.')}.", file=sys.stderr)
        if report.hint:
            print(report.hint, file=sys.stderr)
    if any(location.bug for location in report.locations):
        return EXIT_BUG
    return EXIT_FINE if report.complete else EXIT_FELL_SHORT


@contextmanager
def stopping() -> Iterator[Stop]:
    """Give a stop that SIGINT and SIGTERM set, and the end of the daemon that started this run.

    A second signal ends the process at once, and so does a run that does not end in order.
    """
    stop, over = Stop(), threading.Event()

    def end(why: str) -> None:
        log.warning("%s, so this run ends too", why)
        stop.set()
        _limit(over)

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)
        threading.Thread(target=_limit, args=(over,), name="limit", daemon=True).start()

    # Nobody watches a run without a daemon, and it holds the folder's lock.
    pulse.when_orphaned(lambda: end("The scheduler is gone"))

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        over.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _limit(over: threading.Event) -> None:
    """End the process if the run is not over in time: an answer that does not come can't be told to stop."""
    if not over.wait(GRACE_SECONDS):
        log.warning("The run did not end in order in %.0f s and is ended; what it stored is whole", GRACE_SECONDS)
        os._exit(EXIT_FELL_SHORT)


def print_json(value: object) -> None:
    """Print anything as JSON."""
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")  # JSON is UTF-8
    sys.stdout.buffer.flush()
