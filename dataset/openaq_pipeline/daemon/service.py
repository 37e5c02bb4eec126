"""The daemon's life: a mailbox, and one thread that answers it.

1. Plan: the schedule and the last run's start say when the next run is due; the alarm is set.
2. The alarm rings: a run is started as a child process. Until it has ended nothing is planned, so none overlap.
3. The child has ended: the heartbeat, if it was a good run and has said that everything is current; then 1.
4. Between the letters the watchdog looks: a clock that was set (plan anew), an alarm that did not ring (start all the
   same), a run that hangs (end it, and have somebody told). While no run is alive the courier sends what waits.
5. SIGHUP: read the settings again. SIGTERM, SIGINT: stop the run in order, then leave. A second one: leave at once.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from openaq_pipeline import locks
from openaq_pipeline.daemon import systemd
from openaq_pipeline.daemon.alarm import Alarm
from openaq_pipeline.daemon.child import Child, Snapshot
from openaq_pipeline.daemon.clocks import Clocks
from openaq_pipeline.daemon.courier import Courier, hung_run, killed_run, note
from openaq_pipeline.daemon.heartbeat import Heartbeat
from openaq_pipeline.daemon.last_run import last_start
from openaq_pipeline.daemon.mailbox import Ended, Letter, Mailbox, Rang, Signalled, mailbox
from openaq_pipeline.daemon.page import Page
from openaq_pipeline.daemon.watchdog import Appointment, Limits, Reading, Silence, appointment, usual_limits
from openaq_pipeline.errors import ConfigError, PipelineError
from openaq_pipeline.incremental.due import gap_of, next_due
from openaq_pipeline.incremental.plan import room_for
from openaq_pipeline.monitoring import spare
from openaq_pipeline.monitoring.policy import policy_of
from openaq_pipeline.pulse import Pulse
from openaq_pipeline.reports import Condition
from openaq_pipeline.settings import Settings
from openaq_pipeline.startable import check_selection

log = logging.getLogger(__name__)

UNUSABLE = 2
"""The exit code of a run that could do nothing with its settings, such as a selection that matches nothing.

