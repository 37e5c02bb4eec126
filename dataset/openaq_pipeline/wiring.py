"""From settings to parts: the stores of a data folder, and the way to OpenAQ within the budget."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openaq_pipeline import installed, pulse
from openaq_pipeline.errors import Stopped
from openaq_pipeline.monitoring.tally import Tally
from openaq_pipeline.openaq.api import Api
from openaq_pipeline.openaq.budget import Budget, Reserve, ledger_path
from openaq_pipeline.openaq.session import Client, require_key
from openaq_pipeline.order import Parts
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.reports import STOPPED
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.progress import Progress
from openaq_pipeline.storage.rejects import Rejects
from openaq_pipeline.storage.selections import Chosen
from openaq_pipeline.storage.state import StateFile

if TYPE_CHECKING:
    from openaq_pipeline.ingest_archive import ArchiveParts
    from openaq_pipeline.openaq.archive import Archive

log = logging.getLogger(__name__)

PULSE_SECONDS = 1.0
"""A run that waits (for its budget, before another try) gives a sign of life so often."""


def utc_now() -> datetime:
    """Return the time in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


class Stop:
    """Lets another thread or a signal end a run in order: its `sleep` and `check` raise `Stopped` once `set`.

    Whoever calls them gets on with the work, or waits in order: the daemon hears of it.
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the run to end."""
        self._event.set()

    def check(self) -> None:
        """Raise `Stopped` if the run is to end."""
        pulse.beat()
        if self._event.is_set():
            raise Stopped(STOPPED)

    def sleep(self, seconds: float) -> None:
        """Wait, or raise `Stopped` as soon as the run is to end."""
        until = time.monotonic() + seconds
        while not self._event.wait(max(0.0, min(PULSE_SECONDS, until - time.monotonic()))):
            pulse.beat()
            if time.monotonic() >= until:
                return
        raise Stopped(STOPPED)


class Stores:
    """The stores of a data folder, and the judgement its settings ask for; loading them takes no key."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.data_dir
        self.settings = settings
        self.state = StateFile(folder)
        self.metadata = Metadata(folder)
        self.files = LocationFiles(folder)
        self.rejects = Rejects(folder)
        self.progress = Progress(folder)
        self.judge = Judge(settings.validation)
        self.required = Required(settings.validation.required_fields)
        self.tally = Tally()

    def load(self, now: datetime, *, repair: bool) -> None:
        """Read state and metadata; `repair` False only looks and moves nothing. Raises `FatalError`, `StorageError`."""
        for warning in (self.state.load(now, repair=repair), self.metadata.load(now, repair=repair)):
            if warning:
                log.warning(warning)

    def parts(self, client: Client, clock: Callable[[], datetime], *, resumed: bool = False) -> Parts:
        """Return what an ingest works with; `resumed`: a backfill goes on from where the last one came."""
        return Parts(
            source=Api(client, clock),
            rows=self.files,
            rejects=self.rejects,
            state=self.state,
            metadata=Chosen(self.metadata, self.settings.parameters),
            judge=self.judge,
            required=self.required,
            data=self.settings.data,
            tally=self.tally,
            progress=self.progress if resumed else None,
            has_history=installed.has(installed.HISTORY),
        )

    def archive_parts(self, archive: Archive, checkpoint: Callable[[], None]) -> ArchiveParts:
        """Return what an ingest from the archive works with; `checkpoint` raises `Stopped` if the run is to end."""
        from openaq_pipeline.ingest_archive import ArchiveParts  # noqa: PLC0415 - loads pyarrow

        return ArchiveParts(
            archive=archive,
            progress=self.progress,
            rows=self.files,
            rejects=self.rejects,
            state=self.state,
            metadata=self.metadata,
            judge=self.judge,
            required=self.required,
            data=self.settings.data,
            tally=self.tally,
            checkpoint=checkpoint,
        )


@contextmanager
def connected(settings: Settings, stop: Stop, *, reserve: Reserve | None = None) -> Iterator[tuple[Client, Budget]]:
    """Give a client of OpenAQ and its budget; `reserve`: what a backfill leaves to the polls, None: it is a poll.

    Raises `ConfigError` for a key that is missing or can't be sent, `StorageError` if the ledger can't be used.
    """
    api = settings.api
    key = require_key(api.api_key.get_secret_value() if api.api_key else None)
    budget = Budget(
        ledger_path(key, api.base_url, settings.data_dir, os.environ),
        per_minute=api.requests_per_minute,
        per_hour=api.requests_per_hour,
        reserve=reserve,
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
    try:
        yield client, budget
    finally:
        budget.close()
