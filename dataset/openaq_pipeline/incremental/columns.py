"""What is new, for years of rows at a time: `merge.merge` on Arrow columns. `merge` says what is right, this agrees."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openaq_pipeline.columns import HISTORY
from openaq_pipeline.incremental.merge import FACTS

API, ARCHIVE = "api", "archive"
NOT_READ, NEW, REVISED, IDENTICAL = range(4)

Places = NDArray[np.int64]
Marks = NDArray[np.bool_]


class MergedColumns(msgspec.Struct, frozen=True):
    """The outcome of a merge: `rows` by (sensors_id, datetime), and of each row what became of it in this read.

    `became` is NOT_READ, NEW, REVISED or IDENTICAL. `touched` marks the rows that are not as they were stored; an
    identical row is among them if the read told something of it that was not known. `repeated` counts by sensor the
    rows that were read twice.
    """

    rows: pa.Table
    became: NDArray[np.int8]
    touched: Marks
    repeated: Counter[int]


def merge(stored: pa.Table, incoming: pa.Table) -> MergedColumns:
    """Return stored and incoming rows (schema `HISTORY`) as one, unique by (sensors_id, datetime) and sorted by it.

    `stored` is unique already; of rows with one key in `incoming` the last wins.
    """
    table, order, first, last = _keys(stored, incoming)
    before, after = order[first], order[last]
    was_stored, was_read = before < stored.num_rows, after >= stored.num_rows
    pairs = np.flatnonzero(was_stored & was_read)
    revised, replaced = _compare(table, before[pairs], after[pairs])
    became = np.select([~was_read, ~was_stored], [NOT_READ, NEW], IDENTICAL).astype(np.int8)
    became[pairs[revised]] = REVISED
    chosen = after.copy()
    chosen[pairs[~replaced]] = before[pairs[~replaced]]
    rows = _taken(table, chosen)
    rows = _with_known(rows, table, pairs[replaced], before[pairs[replaced]])
    touched = became == NEW
    touched[pairs[replaced]] = True
    sensors = _numbers(table, "sensors_id")
    again = count(sensors[stored.num_rows :]) - count(sensors[after[was_read]])
    return MergedColumns(rows, became, touched, again)


def overlay(stored: pa.Table, rows: pa.Table) -> pa.Table:
    """Return stored rows with others over them, which win where a key is in both, sorted by (sensors_id, datetime)."""
    if not stored.num_rows:
        return rows
    table, order, _, last = _keys(stored, rows)
    return _taken(table, order[last])


def _keys(stored: pa.Table, incoming: pa.Table) -> tuple[pa.Table, Places, Places, Places]:
    """Return both tables as one, the order of its rows by key, and where in this order each key begins and ends."""
    table = pa.concat_tables([stored, incoming]).unify_dictionaries().combine_chunks()
    sensors, stamps = _numbers(table, "sensors_id"), _numbers(table, "datetime")
    order = _order(sensors, stamps)
    same_as_next = (np.diff(sensors[order]) == 0) & (np.diff(stamps[order]) == 0)
    ends_key = np.append(~same_as_next, True)[: len(order)]
    last = np.flatnonzero(ends_key)  # the order is stable: the last of a key is the last read
    return table, order, np.append(0, last[:-1] + 1)[: len(last)], last


def _order(sensors: Places, stamps: Places) -> Places:
    """Return the places of the rows by key, equal ones as they stand; rows in order already cost no sort."""
    steps = np.diff(sensors)
    if bool(np.all((steps > 0) | ((steps == 0) & (np.diff(stamps) > 0)))):
        return np.arange(len(sensors))
    return np.lexsort((stamps, sensors))


def _compare(table: pa.Table, before: Places, after: Places) -> tuple[Marks, Marks]:
    """Return for each pair of a stored and a read row whether it is a revision, and whether the read one stays."""
    source = _codes(table, "source")
    from_api, from_archive = (
        np.asarray(pc.equal(table.column("source").combine_chunks(), each)) for each in (API, ARCHIVE)
    )
    other_source = source[before] != source[after]
    kept = ~from_api[after] & ~(from_archive[after] & from_archive[before])  # what the API has said stands
    differs = _differs(table, "value", before, after)
    for name in ("parameter", "units"):
        codes = _codes(table, name)
        differs |= codes[before] != codes[after]
    differs |= ~other_source & _differs(table, "datetime_local", before, after)
    learnt = other_source.copy()
    for name in FACTS:
        known_before, known_after = _known(table, name)[before], _known(table, name)[after]
        differs |= known_before & known_after & _differs(table, name, before, after)
        learnt |= ~known_before & known_after
    revised = differs & ~kept
    return revised, (revised | learnt) & ~kept


def _with_known(rows: pa.Table, table: pa.Table, places: Places, before: Places) -> pa.Table:
    """Return the rows with what a replaced one knew: when it was first seen, and facts the new one does not tell."""
    if not len(places):
        return rows
    mask = np.zeros(rows.num_rows, dtype=bool)
    mask[places] = True
    for name in ("first_seen", *FACTS):
        column, known = rows.column(name).combine_chunks(), table.column(name).combine_chunks().take(pa.array(before))
        if name != "first_seen":
            known = pc.coalesce(column.filter(pa.array(mask)), known)
        column = pc.replace_with_mask(column, pa.array(mask), known)
        rows = rows.set_column(rows.schema.get_field_index(name), HISTORY.field(name), column)
    return rows


def _taken(table: pa.Table, places: Places) -> pa.Table:
    """Return the rows at the places; all of them in order cost no copy."""
    if len(places) == table.num_rows and bool(np.all(places == np.arange(len(places)))):
        return table
    return table.take(pa.array(places))


def count(sensors: Places) -> Counter[int]:
    """Return how often each sensor occurs."""
    ids, times = np.unique(sensors, return_counts=True)
    return Counter(dict(zip(ids.tolist(), times.tolist(), strict=True)))


def _numbers(table: pa.Table, name: str) -> Places:
    return np.asarray(table.column(name).combine_chunks().cast(pa.int64()))


def _codes(table: pa.Table, name: str) -> NDArray[np.int32]:
    """Return the numbers that stand for the texts of a dictionary column without nulls."""
    return np.asarray(table.column(name).combine_chunks().indices)


def _known(table: pa.Table, name: str) -> Marks:
    return np.asarray(pc.is_valid(table.column(name).combine_chunks()))


def _differs(table: pa.Table, name: str, before: Places, after: Places) -> Marks:
    """Say of each pair whether a column differs; null is a value like another."""
    column = table.column(name).combine_chunks()
    one, other = column.take(pa.array(before)), column.take(pa.array(after))
    neither_known = pc.and_(pc.is_null(one), pc.is_null(other))
    return ~np.asarray(pc.coalesce(pc.equal(one, other), neither_known))
