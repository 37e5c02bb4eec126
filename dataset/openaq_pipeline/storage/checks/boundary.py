"""History and location file together: which rows count, and where the seal must be so that each counts once.

A move writes Parquet, then the seal, then the location file without what has moved. So whatever stands on the wrong
side of the seal stands on the right one too, unless the seal was lost or is not the one that was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from openaq_pipeline.reports import Finding
from openaq_pipeline.storage.checks.findings import fault
from openaq_pipeline.storage.checks.keys import NONE, Keys, moment, number


class Boundary:
    """The rows of one location by where they stand; the years are given one by one.

    `sealed_to` None: nothing in the history counts. `live` None: the location file can't be read, and then nothing is
    said of rows that only stand in one place.
    """

    def __init__(self, sealed_to: datetime | None, live: Keys | None) -> None:
        self._sealed_to = sealed_to
        self._seal = -(2**63) if sealed_to is None else number(sealed_to)
        self._live = live
        known = live or NONE
        self._left = known.only(known.stamps < self._seal)
        self._ahead = 0
        self._newest: int | None = None
        self._latest = known.only(known.stamps >= self._seal).latest()

    def year(self, year: int, keys: Keys | None) -> None:
        """Take the rows of a year of the history; None: it can't be read."""
        start, end = _bounds(year)
        elsewhere = (self._left.stamps < start) | (self._left.stamps > end)
        if keys is None:
            self._left = self._left.only(elsewhere)
            return
        self._left = self._left.only(elsewhere | self._left.absent_from(keys))
        self._latest = keys.only(keys.stamps < self._seal).latest() | self._latest
        if self._live is None:
            return
        alone = keys.stamps[keys.absent_from(self._live)]
        self._ahead += int((alone >= self._seal).sum())
        if len(alone):
            self._newest = max(int(alone.max()), int(alone.max()) if self._newest is None else self._newest)

    def latest(self) -> dict[int, datetime]:
        """Return the latest stamp that counts of each sensor; the years must have come in ascending order."""
        return self._latest

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with the seal."""
        says = "there is no seal" if self._sealed_to is None else f"the seal is {self._sealed_to:%Y-%m-%d}"
        if self._ahead:
            rows = f"{self._ahead:,} {'row' if self._ahead == 1 else 'rows'}"
            rule = "lost_seal" if self._sealed_to is None else "early_seal"
            yield fault(rule, f"{rows} of the history count nowhere, because {says}", count=self._ahead)
        if left := len(self._left.stamps):
            rows = f"{left:,} {'row' if left == 1 else 'rows'}"
            yield fault("late_seal", f"{rows} of the location file count nowhere, because {says}", count=left)

    def worked_out(self) -> datetime | None:
        """Return the earliest month's start behind every row that only the history has; None: it has none.

        Rows of the location file from before it must move to the history with the seal.
        """
        if self._newest is None:
            return None
        month = moment(self._newest).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return (month + timedelta(days=32)).replace(day=1)


def absurd(sealed_to: datetime, now: datetime) -> str | None:
    """Return what is absurd about a seal, None if nothing is."""
    if sealed_to != sealed_to.replace(day=1, hour=0, minute=0, second=0, microsecond=0):
        return f"it says {sealed_to.isoformat()}, which is no start of a month"
    if sealed_to > now:
        return f"it says {sealed_to:%Y-%m-%d}, which lies ahead"
    return None


def _bounds(year: int) -> tuple[int, int]:
    """Return the first and the last microsecond of a year."""
    last = datetime(year, 12, 31, 23, 59, 59, 999_999, UTC)
    return number(datetime(year, 1, 1, tzinfo=UTC)), number(last)
