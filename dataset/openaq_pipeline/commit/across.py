"""The commit of rows of any age, as Arrow columns: history and location file as one series, cut where it is sealed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openaq_pipeline.columns import HISTORY, to_rows, to_table
from openaq_pipeline.commit.recent import BEGINNING, Committed, before, behind, replace
from openaq_pipeline.incremental import columns
from openaq_pipeline.incremental.columns import IDENTICAL, NEW, NOT_READ, REVISED, MergedColumns
from openaq_pipeline.model import Change, Counts, License, Measurement, file_order
from openaq_pipeline.ports import RowStore
from openaq_pipeline.quality.bulk import issues
from openaq_pipeline.quality.rules import Judge

Marks = NDArray[np.bool_]


def commit_across(
    location_id: int, rows: pa.Table, *, files: RowStore, judge: Judge, licenses: Iterable[License] | None
) -> Committed:
    """Store rows (schema `HISTORY`, any order) of one location that is sealed; wants its lock held.

    Rows from before `sealed_to` go into the history, and are written first, the others into the location's file. All
    rows of the span they cover are in memory at once: give years of rows in portions.
    """
    if not rows.num_rows:
        return Committed({}, None)
    first, last = _span(rows)
    work = _Across(location_id, files, licenses)
    merged = columns.merge(work.load(before(first, judge.reach), behind(last, judge.reach)), rows)
    table, odd = _judged(merged, judge, before(first, judge.ahead), behind(last, judge.context))
    change = work.store(table, merged.touched | odd)
    return Committed(_counts(merged, table), change)


class _Across:
    """One location's stored rows around a span, and where they go back to."""

    def __init__(self, location_id: int, files: RowStore, licenses: Iterable[License] | None) -> None:
        self._id = location_id
        self._files = files
        self._history = files.history()
        self._licenses = licenses
        self._sealed_to = files.sealed_to(location_id) or BEGINNING
        self._start = self._end = self._sealed_to
        self._recent: list[Measurement] = []

    def load(self, start: datetime, end: datetime) -> pa.Table:
        """Return the stored rows with start <= stamp < end; of the location's file all from `start` on."""
        self._start, self._end = start, min(end, self._sealed_to)
        old = self._history.read(self._id, start, self._end) if start < self._sealed_to else HISTORY.empty_table()
        if end <= self._sealed_to:
            return old
        self._recent = self._files.tail(self._id, max(start, self._sealed_to))
        return pa.concat_tables([old, to_table(self._recent)])

    def store(self, table: pa.Table, changed: Marks) -> Change | None:
        """Put the rows of the span in the place of those loaded, wherever one of them has changed."""
        stamps = _stamps(table)
        old = stamps < np.datetime64(self._sealed_to.replace(tzinfo=None), "us")
        years = stamps.astype("datetime64[Y]").astype(int) + 1970
        for year in np.unique(years[changed & old]).tolist():
            self._write(year, table.filter(pa.array(old & (years == year))))
        if not np.any(changed & ~old):
            return None
        recent = sorted(to_rows(self._id, table.filter(pa.array(~old))), key=file_order)
        return replace(self._id, max(self._start, self._sealed_to), recent, self._files)

    def _write(self, year: int, rows: pa.Table) -> None:
        """Put rows in the place of those of the span in a year's file."""
        there = self._history.year(self._id, year)
        outside = there.filter(pa.array(~_between(there, self._start, self._end)))
        self._history.write(self._id, year, columns.overlay(outside, rows), self._licenses)


def _judged(merged: MergedColumns, judge: Judge, start: datetime, end: datetime) -> tuple[pa.Table, Marks]:
    """Return the merged rows, those of changed sensors from start to end with their issues as they are now.

    The marks tell whose issues changed.
    """
    table = merged.rows
    sensors = np.asarray(table.column("sensors_id"))
    places = np.flatnonzero(np.isin(sensors, np.unique(sensors[merged.touched])))
    fresh = issues(judge, table if len(places) == len(sensors) else table.take(pa.array(places)))
    inside = _between(table, start, end)[places]
    places, fresh = places[inside], fresh.filter(pa.array(inside))
    known = table.column("issues").combine_chunks()
    odd = np.zeros(len(sensors), dtype=bool)
    odd[places] = np.asarray(pc.not_equal(_joined(known.take(pa.array(places))), _joined(fresh)))
    source = np.arange(len(sensors))
    source[places] = len(sensors) + np.arange(len(places))
    chosen = pa.concat_arrays([known, fresh.cast(known.type)]).take(pa.array(source))
    return table.set_column(table.schema.get_field_index("issues"), HISTORY.field("issues"), chosen), odd


def _joined(lists: pa.Array) -> pa.Array:
    return pc.binary_join(lists, ",")


def _counts(merged: MergedColumns, table: pa.Table) -> dict[int, Counts]:
    """Return by sensor what became of the rows read; one read twice is identical to itself, as in a poll."""
    sensors = np.asarray(table.column("sensors_id"))
    clean = np.asarray(pc.equal(pc.list_value_length(table.column("issues").combine_chunks()), 0))
    new, revised, identical = (columns.count(sensors[merged.became == what]) for what in (NEW, REVISED, IDENTICAL))
    good, again = columns.count(sensors[clean & (merged.became != NOT_READ)]), merged.repeated
    return {
        sensors_id: Counts(
            new=new[sensors_id],
            revised=revised[sensors_id],
            identical=identical[sensors_id] + again[sensors_id],
            clean=good[sensors_id] + again[sensors_id],
        )
        for sensors_id in (new | revised | identical)
    }


def _span(rows: pa.Table) -> tuple[datetime, datetime]:
    """Return the first and the last stamp."""
    found = pc.min_max(rows.column("datetime")).as_py()
    return found["min"].replace(tzinfo=UTC), found["max"].replace(tzinfo=UTC)


def _stamps(table: pa.Table) -> NDArray[np.datetime64]:
    """Return the stamps as numbers of microseconds without a zone."""
    return np.asarray(table.column("datetime").combine_chunks().cast(pa.int64())).astype("datetime64[us]")


def _between(table: pa.Table, start: datetime, end: datetime) -> Marks:
    """Say of each row whether start <= stamp < end."""
    stamps = _stamps(table)
    low, high = (np.datetime64(moment.replace(tzinfo=None), "us") for moment in (start, end))
    return np.asarray((stamps >= low) & (stamps < high))