If the first one ends so the daemon does too, as for every other mistake in the settings; later ones may be of a change.
"""

LAST_SECONDS = 1.0
"""So long the end of the daemon waits for what was killed, or for a heartbeat or alert under way."""


LimitsOf = Callable[[timedelta, float], Limits]
"""From the gap between runs, and the seconds that an answer may take."""


def serve(
    load: Callable[[], Settings],
    flags: Sequence[str] = (),
    *,
    limits_of: LimitsOf = usual_limits,
    clocks: Clocks | None = None,
) -> int:
    """Run as the schedule says until a signal comes; return 0 then, in mode `once` the run's own exit code.

    `load` reads the settings, now and at every SIGHUP; `flags` go to each run. Raises `ConfigError` for settings
    nothing can be done with and `LockHeld` if another process has the data folder, both at once.
    """
    clocks = clocks or Clocks()
    with mailbox() as letters:  # first, so that a signal during the start ends it in order too
        settings = checked(load(), clocks)
        locks.make_folder(settings.data_dir)
        lock = locks.take_folder(settings.data_dir)
        try:
            return Daemon(load, settings, letters, lock=lock, flags=flags, limits_of=limits_of, clocks=clocks).run()
        finally:
            locks.let_go(lock)


def checked(settings: Settings, clocks: Clocks) -> Settings:
    """Return the settings; raises `ConfigError` if no run could do anything with them, or none is ever due."""
    check_selection(settings)
    gap_of(settings.schedule, clocks.wall())
    return settings


class Daemon:
    """What `serve` runs: all state belongs to the one thread that calls `run`."""

    def __init__(
        self,
        load: Callable[[], Settings],
        settings: Settings,
        letters: Mailbox,
        *,
        lock: int,
        flags: Sequence[str],
        limits_of: LimitsOf,
        clocks: Clocks,
    ) -> None:
        self._load, self._letters, self._lock, self._flags = load, letters, lock, flags
        self._limits_of, self._clocks = limits_of, clocks
        self._folder: Path = settings.data_dir
        self._spare = spare.made()
        self._alarm, self._heartbeat, self._courier = Alarm(), Heartbeat(), Courier(self._folder, self._spare)
        self._page = Page(self._folder)
        self._settings, self._snapshot = settings, Snapshot(settings.config_path, self._folder)
        self._limits, self._policy = self._limits_for(settings), policy_of(settings)
        self._last = None if settings.schedule.mode == "once" else last_start(self._folder)
        self._seen = Reading(clocks.wall(), clocks.steady())
        self._number = 0
        self._appointment: Appointment | None = None
        self._child: Child | None = None
        self._pulse, self._silence = Pulse(), Silence(0.0, 0.0)
        self._kill_at: float | None = None
        self._ending = False
        self._stopping = False
        self._has_run = False
        self._exit: int | None = None

    def run(self) -> int:
        """Answer letters until the end; return the exit code."""
        try:
            self._plan()
            self._page.show(self._settings)
            systemd.tell("READY=1")
            while self._exit is None:
                self._answer(self._next_letter())
                self._watch()
                systemd.tell("WATCHDOG=1")
        finally:
            if self._child is not None:
                self._child.kill()
            self._alarm.close()
            self._page.close(LAST_SECONDS / 2)
            # Half, so that with a run that was killed and a heartbeat it is still within ten seconds.
            self._courier.finish(LAST_SECONDS / 2)
            self._snapshot.close()
            self._pulse.close()
            if self._spare is not None:
                self._spare.close()
        self._heartbeat.finish(LAST_SECONDS)
        return self._exit

    def _next_letter(self) -> Letter | None:
        """Return the next letter; None when it is time to look around."""
        seconds = min(self._limits.tick, systemd.longest_silence_seconds())
        if self._kill_at is not None:
            seconds = min(seconds, max(0.0, self._kill_at - self._clocks.awake()))
        return self._letters.get(seconds)

    def _answer(self, letter: Letter | None) -> None:
        match letter:
            case Rang(number) if number == self._number and self._child is None and not self._stopping:
                self._be_rung()
            case Ended(code):
                self._finish(code)
            case Signalled(signal.SIGHUP):
                self._reload()
            case Signalled():
                self._leave()

    # --- plan, start, finish ---

    def _plan(self) -> None:
        """Set the alarm for the next run."""
        self._mind_the_clock()
        now = self._seen
        due = next_due(self._settings.schedule, self._last, now.wall)
        if due is None:  # `once`, and it has run
            return
        self._number += 1
        letter = Rang(self._number)
        self._appointment = appointment(due, now)
        self._alarm.set(due, lambda: self._letters.put(letter))
        if due > now.wall:
            log.info("The next run is due at %s", _shown(due))

    def _be_rung(self) -> None:
        """Start the run that is due, unless the alarm rang only because the clock was set since it was asked to."""
        if self._mind_the_clock():
            self._plan()
        else:
            self._start()

    def _start(self) -> None:
        self._mind_the_clock()
        self._last, self._appointment = self._seen.wall, None
        self._pulse.heard_that_all_is_current()  # what the run before has left
        self._silence = Silence(0.0, self._clocks.awake())
        try:
            self._child = Child(
                ["run", *self._room(), *self._flags],
                self._snapshot,
                folder=self._folder,
                lock=self._lock,
                life=self._pulse,
                spare=self._spare,
                ended=lambda code: self._letters.put(Ended(code)),
            )
        except OSError as error:
            log.error("The run could not be started: %s", error.strerror)  # noqa: TRY400 - a sentence, no traceback
            self._letters.put(Ended(1))

    def _room(self) -> list[str]:
        """Return the flag that lets a run plan no more than the key allows until the next one is due."""
        gap, api = gap_of(self._settings.schedule, self._seen.wall), self._settings.api
        if not gap:
            return []
        room = room_for(gap, per_minute=api.requests_per_minute, per_hour=api.requests_per_hour)
        return ["--max-requests", str(room)]

    def _note(self, condition: Condition) -> None:
        note(self._settings, self._folder, self._clocks.wall(), condition, spare=self._spare)

    def _finish(self, code: int) -> None:
        if code < 0 and not self._ending:
            self._note(killed_run(-code))
        self._child, self._kill_at, self._ending = None, None, False
        first, self._has_run = not self._has_run, True
        useless = code == UNUSABLE and first
        if useless:
            log.error("Nothing can be done with these settings: see what the run said")
        if self._stopping or useless or self._settings.schedule.mode == "once":
            self._exit = 0 if self._stopping else code if code >= 0 else 1
        if code == 0:
            if self._pulse.heard_that_all_is_current():
                self._heartbeat.beat(self._settings.monitoring.heartbeat_url)
        elif not self._stopping:
            log.warning("The run %s", f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}")
        if self._exit is None:
            self._plan()

    # --- the watchdog ---

    def _watch(self) -> None:
        """Look whether what should happen does."""
        if self._exit is not None:
            return
        clock_was_set = self._mind_the_clock()
        if self._child is None and not self._stopping:  # here: when runs follow at once this is the only moment
            self._courier.look(self._seen, self._policy, self._snapshot)
        if self._kill_at is not None and self._clocks.awake() >= self._kill_at:
            self._kill()
        elif self._child is not None:
            self._watch_run()
        elif clock_was_set:
            self._plan()
        elif self._appointment is not None:
            self._watch_alarm(self._appointment)

    def _watch_run(self) -> None:
        """End a run that gives no sign of life."""
        now, limits = self._clocks.awake(), self._limits
        self._silence = self._silence.after(now, heard=self._pulse.heard(), most=2 * limits.tick)
        seconds = self._silence.seconds
        if self._child is not None and self._kill_at is None and seconds > limits.hung:
            log.error("The run hangs: no sign of life for %.0f s. It is ended", seconds)
            self._silence = Silence(0.0, now)  # not again at every look, should it resist
            self._stop_run(self._child)
            self._note(hung_run(timedelta(seconds=seconds)))

    def _watch_alarm(self, made: Appointment) -> None:
        """Start the run that the alarm has missed."""
        if made.is_missed(self._seen, self._limits.margin):
            log.warning("No run was started at %s, although one was due: it starts now", _shown(made.due))
            self._alarm.restart()
            self._start()

    def _mind_the_clock(self) -> bool:
        """Return whether the wall clock was set since the last look; the last start is then seen by the new time."""
        before, self._seen = self._seen, Reading(self._clocks.wall(), self._clocks.steady())
        moved = before.clock_set_by(self._seen)
        if not moved:
            return False
        log.warning("The clock was set %s by %s", "forward" if moved > timedelta(0) else "back", abs(moved))
        self._last = self._last + moved if self._last else None
        return True

    def _limits_for(self, settings: Settings) -> Limits:
        gap = gap_of(settings.schedule, self._clocks.wall())
        return self._limits_of(gap, 2 * settings.api.timeout_seconds)

    # --- signals ---

    def _reload(self) -> None:
        """Take over the settings as they are now; bad ones change nothing."""
        try:
            settings = self._reread()
            snapshot = Snapshot(settings.config_path, self._folder)
        except PipelineError as error:
            problems = "; ".join(error.problems) if isinstance(error, ConfigError) else ""
            log.error("The old settings stay: %s", f"{error.advice}: {problems}" if problems else error.advice)  # noqa: TRY400
            return
        self._snapshot.close()
        self._settings, self._snapshot = settings, snapshot
        self._limits, self._policy = self._limits_for(settings), policy_of(settings)
        log.info("The settings were read again")
        self._page.show(settings)
        if self._child is None and not self._stopping:
            self._plan()

    def _reread(self) -> Settings:
        settings = checked(self._load(), self._clocks)
        if (settings.schedule.mode == "once") != (self._settings.schedule.mode == "once"):
            raise ConfigError("A running daemon can't change to or from mode `once`", hint="Start it again.")
        if settings.data_dir != self._folder:
            log.warning("Another data folder counts from the next start on; %s stays in use", self._folder)
        return settings

    def _leave(self) -> None:
        """End in order; asked a second time, at once."""
        systemd.tell("STOPPING=1")
        self._page.leave()
        if self._child is None:
            self._exit = 0
        elif self._stopping:
            self._kill()
        else:
            log.info("Stopping the run, for %.0f s at most", self._limits.grace)
            self._stop_run(self._child)
        self._stopping = True

    def _stop_run(self, child: Child) -> None:
        self._kill_at, self._ending = self._clocks.awake() + self._limits.grace, True
        child.stop()

    def _kill(self) -> None:
        """End the run the hard way; what it has stored is whole all the same."""
        self._kill_at = None
        if self._child is None:
            return
        log.warning("The run did not end in order and is killed")
        self._child.kill()
        if self._stopping:
            self._child.join(LAST_SECONDS)
            self._exit = 0


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
