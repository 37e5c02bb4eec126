"""The keys of many rows, and nothing else of them: 16 bytes a row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Numbers = NDArray[np.int64]
Marks = NDArray[np.bool_]


class Keys(NamedTuple):
    """Sensor and stamp (microseconds since 1970) of each row, in the order of a file."""

    sensors: Numbers
    stamps: Numbers

    def only(self, marks: Marks) -> Keys:
        """Return those that are marked."""
        return Keys(self.sensors[marks], self.stamps[marks])

    def absent_from(self, others: Keys) -> Marks:
        """Mark the keys that are not among others."""
        absent = np.ones(len(self.sensors), dtype=bool)
        for sensor in np.unique(self.sensors).tolist():
            here = self.sensors == sensor
            absent[here] = ~np.isin(self.stamps[here], others.stamps[others.sensors == sensor])
        return absent

    def latest(self) -> dict[int, datetime]:
        """Return the latest stamp of each sensor."""
        found = {}
        for sensor in np.unique(self.sensors).tolist():
            found[sensor] = moment(int(self.stamps[self.sensors == sensor].max()))
        return found

    def duplicates(self) -> Numbers:
        """Return the places of all rows whose key stood before, in any order of the rows."""
        order = np.lexsort((self.stamps, self.sensors))  # stable: of equal keys the first in the file comes first
        sensors, stamps = self.sensors[order], self.stamps[order]
        again = (np.diff(sensors) == 0) & (np.diff(stamps) == 0)
        return np.sort(order[1:][again])


NONE = Keys(np.empty(0, np.int64), np.empty(0, np.int64))


def together(keys: list[Keys]) -> Keys:
    """Return the keys of several as one."""
    if not keys:
        return NONE
    return Keys(np.concatenate([one.sensors for one in keys]), np.concatenate([one.stamps for one in keys]))


def number(moment: datetime) -> int:
    """Return a moment in microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def moment(microseconds: int) -> datetime:
    """Return the moment so many microseconds after 1970; the last there is for one beyond the calendar."""
    try:
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
