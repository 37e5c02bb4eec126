"""Looking at a `location_{id}.json`: form, order, uniqueness, whose rows they are."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np

from openaq_pipeline.bounded import check_is_file, lines_of
from openaq_pipeline.errors import StorageError
from openaq_pipeline.model import UNREADABLE, Measurement, file_order
from openaq_pipeline.reports import Finding
from openaq_pipeline.storage import salvage
from openaq_pipeline.storage.checks.findings import Notes, fault, of_storage, refused, row_name
from openaq_pipeline.storage.checks.keys import Keys, moment, number
from openaq_pipeline.storage.locations import lines

MOST = 2**63 - 1
"""An id beyond it is damage, and must not end the look."""


class Look(msgspec.Struct, frozen=True):
    """What was found in a file of rows. `keys` are None for a file that can't be read to its end."""

    findings: tuple[Finding, ...]
    rows: int
    keys: Keys | None


def look(path: Path, location_id: int, sealed_to: datetime | None, issues: Collection[str]) -> Look | None:
    """Return what is found in a location's file; None: there is none.

    Rows from before `sealed_to` are left over (None: none is). `issues` are the names that rules can have.
    """
    try:
        check_is_file(path)
        with path.open("rb") as file:
            seen = _Seen(location_id, sealed_to, issues)
            seen.take(lines(lines_of(file)))
        return Look(seen.findings(), seen.rows, seen.keys())
    except FileNotFoundError:
        return None
    except OSError as error:
        return Look((refused(error),), 0, None)
    except UNREADABLE as error:
        return _salvaged(path, _Seen(location_id, sealed_to, issues), str(error))


def _salvaged(path: Path, seen: _Seen, reason: str) -> Look:
    """Return what is found in a file that is not in our form."""
    try:
        found = salvage.read(path)
    except StorageError as error:
        return Look((of_storage(error),), 0, None)
    seen.take(found.rows)
    for position, why in found.unreadable[:1]:
        seen.notes.add("undecodable_row", f"number {position}: {why}", len(found.unreadable))
    others = seen.findings()
    if not found.unreadable:
        others = (fault("not_our_form", f"its rows can be read, but it {reason}: another program wrote it"), *others)
    return Look(others, seen.rows, None if found.unreadable else seen.keys())


class _Seen:
    """The rows of a file as they pass by."""

    def __init__(self, location_id: int, sealed_to: datetime | None, issues: Collection[str]) -> None:
        self.notes = Notes()
        self.rows = 0
        self._id = location_id
        self._sealed_to = sealed_to
        self._issues = frozenset(issues)
        self._sensors, self._stamps = array("q"), array("q")

    def take(self, rows: Iterable[Measurement]) -> None:
        """Look at rows in the order of the file."""
        add, last = self.notes.add, None
        for row in rows:
            self.rows += 1
            self._sensors.append(max(-MOST, min(row.sensors_id, MOST)))
            self._stamps.append(number(row.datetime))
            here = file_order(row)
            if last is not None and here < last:
                add("not_sorted", _name(row))
            last = here
            if row.location_id != self._id:
                add("wrong_location", f"{_name(row)}, location {row.location_id}")
            if self._sealed_to is not None and row.datetime < self._sealed_to:
                add("left_over", _name(row))
            if not self._issues.issuperset(row.issues):
                add("unknown_issue", f"{_name(row)}, {', '.join(sorted(set(row.issues) - self._issues))}")

    def keys(self) -> Keys:
        """Return the keys of all rows so far."""
        return Keys(np.array(self._sensors, np.int64), np.array(self._stamps, np.int64))

    def findings(self) -> tuple[Finding, ...]:
        """Return what they break."""
        keys = self.keys()
        again = keys.duplicates()
        if len(again):
            here = Keys(keys.sensors[again], keys.stamps[again])
            self.notes.add("duplicate_key", _name_of(here), len(again))
        return self.notes.findings()


def _name(row: Measurement) -> str:
    return row_name(row.sensors_id, row.datetime)


def _name_of(keys: Keys) -> str:
    return row_name(int(keys.sensors[0]), moment(int(keys.stamps[0])))
