"""Some days of a location against OpenAQ's archive: what it has of them, and what of that we lack.

A day's file is read where nobody did before, where OpenAQ wrote it anew since, where the rows that we hold of the day
are others than then, and where something was missing. Of the others what was found before is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openaq_pipeline.audit.rows import NOTHING, Rows, between, by_sensor, digests, together, without
from openaq_pipeline.incremental.ledger import (
    NONE,
    Compared,
    Numbers,
    Stamps,
    count,
    is_in_archive,
    moment_of,
    uncompared,
)
from openaq_pipeline.ingest_archive import measurements, portions
from openaq_pipeline.openaq.archive import Archive
from openaq_pipeline.openaq.archive_files import ArchiveFile
from openaq_pipeline.quality.required import Required
from openaq_pipeline.storage import ledgers
from openaq_pipeline.storage.ledgers import LocationLedger


class Upstream(NamedTuple):
    """The archive as far as an audit of one location needs it; `files` by day."""

    location_id: int
    archive: Archive
    files: Mapping[date, ArchiveFile]
    required: Required
    sensors: Collection[int] | None
    check: Callable[[], None]
    """Raises `Stopped` if the audit is to end."""


class Comparison(NamedTuple):
    """What was found, by sensor and day, and of all `others`.

    `exported` says of which days there is a file, or no row anywhere. `seen` are the files that were compared, None
    for a day without one. `names` are parameter and units of sensors in files that were read, of which there are
    `read`; `problems` tell of those that could not be.
    """

    sensors: dict[int, Compared]
    others: Compared
    exported: NDArray[np.bool_]
    seen: list[ledgers.Compared | None]
    held: Rows
    names: dict[int, tuple[str, str]]
    read: int
    problems: tuple[str, ...]

    def of(self, sensors_id: int) -> Compared:
        """Return what was found of a sensor, also of one of which nobody has a row in these days."""
        return self.sensors.get(sensors_id) or self.others


def offline(held: Rows, known: LocationLedger | None, bounds: Stamps) -> Comparison:
    """Return what is known without the archive: of the days that it should have, only what was here and is gone."""
    days = len(bounds) - 1
    nothing = uncompared(days)
    sensors = {}
    for key in {*held, *(known.sensors if known else ())}:
        here = count(held.get(key, NOTHING), bounds)
        sensors[key] = nothing._replace(lacked=np.maximum(gone(known, key, here), missed(known, key, here)))
    return Comparison(sensors, nothing, np.ones(days, dtype=bool), [None] * days, held, {}, 0, ())


def gone(known: LocationLedger | None, sensors_id: int, held: Numbers) -> Numbers:
    """Return by day how many rows were here at an earlier look and are not `held` now."""
    before = known.sensors.get(sensors_id) if known else None
    return np.zeros_like(held) if before is None else np.maximum(np.array(before.most) - held, 0)


def missed(known: LocationLedger | None, sensors_id: int, held: Numbers) -> Numbers:
    """Return by day how many rows were missing at the last look and have not come since, if only those have."""
    before = known.sensors.get(sensors_id) if known else None
    if before is None:
        return np.zeros_like(held)
    return np.where(
        np.array(before.lacked) > 0, np.maximum(np.array(before.lacked) + np.array(before.held) - held, 0), 0
    )


class Own(NamedTuple):
    """Our rows, and those that were rejected, which are not missing; each is read anew when it is asked for."""

    held: Callable[[], Rows]
    rejected: Callable[[], Rows]


def compare(
    upstream: Upstream,
    own: Own,
    known: LocationLedger | None,
    *,
    first: date,
    bounds: Stamps,
    now: datetime,
) -> Comparison:
    """Return how the days between midnights, from `first` on, compare; `known` is what was found of these before.

    Raises `Unreachable` or another `RetriableError` if the archive can't be read, `StorageError` for our own files.
    """
    days = [first + timedelta(days=place) for place in range(len(bounds) - 1)]
    due = [is_in_archive(moment_of(end), now) for end in bounds[1:].tolist()]
    files = [upstream.files.get(day) if old else None for day, old in zip(days, due, strict=True)]
    return _Work(upstream, own, known, Days(bounds, np.array(due), files, now)).compared()


class Days(NamedTuple):
    """Days between midnights: which are `due` in the archive as of `now`, and those that it has files of."""

    bounds: Stamps
    due: NDArray[np.bool_]
    files: Sequence[ArchiveFile | None]
    now: datetime


class _Work:
    """One comparison."""

    def __init__(self, upstream: Upstream, own: Own, known: LocationLedger | None, days: Days) -> None:
        self._upstream = upstream
        self._own = own
        self._known = known
        self._bounds, self._due, self._files, self._now = days
        self._names: dict[int, tuple[str, str]] = {}
        self._bad: set[int] = set()
        self._problems: list[str] = []

    def compared(self) -> Comparison:
        """Read what is to be read, and return what came of it."""
        held, rejected = self._own.held(), self._own.rejected()
        now = digests(together(held, rejected), self._bounds)
        seen = [
            None if file is None else ledgers.Compared(file.size_bytes, file.modified_utc, digest)
            for file, digest in zip(self._files, now, strict=True)
        ]
        todo = [place for place, file in enumerate(seen) if file is not None and not self._is_known(place, file)]
        there = self._read(todo)
        missing = without(there, together(held, rejected))
        if missing:  # some may have been stored since, and then they are not missing
            held, rejected = self._own.held(), self._own.rejected()
            missing = without(missing, together(held, rejected))
        for place in self._bad:
            seen[place] = None
        keys = {*held, *there, *(self._known.sensors if self._known else ())}
        sensors = {key: self._sensor(key, held, there, missing, todo) for key in keys}
        nobodys = self._sensor(0, {}, {}, {}, todo)
        return Comparison(
            sensors, nobodys, self._exported(held), seen, held, self._names, len(todo), tuple(self._problems)
        )

    def _is_known(self, place: int, file: ledgers.Compared) -> bool:
        """Say whether this version of a day's file was compared with the rows that are here, and none was missing."""
        if self._known is None or self._known.files[place] != file:
            return False
        return all(sensor.lacked[place] <= 0 for sensor in self._known.sensors.values())

    def _read(self, places: Sequence[int]) -> Rows:
        """Return the rows of the archive's files of some days, those that are measurements of sensors that matter."""
        found: Rows = {}
        days = {file: place for place in places if (file := self._files[place]) is not None}
        sensors = self._upstream.sensors
        for portion in portions(list(days)):
            self._upstream.check()
            rows = self._upstream.archive.read(self._upstream.location_id, portion, self._now)
            table, _ = measurements(self._upstream.location_id, rows.table, self._upstream.required)
            rows_here = {key: between(stamps, self._bounds) for key, stamps in by_sensor(table, sensors).items()}
            found = together(found, rows_here)
            names = table.select(["sensors_id", "parameter", "units"])
            for row in names.group_by(names.column_names).aggregate([]).to_pylist():
                self._names[row["sensors_id"]] = (row["parameter"], row["units"])
            for file, reason in rows.problems:
                self._bad.add(days[file])
                self._problems.append(reason)
        return found

    def _sensor(self, key: int, held: Rows, there: Rows, missing: Rows, read: Sequence[int]) -> Compared:
        """Return what was found of one sensor."""
        upstream = np.where(self._due, 0, NONE)
        known = self._known.sensors.get(key) if self._known else None
        if known is not None:
            before = np.array(known.upstream)
            again = np.array([file is not None for file in self._files])
            again[list(read)] = False
            upstream = np.where(again, np.maximum(before, 0), upstream)
        counted = count(there.get(key, NOTHING), self._bounds)
        upstream = np.where(counted > 0, counted, upstream)
        upstream[list(self._bad)] = NONE
        stamps = missing.get(key, NOTHING)
        lacked, lost = count(stamps, self._bounds), gone(self._known, key, count(held.get(key, NOTHING), self._bounds))
        return Compared(upstream, np.maximum(lacked, lost), stamps)

    def _exported(self, held: Rows) -> NDArray[np.bool_]:
        """Say of which days there is a file, or nobody has a row."""
        rows: Numbers = np.zeros(len(self._files), dtype=np.int64)
        for stamps in held.values():
            rows += count(stamps, self._bounds)
        there = np.array([file is not None for file in self._files], dtype=bool)
        told: NDArray[np.bool_] = np.logical_or(rows == 0, there)
        return told
