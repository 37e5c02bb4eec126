"""Rows put in by hand: late ones, revisions, rows with coordinates of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from openaq_pipeline.simulator.worlds.model import Row


class Addition(NamedTuple):
    """A row that shows from `visible_us` on, in place of one with the same stamp if there is one."""

    stamp_us: int
    value: float | None
    visible_us: int
    place: tuple[float, float] | None = None


class Additions:
    """The rows added to a world, by sensor and stamp."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, Addition]] = {}

    def __contains__(self, sensors_id: int) -> bool:
        return sensors_id in self._rows

    def add(self, sensors_id: int, addition: Addition) -> None:
        """Keep a row; a second one with the same stamp takes the first one's place."""
        # A new dictionary, because the server's thread may be walking through the old one.
        self._rows[sensors_id] = {**self._rows.get(sensors_id, {}), addition.stamp_us: addition}

    def coordinates(self, sensors_id: int, stamp_us: int) -> tuple[float, float] | None:
        """Return the row's own (latitude, longitude), None if it has none."""
        addition = self._rows.get(sensors_id, {}).get(stamp_us)
        return addition.place if addition else None

    def merged(self, sensors_id: int, own: Iterator[Row], after_us: int, until_us: int, now_us: int) -> Iterator[Row]:
        """Yield `own` with the visible additions of the window put in at their places."""
        added = {
            stamp: Row(stamp, addition.value)
            for stamp, addition in sorted(self._rows[sensors_id].items())
            if after_us < stamp <= until_us and addition.visible_us <= now_us
        }
        waiting = iter(added.values())
        following = next(waiting, None)
        for row in own:
            while following is not None and following.stamp_us <= row.stamp_us:
                yield following
                following = next(waiting, None)
            if row.stamp_us not in added:
                yield row
        if following is not None:
            yield following
        yield from waiting

    def bounds_us(self, sensors_id: int, now_us: int) -> tuple[int, int] | None:
        """Return the lowest and the highest visible stamp added to a sensor, None if there is none."""
        stamps = [row.stamp_us for row in self._rows.get(sensors_id, {}).values() if row.visible_us <= now_us]
        return (min(stamps), max(stamps)) if stamps else None
