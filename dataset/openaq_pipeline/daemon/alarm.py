"""The alarm clock: APScheduler, asked for one time only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import STATE_STOPPED

log = logging.getLogger(__name__)

JOB = "next run"
TROUBLE = EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES


logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells every step of every job


class Alarm:
    """Rings at a wall-clock time. Holds one time, never a series: a clock set ten years ahead finds one to make up."""

    def __init__(self) -> None:
        self._scheduler = _started()

    def set(self, due: datetime, ring: Callable[[], None]) -> None:
        """Call `ring`, which must be quick, at `due` from another thread; takes the place of what was set before."""
        self._scheduler.add_job(ring, "date", run_date=due, id=JOB, name=JOB, replace_existing=True)

    def restart(self) -> None:
        """Take a new scheduler, without a time set."""
        self.close()
        self._scheduler = _started()

    def close(self) -> None:
        """Ring no more; a scheduler that hangs is not waited for."""
        threading.Thread(target=self._scheduler.shutdown, kwargs={"wait": False}, daemon=True).start()


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]  # APScheduler 3 has no types
    """Ends quietly when it is shut down while it rings: then it looks in vain for the job that it has just done."""

    def _process_jobs(self) -> Any:
        try:
            return super()._process_jobs()
        except JobLookupError:
            if self.state != STATE_STOPPED:
                raise
            return None


def _started() -> BackgroundScheduler:
    scheduler = _Scheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(1)},
        # A late alarm rings all the same: the default drops what is a second late.
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    scheduler.add_listener(_complain, TROUBLE)
    scheduler.start()
    return scheduler


def _complain(event: JobEvent) -> None:
    log.error("The scheduler did not start the %s (event %s); the watchdog will", event.job_id, event.code)
