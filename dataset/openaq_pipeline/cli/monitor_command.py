"""`monitor`: how it is, from the files alone; needs no key and no network, and works beside a running poller."""

from __future__ import annotations

import argparse
import logging
from datetime import UTC, datetime

from openaq_pipeline.cli.show import printable
from openaq_pipeline.config import load
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.readiness import readiness
from openaq_pipeline.settings import Settings

log = logging.getLogger(__name__)

SHOWN_RUNS = 5


def main(namespace: argparse.Namespace) -> int:
    """Show what the flags ask for; return the exit code."""
    settings = load(
        config=namespace.config, data_dir=namespace.data_dir, log_level="DEBUG" if namespace.debug else None
    )
    now = datetime.now(UTC)
    if namespace.check:
        return check(settings, now)
    from openaq_pipeline.monitoring.log import set_up  # noqa: PLC0415 - `--check` runs twice a minute: it stays cheap

    set_up(settings, to_file=False)
    for warning in settings.warnings:
        log.warning(warning)
    if namespace.serve:
        return serve(settings)
    if namespace.test_alert:
        return test_alert(settings, None if namespace.test_alert == "all" else namespace.test_alert)
    return _show(settings, now, namespace)


def _show(settings: Settings, now: datetime, namespace: argparse.Namespace) -> int:
    from openaq_pipeline.cli import monitor_show  # noqa: PLC0415

    shown_runs = namespace.history or SHOWN_RUNS
    if namespace.watch is None:
        return monitor_show.show(settings, now, shown_runs=shown_runs, as_json=namespace.json)
    if namespace.json:
        raise ConfigError("--watch is for people, --json for scripts", hint="Give one of them.")
    return monitor_show.watch(settings, namespace.watch, shown_runs=shown_runs)


def check(settings: Settings, now: datetime) -> int:
    """Return 0 if the last good run is recent enough, 1 if not, and say so in a line; meant for health checks."""
    found = readiness(settings, now)
    print(found.sentence)
    return 0 if found.ready else 1


def serve(settings: Settings) -> int:
    """Serve the status page from the files alone, until a signal comes."""
    from openaq_pipeline.incremental.outlook import longest_gap  # noqa: PLC0415
    from openaq_pipeline.web import server  # noqa: PLC0415

    longest_gap(settings.schedule, datetime.now(UTC))  # a mistake in the settings is told here and not on each page

    server.serve(settings, lambda address: print(f"The status page is at {address}/", flush=True))
    return 0


def test_alert(settings: Settings, only: str | None) -> int:
    """Send a test alert on every channel that is switched on, or on one, and say what happened.

    Returns 0 if all took it and 1 if one did not. Raises `ConfigError` if there is no such channel.
    """
    from openaq_pipeline.monitoring.channels import channels_of  # noqa: PLC0415
    from openaq_pipeline.monitoring.delivery import send_test  # noqa: PLC0415
    from openaq_pipeline.redact import clean  # noqa: PLC0415

    found = channels_of(settings.notifications, settings.environment)
    chosen = {receiver: sender for receiver, sender in found.items() if only in {None, receiver.partition(":")[0]}}
    if not chosen:
        what = "No channel is" if only is None else f"The channel {only} is not"
        hint = f"Set notifications.enabled and notifications.{only or 'slack'}.enabled to true in config.yaml."
        raise ConfigError(f"{what} switched on", hint=hint)
    if settings.monitoring.log_level != "DEBUG":
        logging.getLogger("openaq_pipeline.monitoring.delivery").setLevel(logging.ERROR)  # it is printed below
    tried = send_test(chosen)
    for one in tried:
        said = "delivered" if one.error is None else f"FAILED: {clean(one.error)}"
        print(f"{one.channel:<8} {printable(said, 400)} ({one.seconds:.1f} s)")
    return 1 if any(one.error for one in tried) else 0
