"""Which period ends of a location should be here, as far as the data folder itself tells.

Not what OpenAQ has: of a station with ten years in the archive, only what was ever read is to be complete. So it begins
with the earliest of: the first row that is stored, the first stamp of a year that the seal notes (of one it does not,
and whose file is gone, January), the first archive file that a backfill stored, where earlier audits began by this
rule. It ends now, where the location is polled, and else with the last of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from openaq_pipeline.incremental.ledger import Stamps, day_of, midnights, number_of
from openaq_pipeline.model import Location, Window
from openaq_pipeline.reading.folder import year_folders
from openaq_pipeline.reading.location import Selection, read
from openaq_pipeline.storage.history import History, span_of
from openaq_pipeline.storage.ledgers import LocationLedger
from openaq_pipeline.storage.sealed import years as sealed_years
from openaq_pipeline.wiring import Stores

DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)
SHORT_YEAR = timedelta(days=31)


class Days(NamedTuple):
    """The sensor-days of a window at a station; the first and the last may be cut, and then are so much shorter."""

    zone: tzinfo
    window: Window

    @property
    def first(self) -> date:
        """Return the first day."""
        return day_of(self.window.start + MOMENT, self.zone)

    @property
    def last(self) -> date:
        """Return the last day."""
        return day_of(self.window.end, self.zone)

    @property
    def bounds(self) -> Stamps:
        """Return where the days begin, and the end of the last."""
        start, end = number_of(self.window.start), number_of(self.window.end)
        found: Stamps = np.clip(midnights(self.zone, self.first, self.last), start, end)
        return found

    def years(self) -> Iterator[Days]:
        """Yield the days of a year at a time; what is begun of the last one goes with the one before for a month.

        What the state says is judged by the newest rows, so that the days that it speaks of must be in one portion.
        """
        new_years = (midnight(date(year, 1, 1), self.zone) for year in range(self.first.year + 1, self.last.year + 1))
        cuts = [cut for cut in new_years if self.window.start < cut < self.window.end - SHORT_YEAR]
        for start, end in pairwise([self.window.start, *cuts, self.window.end]):
            yield Days(self.zone, Window(start, end))


def midnight(day: date, zone: tzinfo) -> datetime:
    """Return when a day begins at a station."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def zone_of(folder: Path, location: Location | None, location_id: int, now: datetime) -> tuple[tzinfo, str]:
    """Return a location's zone and its name: as OpenAQ says, else the offset of its rows, else UTC."""
    if location is not None:
        try:
            return ZoneInfo(location.timezone), location.timezone
        except (KeyError, ValueError, OSError):  # one that this machine does not know
            pass
    rows = read(folder, location_id, Selection(Window(now - timedelta(days=40), now))).column("datetime_local")
    told = datetime.fromisoformat(rows[0].as_py()).utcoffset() if len(rows) else None
    return (UTC, "UTC") if told is None else (timezone(told), str(timezone(told)))


def window_of(
    stores: Stores, location_id: int, known: LocationLedger | None, zone: tzinfo, now: datetime
) -> Window | None:
    """Return what should be here; None: nothing was ever stored, and nobody polls it."""
    found = list(_windows(stores, location_id, known, zone))
    if _is_polled(stores, location_id):
        today = midnight(day_of(now, zone) + DAY, zone)
        start = now if found else now - timedelta(days=stores.settings.data.initial_days)
        found.append(Window(start, today))
    return Window(min(one.start for one in found), max(one.end for one in found)) if found else None


def _is_polled(stores: Stores, location_id: int) -> bool:
    """Say whether polls keep a location current: they remember it, or recent rows are here."""
    return bool(stores.state.get(location_id).sensors) or stores.files.oldest(location_id) is not None


def _windows(stores: Stores, location_id: int, known: LocationLedger | None, zone: tzinfo) -> Iterator[Window]:
    """Yield windows of which rows are here, or were."""
    folder = stores.settings.data_dir
    oldest, sealed = stores.files.oldest(location_id), stores.files.sealed_to(location_id)
    if oldest is not None and (sealed is None or oldest >= sealed):
        yield Window(oldest - MOMENT, oldest)
    history, noted = History(folder), sealed_years(folder, location_id)
    for year in year_folders(folder, location_id):
        span = span_of(history.path(location_id, year))
        if span is not None:
            yield Window(span[0] - MOMENT, span[1])
        elif year not in noted:
            yield Window(datetime(year, 1, 1, tzinfo=UTC), datetime(year, 1, 1, tzinfo=UTC))
    yield from (Window(first - MOMENT, first) for first in noted.values())
    for day, stored in stores.progress.stored_files(location_id).items():
        start = date.fromisoformat(day)
        yield stored.part or Window(midnight(start, zone), midnight(start + DAY, zone))
    if known is not None and known.since is not None:
        yield Window(known.since, known.since)
