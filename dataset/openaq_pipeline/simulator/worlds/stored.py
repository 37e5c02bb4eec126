"""A world whose rows are given: recorded pages, or anything a test wants to show."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import NamedTuple

from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.model import License, Parameter, Row, Sensor, Station


class StoredRow(NamedTuple):
    """A row and the moment from which it can be seen."""

    stamp_us: int
    value: float | None
    visible_us: int


class StoredWorld(World):
    """Rows as given, by sensor id; of two rows with one stamp the first seen stays, as OpenAQ has it."""

    def __init__(
        self,
        stations: tuple[Station, ...],
        rows: Mapping[int, Iterable[StoredRow]],
        *,
        parameters: tuple[Parameter, ...],
        licenses: tuple[License, ...] = (),
    ) -> None:
        super().__init__(stations, parameters=parameters, licenses=licenses)
        self._rows = {key: _unique(given) for key, given in rows.items()}
        self._stamps = {key: [row.stamp_us for row in given] for key, given in self._rows.items()}
        self._all_visible_us = {
            key: max((row.visible_us for row in given), default=0) for key, given in self._rows.items()
        }

    def own_rows(self, sensor: Sensor, after_us: int, until_us: int, now_us: int) -> Iterator[Row]:
        """Yield the stored rows of the window that are visible at `now`."""
        stamps = self._stamps.get(sensor.id, [])
        first, last = bisect_right(stamps, after_us), bisect_right(stamps, until_us)
        for row in self._rows.get(sensor.id, [])[first:last]:
            if row.visible_us <= now_us:
                yield Row(row.stamp_us, row.value)

    def own_span_us(self, sensor: Sensor, now_us: int) -> tuple[int, int] | None:
        """Return the first and last visible stamp, None for a sensor without rows."""
        stamps = [row.stamp_us for row in self._rows.get(sensor.id, []) if row.visible_us <= now_us]
        return (stamps[0], stamps[-1]) if stamps else None

    def page_token(
        self, sensor: Sensor, after_us: int, until_us: int, now_us: int, *, offset: int, limit: int
    ) -> Hashable | None:
        """Return a token once all rows of the sensor can be seen."""
        if sensor.id in self.additions or now_us < self._all_visible_us.get(sensor.id, 0):
            return None
        return after_us, until_us, offset, limit


def _unique(rows: Iterable[StoredRow]) -> list[StoredRow]:
    first_seen: dict[int, StoredRow] = {}
    for row in sorted(rows, key=attrgetter("visible_us")):
        first_seen.setdefault(row.stamp_us, row)
    return sorted(first_seen.values(), key=attrgetter("stamp_us"))
