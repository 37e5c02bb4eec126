"""How complete a location's last days are, ready to be drawn: a letter for each day of each sensor."""

from __future__ import annotations

import threading
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from openaq_pipeline.settings import Settings
from openaq_pipeline.storage import selections

if TYPE_CHECKING:
    from openaq_pipeline.wiring import Stores

MOST_DAYS = 3660
STORE_FILES = (".state.json", "locations.json", ".selections.json")


class SensorCalendar(msgspec.Struct, frozen=True):
    """A sensor's days from the calendar's first on.

    `kinds` has a letter of `storage.ledgers.LETTERS` for each, `.` where the sensor has no such day; `held` is how many
    rows are here and `due` how many there should be, -1 where nothing tells.
    """

    sensors_id: int
    parameter: str
    units: str
    kinds: str
    held: list[int]
    due: list[int]


class Calendar(msgspec.Struct, frozen=True):
    """Days at the station, from `first` on, of sensors by parameter and id.

    `audited` is when the archive was compared last; None: what it would tell is not known.
    """

    timezone: str
    first: date
    audited: datetime | None
    sensors: tuple[SensorCalendar, ...]


def calendar(settings: Settings, location_id: int, now: datetime, *, days: int) -> Calendar:
    """Return the last so many days of a location; nothing is asked of OpenAQ, and nothing written.

    Raises `StorageError` for files that can't be read, `FatalError` for those of a newer version of this program.
    """
    from openaq_pipeline.audit.calendar import CalendarWork  # noqa: PLC0415 - loads numpy and Arrow

    found = CalendarWork(_loaded.stores(settings, now), location_id, now, lambda: None).months(
        max(1, min(days, MOST_DAYS))
    )
    sensors = sorted(found.sensors, key=lambda each: (each.parameter, each.sensors_id))
    return Calendar(found.timezone, found.first, found.audited, tuple(SensorCalendar(*each) for each in sensors))


class _Loaded:
    """State and metadata, read again when their files have changed: of many locations they are large. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._settings: Settings | None = None
        self._marks: list[tuple[int, int, int] | None] = []
        self._stores: Stores | None = None

    def stores(self, settings: Settings, now: datetime) -> Stores:
        """Return the stores of a data folder, to be read only."""
        from openaq_pipeline.wiring import Stores  # noqa: PLC0415 - with what it takes to ask OpenAQ

        with self._guard:
            marks = [_stamp(settings.data_dir / name) for name in STORE_FILES]
            if self._stores is None or self._settings is not settings or self._marks != marks:
                stores = Stores(selections.remembered(settings))
                stores.load(now, repair=False)
                self._settings, self._marks, self._stores = settings, marks, stores
            return self._stores


_loaded = _Loaded()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return which version of a file is there; None: there is none that can be looked at, and reading it tells why."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
