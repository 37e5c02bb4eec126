"""How complete a location's last days are, ready to be drawn: a letter for each day of each sensor."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING

from openaq_pipeline.files import Stamp, stamp_of
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage import selections

if TYPE_CHECKING:
    from openaq_pipeline.audit.calendar import Calendar
    from openaq_pipeline.wiring import Stores

MOST_DAYS = 3660
STORE_FILES = (".state.json", "locations.json", ".selections.json")


def calendar(settings: Settings, location_id: int, now: datetime, *, days: int) -> Calendar:
    """Return the last so many days of a location; nothing is asked of OpenAQ, and nothing written.

    Its sensors are in the order of parameter and id.

    Raises `StorageError` for files that can't be read, `FatalError` for those of a newer version of this program.
    """
    from openaq_pipeline.audit.calendar import CalendarWork  # noqa: PLC0415 - loads numpy and Arrow

    found = CalendarWork(_loaded.stores(settings, now), location_id, now, lambda: None).calendar(
        max(1, min(days, MOST_DAYS))
    )
    sensors = sorted(found.sensors, key=lambda each: (each.parameter, each.sensors_id))
    return found._replace(sensors=sensors)


class _Loaded:
    """State and metadata, read again when their files have changed: of many locations they are large. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._settings: Settings | None = None
        self._marks: list[Stamp | None] = []
        self._stores: Stores | None = None

    def stores(self, settings: Settings, now: datetime) -> Stores:
        """Return the stores of a data folder, to be read only."""
        from openaq_pipeline.wiring import Stores  # noqa: PLC0415 - with what it takes to ask OpenAQ

        with self._guard:
            marks = [stamp_of(settings.data_dir / name) for name in STORE_FILES]
            if self._stores is None or self._settings is not settings or self._marks != marks:
                stores = Stores(selections.remembered(settings))
                stores.load(now, repair=False)
                self._settings, self._marks, self._stores = settings, marks, stores
            return self._stores


_loaded = _Loaded()
