"""What is seen of the whole data folder: read anew when it has changed or aged, once for all who ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from openaq_pipeline.errors import PipelineError
from openaq_pipeline.model import Location
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Book
from openaq_pipeline.overview import Overview, overview
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage.metadata import Metadata

FRESH_SECONDS = 2.0
"""A look is believed for so long; ages are told in minutes."""

KEPT_RUNS = 100


class Seen(msgspec.Struct, frozen=True):
    """One look. `alerts` is None if the book can't be read; what could not be read is among the overview's warnings."""

    at: datetime
    overview: Overview
    locations: dict[int, Location]
    alerts: Book | None


class Look:
    """Looks at one data folder; thread-safe."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings = settings
        self._clock = clock
        self._guard = threading.Lock()
        self._seen: Seen | None = None
        self._looked = 0.0

    def seen(self) -> Seen:
        """Return how it is."""
        with self._guard:
            if self._seen is None or time.monotonic() - self._looked > FRESH_SECONDS:
                self._seen, self._looked = self._look(), time.monotonic()
            return self._seen

    def _look(self) -> Seen:
        now = self._clock()
        found = overview(self.settings, now, shown_runs=KEPT_RUNS)
        metadata = Metadata(self.settings.data_dir)
        try:
            metadata.load(now, repair=False)
            alerts = AlertFile(self.settings.data_dir).read()
        except PipelineError:
            alerts = None
        return Seen(now, found, {each.id: each for each in metadata.all()}, alerts)
