"""`schedule`: the daemon."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from openaq_pipeline.config import load
from openaq_pipeline.daemon.clocks import Clocks
from openaq_pipeline.daemon.service import checked, serve
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.monitoring.log import set_up
from openaq_pipeline.settings import ScheduleSettings, Settings

log = logging.getLogger(__name__)


def main(namespace: argparse.Namespace) -> int:
    """Run as scheduled until a signal comes; return the exit code."""

    def read() -> Settings:
        settings = load(
            config=namespace.config,
            data_dir=namespace.data_dir,
            base_url=namespace.base_url,
            log_level="DEBUG" if namespace.debug else None,
        )
        settings = settings.model_copy(update={"schedule": scheduled(settings.schedule, namespace)})
        checked(settings, Clocks())  # before the log makes the data folder
        set_up(settings, to_file=True)
        for warning in settings.warnings:
            log.warning(warning)
        return settings

    return serve(read, run_flags(namespace))


def scheduled(schedule: ScheduleSettings, namespace: argparse.Namespace) -> ScheduleSettings:
    """Return the schedule with the flags over it: --interval and --cron bring their mode along.

    Raises `ConfigError` for flags that contradict each other, and for a cron line that has not five fields.
    """
    given: dict[str, Any] = {
        mode: value for mode, value in (("interval", namespace.interval), ("cron", namespace.cron)) if value is not None
    }
    modes = {namespace.mode, *given} - {None}
    if len(modes) > 1:
        raise ConfigError(
            "--mode, --interval and --cron contradict each other", hint="Give --interval or --cron, and no other mode."
        )
    changes: dict[str, Any] = {"mode": modes.pop()} if modes else {}
    if "interval" in given:
        changes["interval_hours"] = given["interval"]
    if "cron" in given:
        changes["cron"] = given["cron"]
    return schedule.model_copy(update=changes)


def run_flags(namespace: argparse.Namespace) -> list[str]:
    """Return the flags of the daemon that each run gets too."""
    flags = [flag for flag, given in (("--debug", namespace.debug), ("--yes", namespace.yes)) if given]
    return [*flags, "--base-url", namespace.base_url] if namespace.base_url else flags
