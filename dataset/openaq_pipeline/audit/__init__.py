"""How complete the copy is: each sensor-day by its kind (`incremental.ledger`), compared with OpenAQ's archive.

It takes no lock of the folder and changes no data, so it may run beside everything else. What it found it keeps in
`.audit/` (`storage.ledgers`), so that the next audit reads of the archive only what has changed since.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path

from openaq_pipeline.audit.evidence import midnight
from openaq_pipeline.audit.findings import Audit, Gap, LocationAudit
from openaq_pipeline.audit.location import Asked, LocationWork
from openaq_pipeline.backfill import ARCHIVE_WORKERS
from openaq_pipeline.errors import ConfigError, PipelineError, Stopped
from openaq_pipeline.openaq.archive import Archive
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage.checks import layout
from openaq_pipeline.wiring import Stop, Stores, utc_now

__all__ = ["Audit", "Gap", "LocationAudit", "audit"]

DAY = timedelta(days=1)
OFFLINE = "it was not asked (--offline)"
Bound = date | datetime
"""A date is meant with its whole day at the station."""


def audit(
    settings: Settings,
    start: Bound | None = None,
    end: Bound | None = None,
    *,
    is_offline: bool = False,
    watch: Callable[[int, int], None] = lambda _done, _all: None,
    stop: Stop | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> Audit:
    """Return how complete the locations of the settings are, of period ends later than `start` up to `end`.

    Without locations all in the data folder are looked at; None: from the first row on that should be here up to the
    last one. `watch` hears after each location how many are done, of how many.

    Raises `ConfigError` if there is nothing to look at or no archive where it should be, `FatalError` for a state that
    a newer version wrote and `Stopped` if it is asked to end. What is wrong with one location is among its problems.
    """
    stop, now = stop or Stop(), clock()
    stores = Stores(settings)
    stores.load(now, repair=False)
    chosen = _chosen(settings)
    archive = None if is_offline else Archive(settings.archive, folder_for_temporary=Path(tempfile.gettempdir()))
    work = _Work(stores, archive, Asked(_start(start), _end(end), now, stop.check))
    found = []
    with ThreadPoolExecutor(ARCHIVE_WORKERS, thread_name_prefix="audit") as pool:
        try:
            for done, location in enumerate(pool.map(work.location, chosen), start=1):
                found.append(location)
                watch(done, len(chosen))
        finally:
            pool.shutdown(cancel_futures=True)
    return Audit(tuple(found), work.outage)


class _Work:
    """An audit under way; `location` is called from several threads."""

    def __init__(self, stores: Stores, archive: Archive | None, asked: Asked) -> None:
        self._stores = stores
        self._archive = archive
        self._asked = asked
        self.outage = OFFLINE if archive is None else None

    def location(self, location_id: int) -> LocationAudit:
        """Return how complete a location is; an archive that can't be reached is not tried again."""
        work = LocationWork(self._stores, None if self.outage else self._archive, location_id, self._asked)
        try:
            found = work.run()
        except (ConfigError, Stopped):
            raise
        except PipelineError as error:
            return LocationAudit(location_id, problems=(error.advice,))
        self.outage = self.outage or work.outage
        return found


def _chosen(settings: Settings) -> Sequence[int]:
    """Return the locations to look at; raises `ConfigError` if there is none."""
    chosen = settings.locations or sorted(layout.location_ids(settings.data_dir))
    if not chosen or not settings.data_dir.is_dir():
        hint = "Run the main job first, or name another --data-dir."
        raise ConfigError(f"There are no data in {settings.data_dir}", hint=hint)
    return chosen


def _start(bound: Bound | None) -> Callable[[tzinfo], datetime] | None:
    """Return what tells where a bound begins at a station; None stays what it is."""
    if bound is None:
        return None
    return lambda zone: bound if isinstance(bound, datetime) else midnight(bound, zone)


def _end(bound: Bound | None) -> Callable[[tzinfo], datetime] | None:
    """Return what tells where a bound ends at a station; None stays what it is."""
    if bound is None:
        return None
    return lambda zone: bound if isinstance(bound, datetime) else midnight(bound + DAY, zone)
