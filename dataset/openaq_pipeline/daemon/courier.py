"""Alerts between runs: what the daemon itself has to tell is noted, and what waits is sent by a child process.

The daemon only looks when the next try is due. The child does the sending, so that no channel's code, and no receiver
that hangs, gets into the daemon. To kill it loses nothing: a notice stays in the book until it is delivered.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path

from openaq_pipeline.daemon.child import Child, Snapshot
from openaq_pipeline.daemon.watchdog import Reading
from openaq_pipeline.errors import PipelineError
from openaq_pipeline.files import Stamp, stamp_of
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Waiting, due
from openaq_pipeline.monitoring.conditions import between_runs
from openaq_pipeline.monitoring.health import in_words
from openaq_pipeline.monitoring.policy import policy_of
from openaq_pipeline.monitoring.spare import Spare
from openaq_pipeline.monitoring.telling import Policy, update
from openaq_pipeline.reports import Condition
from openaq_pipeline.settings import Settings

log = logging.getLogger(__name__)

PAUSE_SECONDS = 60.0
"""From the start of one child to that of the next: one that fails at once must not be started again and again."""

HUNG_RUN = "hung_run"
KILLED_RUN = "killed_run"


class Courier:
    """Sends the notices of a data folder that wait for another try; one child at a time."""

    def __init__(self, folder: Path, spare: Spare | None = None) -> None:
        self._folder, self._spare = folder, spare
        self._stamp: tuple[Stamp | None, int] | None = None
        self._book: Waiting | None = None
        self._child: Child | None = None
        self._started: float | None = None

    def look(self, now: Reading, policy: Policy, snapshot: Snapshot) -> None:
        """Start a child if something is to be told to a receiver; never waits, and logs what goes wrong."""
        if self._is_out() or (self._started is not None and now.steady - self._started < PAUSE_SECONDS):
            return
        self._child = None
        self._refresh()
        if self._book and _is_due(self._book, now.wall, policy):
            self._started = now.steady
            self._start(snapshot)

    def finish(self, seconds: float) -> None:
        """Give a child under way so long to end by itself, then end it."""
        if self._child is not None and not self._child.join(seconds):
            self._child.kill()
            self._child.join(seconds)

    def _is_out(self) -> bool:
        return self._child is not None and not self._child.join(0)

    def _start(self, snapshot: Snapshot) -> None:
        try:
            self._child = Child(["deliver"], snapshot, folder=self._folder, ended=_tell_oddity, spare=self._spare)
        except OSError as error:
            log.error("The alerts that wait could not be sent: %s", error.strerror)  # noqa: TRY400 - a sentence

    def _refresh(self) -> None:
        """Read the book again if it has changed, but only what waits: the rest may be megabytes."""
        stamp = (stamp_of(self._folder / ".alerts.json"), self._spare.stamp() if self._spare else 0)
        if stamp == self._stamp:
            return
        self._stamp, self._book = stamp, None
        try:
            book = AlertFile(self._folder, self._spare).waiting()
        except PipelineError as error:
            log.warning("The alerts that wait could not be read: %s", error.advice)
            return
        self._book = book if book.outbox or book.look_at else None


def note(settings: Settings, folder: Path, now: datetime, condition: Condition, *, spare: Spare | None = None) -> None:
    """Note what became of a run that did not end by itself; the next one that does closes it. Logs what goes wrong."""
    found, moment, policy = between_runs([condition]), now.replace(microsecond=0), policy_of(settings)
    try:
        AlertFile(folder, spare).change(moment, lambda book: update(book, found, moment, policy))
    except PipelineError as error:
        log.warning("The alert %r could not be noted: %s", condition.title, error.advice)


def hung_run(silence: timedelta) -> Condition:
    """Return the condition of a run that had to be ended because it was silent for so long."""
    message = f"A run gave no sign of life for {in_words(silence)} and was ended; what it had stored before is whole."
    hint = "The next run comes as planned. If it hangs too, see pipeline.log, and whether the disk and network answer."
    return Condition(HUNG_RUN, "critical", "A run hangs", message, hint)


def killed_run(number: int) -> Condition:
    """Return the condition of a run that a signal ended which the daemon had not sent."""
    message = f"A run was ended by signal {number}; what it had stored before is whole."
    hint = "Signal 9 may mean that the machine is short of memory: see its kernel log. The next run comes as planned."
    return Condition(KILLED_RUN, "critical", "A run was killed", message, hint)


def _is_due(book: Waiting, now: datetime, policy: Policy) -> bool:
    """Say whether there is something to send, or to tell that need wait no longer."""
    # What only a receiver waits for that is switched off now, no child could send.
    if policy.receivers and book.look_at is not None and book.look_at <= now:
        return True
    quiet = policy.quiet_until(now) is not None
    return any(due(book.outbox, now, receiver, quiet=quiet) for receiver in policy.receivers)


def _tell_oddity(code: int) -> None:
    """Log how a child ended, unless it was delivered (0), refused (1, and logged there) or killed here."""
    if code > 1:
        log.warning("The sending of alerts ended with exit code %d", code)
