"""What is seen of the whole data folder: read anew when it has changed or aged, once for all who ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from openaq_pipeline.errors import PipelineError, StorageError
from openaq_pipeline.model import Location
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Book
from openaq_pipeline.overview import Kept, Observer, Overview
from openaq_pipeline.readiness import Readiness, judged
from openaq_pipeline.reports import LocationHealth
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.web.discretion import Discretion

AGES_SECONDS = 20.0
"""So long a look is as good as new if nothing has changed: ages are told in minutes."""

LEAST_SECONDS = 1.0
"""So long a look is believed whatever happens: during a run the folder changes all the time."""

SHARE = 5
"""Looking takes at most one part in so many of a processor, be the folder ever so large and busy."""

QUICK_SECONDS = 0.1
"""A look that takes no longer is waited for: who asks sees how it is now."""

PATIENCE_SECONDS = 60.0
"""So old may another look be that is shown while the next one is made; who asks after a longer pause waits for that.

Where a look takes long it may be older, or else everybody would wait for every look."""

KEPT_RUNS = 100


class Seen(msgspec.Struct, frozen=True):
    """One look. `alerts` is None if the book can't be read; what could not be read is among the overview's warnings.

    `locations` are all that are known, also those that are no longer selected; `places` is the health of the selected
    ones, by id, in the order of the settings. `sensors` tells at which location a sensor is.
    """

    at: datetime
    overview: Overview
    locations: Mapping[int, Location]
    alerts: Book | None
    places: Mapping[int, LocationHealth]
    sensors: Mapping[int, int]

    def placed(self, location_id: int) -> Location | None:
        """Return what is known of a location that has coordinates on the globe; None: it has none."""
        known = self.locations.get(location_id)
        if known is None or known.latitude is None or known.longitude is None:
            return None
        return known if abs(known.latitude) <= 90 and abs(known.longitude) <= 180 else None


class Look:
    """Looks at one data folder; thread-safe. `ledger` is where requests are counted, None: where this key's are."""

    def __init__(
        self,
        settings: Settings,
        ledger: Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._clock, self._steady = clock, steady
        self._observer = Observer(settings, ledger)
        folder = settings.data_dir
        ledger_folder = [self._observer.ledger.parent] if self._observer.ledger else []
        self._discretion = Discretion([folder, *ledger_folder])
        self._book = Kept(folder / ".alerts.json", lambda _: _book(AlertFile(folder)))
        self._known: tuple[Metadata, Mapping[int, Location], Mapping[int, int]] | None = None
        self._looking = threading.Lock()
        self._seen: Seen | None = None
        self._stamps: tuple[object, ...] = ()
        self._looked, self._took = 0.0, 0.0

    def seen(self) -> Seen:
        """Return how it is; whatever the files are like, this raises nothing."""
        seen, age = self._seen, self._steady() - self._looked
        if seen is not None and not self._is_due(age):
            return seen
        is_quick = self._took <= QUICK_SECONDS
        if seen is not None and not is_quick and age < max(PATIENCE_SECONDS, 2 * SHARE * self._took):
            self._look_meanwhile()
            return seen
        with self._looking:
            if self._seen is None or self._seen is seen:  # or else another thread has looked while this one waited
                self._look()
            return self._seen or seen or self._look()

    def begin(self) -> None:
        """Look in the background, so that whoever asks first need not wait for all of it."""
        self._look_meanwhile()

    def now(self) -> datetime:
        """Return the time by the clock of this look."""
        return self._clock()

    def told(self, text: str) -> str:
        """Return a sentence of an error as whoever looks may read it: without the paths of folders."""
        return self._discretion.told(text)

    def readiness(self) -> Readiness:
        """Return whether a run was good lately, by the rule of `monitor --check`."""
        seen = self.seen()
        places = [each.last_successful_run for each in seen.overview.health.locations]
        good = [run.started for run in seen.overview.runs if run.successful_locations]
        return judged(self.settings, self._clock(), good, lambda: [stamp for stamp in places if stamp])

    def _is_due(self, age_seconds: float) -> bool:
        """Say whether there may be something new to see."""
        if age_seconds < max(LEAST_SECONDS, SHARE * self._took):
            return False
        return age_seconds > AGES_SECONDS or self._stamps != self._current_stamps()

    def _current_stamps(self) -> tuple[object, ...]:
        return (*self._observer.stamps(), self._book.stamp())

    def _look_meanwhile(self) -> None:
        """Look in a thread of its own, unless one does already."""
        if self._looking.acquire(blocking=False):
            threading.Thread(target=self._look_and_release, name="look", daemon=True).start()

    def _look_and_release(self) -> None:
        try:
            self._look()
        finally:
            self._looking.release()

    def _look(self) -> Seen:
        """Look; wants the lock `_looking`."""
        began = self._steady()
        stamps, now = self._current_stamps(), self._clock()
        found = self._observer.look(now, shown_runs=KEPT_RUNS)
        alerts, warnings = self._alerts(now)
        locations, sensors = self._places(self._observer.metadata)
        seen = Seen(
            now,
            self._discretion.overview(found, warnings),
            locations,
            alerts,
            {each.location_id: each for each in found.health.locations},
            sensors,
        )
        self._seen, self._stamps = seen, stamps
        self._looked = self._steady()
        self._took = self._looked - began
        return seen

    def _alerts(self, now: datetime) -> tuple[Book | None, tuple[str, ...]]:
        try:
            return self._discretion.book(self._book.get(now)), ()
        except PipelineError as error:
            return None, (error.advice,)

    def _places(self, metadata: Metadata) -> tuple[Mapping[int, Location], Mapping[int, int]]:
        """Return the known locations by id, and where each sensor is; made anew only with new metadata."""
        if self._known is None or self._known[0] is not metadata:
            locations = {each.id: each for each in metadata.all()}
            sensors = {sensor.id: each.id for each in locations.values() for sensor in each.sensors}
            self._known = (metadata, locations, sensors)
        return self._known[1], self._known[2]


def _book(file: AlertFile) -> Book:
    """Return the book of alerts; raises `StorageError` also for a damaged one: that no alert is open nobody knows."""
    if file.is_damaged():
        raise StorageError("The book of alerts is damaged", hint="The next run sets it aside and begins a new one.")
    return file.read()
