"""The status page beside the runs: a child process that is started again when it ends, and ends with the daemon.

A thread of its own looks after it, because a port that is taken, or a name that nobody resolves, must hold up no run.
The port is had here and handed to the child, so that this log tells where the page is, or why there is none. The child
knows no secret: it gets the settings that it needs and an environment of what is known to be harmless.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from openaq_pipeline import installed
from openaq_pipeline.daemon.child import PAGE, Child, Memo
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.installed import NotInstalled
from openaq_pipeline.listening import address, opened
from openaq_pipeline.openaq.budget import ledger_path
from openaq_pipeline.places import PLANET
from openaq_pipeline.pulse import Pulse
from openaq_pipeline.settings import ApiSettings, NotificationSettings, Settings, StorageSettings

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a page that ended is started again; twice as long each time, until it has lived for the longest."""

NO_PAGE = "The runs go on; with web.enabled set to false this is not told."

STOP_SECONDS = 3.0
"""So long may a page take to end because the settings are others now."""


class Page:
    """Keeps the page of a data folder served, as the settings have it."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._stir = threading.Event()
        self._thread: threading.Thread | None = None
        self._life: Pulse | None = None
        self._wanted: Wanted | None = None
        self._served: Wanted | None = None
        self._child: Child | None = None
        self._number = 0
        self._code: int | None = None
        self._began, self._pause, self._next = 0.0, FIRST_PAUSE, 0.0
        self._complaint = ""
        self._closing = False

    def show(self, settings: Settings) -> None:
        """Serve the page with these settings from now on, or not at all if they say so; never waits."""
        is_wanted = settings.web.enabled and settings.schedule.mode != "once"
        if is_wanted and not installed.has(installed.PAGE):
            is_wanted = False
            self._complain(f"There is no status page: {NotInstalled(installed.PAGE).advice} {NO_PAGE}")
        self._wanted = Wanted(settings) if is_wanted else None
        if self._thread is None and is_wanted:
            self._life = Pulse()
            self._thread = threading.Thread(target=self._keep, name=PAGE, daemon=True)
            self._thread.start()
        self._stir.set()

    def leave(self) -> None:
        """Begin to end it; never waits."""
        self._closing = True
        self._stir.set()

    def close(self, seconds: float) -> None:
        """End it, within so long if need be the hard way."""
        self.leave()
        if self._thread is not None:
            self._thread.join(seconds)
        if self._child is not None:
            self._child.kill()
        if self._life is not None:
            self._life.close()  # whatever is left of it ends at that

    def _keep(self) -> None:
        """See to it until the end."""
        while not self._closing:
            self._stir.clear()
            self._step()
            if not self._closing:
                self._stir.wait(self._patience())
        if self._child is not None:
            self._child.stop()
            self._child.join(STOP_SECONDS)

    def _patience(self) -> float | None:
        """Return after how many seconds there is something to do; None: only when something happens."""
        return max(0.0, self._next - self._clock()) if self._wanted and self._child is None else None

    def _step(self) -> None:
        """Do what there is to do."""
        wanted = self._wanted
        if self._child is not None and self._code is not None:
            self._ended(self._code)
        if self._child is not None and self._served != wanted:
            self._stop(self._child)
        if wanted is not None and self._served != wanted:
            self._pause, self._next = FIRST_PAUSE, 0.0
        if wanted is not None and self._child is None and self._clock() >= self._next:
            self._start(wanted)
        self._served = wanted

    def _start(self, wanted: Wanted) -> None:
        """Have the port, and the page on it; what goes wrong is told once, and tried again."""
        self._code, self._began = None, self._clock()
        self._number += 1
        number = self._number
        self._next, self._pause = self._began + self._pause, min(2 * self._pause, LONGEST_PAUSE)
        try:
            with closing(opened(wanted.host, wanted.port)) as listening, closing(Memo(wanted.body)) as memo:
                flags = ["--listening", str(listening.fileno())]
                flags += ["--ledger", str(wanted.ledger)] if wanted.ledger else []
                self._child = Child(
                    [PAGE, *flags],
                    memo,
                    folder=self._folder,
                    life=self._life,
                    more=[listening.fileno()],
                    ended=lambda code: self._note(number, code),
                )
                where = f"The status page is at {address(listening)}/"
        except ConfigError as error:
            self._complain(f"{error.advice} It is tried again, and the runs go on.")
        except OSError as error:
            reason = f"The status page can't be started: {error.strerror}."
            self._complain(f"{reason} It is tried again, and the runs go on.")
        else:
            self._complaint = ""
            log.info(where)

    def _note(self, number: int, code: int) -> None:
        """Take note that a page has ended; one that was ended here is of no interest any more."""
        if number == self._number:
            self._code = code
            self._stir.set()

    def _ended(self, code: int) -> None:
        """Take note of a page that has ended by itself."""
        self._child, now = None, self._clock()
        if now - self._began > LONGEST_PAUSE:
            self._pause = FIRST_PAUSE
        self._next = max(self._next, now)
        how = f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"
        log.warning("The status page %s; it is started again in %.0f s", how, self._next - now)

    def _stop(self, child: Child) -> None:
        """End a page whose settings are others now."""
        child.stop()
        if not child.join(STOP_SECONDS):
            child.kill()
            child.join(STOP_SECONDS)
        self._number += 1
        self._child = self._code = None

    def _complain(self, sentence: str) -> None:
        """Tell a trouble when it begins, and not at every try."""
        if sentence != self._complaint:
            log.warning(sentence)
        self._complaint = sentence


class Wanted:
    """A page as it is to be: where, of what, and where requests are counted (None: nowhere, without a key)."""

    def __init__(self, settings: Settings) -> None:
        self.host, self.port = settings.web.host, settings.web.port
        self.body = as_json(settings)
        key = settings.api.api_key.get_secret_value().strip() if settings.api.api_key else ""
        self.ledger = ledger_path(key, settings.api.base_url, settings.data_dir, os.environ) if key else None

    def __eq__(self, other: object) -> bool:
        """Say whether nothing would be different."""
        return isinstance(other, Wanted) and (self.body, self.ledger) == (other.body, other.ledger)

    __hash__ = None  # type: ignore[assignment]


def as_json(settings: Settings) -> bytes:
    """Return settings, without any secret and who is told of alerts, as `Settings` reads them."""
    plain = settings.model_copy(
        update={
            "api": ApiSettings.model_validate(settings.api.model_dump(exclude={"api_key"})),
            "monitoring": settings.monitoring.model_copy(update={"heartbeat_url": None}),
            "notifications": NotificationSettings(),
            "storage": StorageSettings(),
            "config_path": None,
            "warnings": (),
        }
    )
    data = plain.model_dump(mode="json", by_alias=True, exclude_none=True)
    data["selections"] = [each or PLANET for each in data["selections"]]
    return json.dumps(data).encode()
