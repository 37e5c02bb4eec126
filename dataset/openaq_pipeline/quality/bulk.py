"""The rules of `rules.py` on Arrow columns: the same verdicts on years of rows at a time.

`rules.Judge` is the truth and tells why the rules are what they are. Here its arithmetic is repeated operation by
operation, in the same order and in the same floating point, so that the verdicts agree to the last bit: a row has the
same issues whether it came in a poll or with ten years of others.

numpy takes 0.1 s to import, so this module is imported only where pyarrow is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openaq_pipeline.columns import UTC_STAMP
from openaq_pipeline.quality.rules import EARLIEST_SECONDS, HOUR_SECONDS, RULES, SENTINELS, Judge, Limits

Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bits: TypeAlias = NDArray[np.uint8]

_BIT = {rule: np.uint8(1 << n) for n, rule in enumerate(RULES)}
"""A row's issues are one byte until the end; a ninth rule fails here."""

_UNUSABLE = _BIT["missing_value"] | _BIT["sentinel_value"] | _BIT["out_of_range"]
"""What a row can be that the series tests step over."""

_SENTINELS = np.array(sorted(SENTINELS))

_MANY_SERIES = 1000
"""More series than this are put together by parameter and unit, lest each becomes a round of tiny arrays."""

_EXACT_US = 2**53
"""Up to here a float holds every whole number; in microseconds, 285 years from 1970."""


class _Rows(NamedTuple):
    """The columns that the rules look at, as arrays; `kind` numbers the pairs of parameter and unit.

    `value` is NaN where `missing` is set. `stamp` and `seen` are microseconds since 1970.
    """

    sensor: Ints
    kind: Ints
    stamp: Ints
    seen: Ints
    value: Floats
    missing: Bools

    def taken(self, order: Ints) -> _Rows:
        """Return the rows in another order."""
        return _Rows(
            self.sensor[order],
            self.kind[order],
            self.stamp[order],
            self.seen[order],
            self.value[order],
            self.missing[order],
        )

    @property
    def begins(self) -> Bools:
        """Return where a series begins after another."""
        return _begins(self.sensor) | _begins(self.kind)


class _Comparable(NamedTuple):
    """The rows that say something, by series and time; `near`: whether a row and the next may be compared."""

    value: Floats
    stamp: Floats
    near: Bools


def issues(judge: Judge, table: pa.Table) -> pa.Array:
    """Return for each row of a table, in its order, the names of the rules it breaks: `Judge.issues` as list<string>.

    The table has at least the columns sensors_id, parameter, units, value, datetime and first_seen of
    `columns.HISTORY`. Any order of the rows is right; that of the sensor and then the time saves the sorting.
    """
    parameter, parameters = _numbered(table.column("parameter"))
    unit, units = _numbered(table.column("units"))
    rows = _rows(table, parameter * len(units) + unit)
    order = None if _in_order(rows) else np.lexsort((rows.stamp, rows.sensor, rows.kind))
    if order is not None:
        rows = rows.taken(order)
    # Huge values overflow to infinity, as they do without a word in Python.
    with np.errstate(over="ignore", invalid="ignore"):
        broken = _broken(
            judge, rows, lambda kind: judge.limits(parameters[kind // len(units)], units[kind % len(units)])
        )
    if order is not None:
        broken[order] = broken.copy()
    return _named(broken)


def _rows(table: pa.Table, kind: Ints) -> _Rows:
    """Return the table's columns as arrays."""
    value = table.column("value")
    return _Rows(
        sensor=table.column("sensors_id").to_numpy(),
        kind=kind,
        stamp=_microseconds(table.column("datetime")),
        seen=_microseconds(table.column("first_seen")),
        value=value.to_numpy(),
        missing=value.is_null().to_numpy(),
    )


def _microseconds(column: pa.ChunkedArray) -> Ints:
    """Return stamps as microseconds since 1970."""
    stamps: Ints = column.cast(UTC_STAMP).cast(pa.int64()).to_numpy()
    return stamps


def _numbered(column: pa.ChunkedArray) -> tuple[Ints, list[str]]:
    """Return the texts of a column as numbers, and the texts by their number."""
    encoded = (column if pa.types.is_dictionary(column.type) else column.dictionary_encode()).combine_chunks()
    # Arrow allows a dictionary that has a text twice.
    numbers: dict[str, int] = {}
    renumbered = np.array([numbers.setdefault(text, len(numbers)) for text in encoded.dictionary.to_pylist()], np.int64)
    return renumbered[encoded.indices.to_numpy()], list(numbers)


def _in_order(rows: _Rows) -> bool:
    """Say whether the rows of each series follow one another in ascending time, and the series are not too many."""
    begins = rows.begins
    heads = np.flatnonzero(begins)
    if heads.size > _MANY_SERIES or not np.all((np.diff(rows.stamp) >= 0) | begins[1:]):
        return False
    return len(set(zip(rows.sensor[heads].tolist(), rows.kind[heads].tolist(), strict=True))) == heads.size


def _begins(column: Ints) -> Bools:
    """Return where a column differs from the row before; the first row does."""
    begins = np.ones(column.size, bool)
    np.not_equal(column[1:], column[:-1], out=begins[1:])
    return begins


def _broken(judge: Judge, rows: _Rows, limits_of: Callable[[int], Limits]) -> Bits:
    """Return the rules that each row breaks; the rows are in the order that `_in_order` asks for."""
    stamps = _seconds(rows.stamp)
    broken = rows.missing * _BIT["missing_value"]
    broken |= np.isin(rows.value, _SENTINELS) * _BIT["sentinel_value"]
    broken |= (stamps > _seconds(rows.seen) + judge.future_seconds) * _BIT["future_datetime"]
    broken |= (stamps < EARLIEST_SECONDS) * _BIT["implausible_datetime"]
    series = np.cumsum(rows.begins, dtype=np.int64)
    bounds = np.append(np.flatnonzero(_begins(rows.kind)), rows.kind.size)
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        part = slice(first, last)
        limits = limits_of(int(rows.kind[first]))
        if limits.range is not None:
            outside = _outside(rows.value[part], limits.range) & ~rows.missing[part]
            broken[part] |= outside * _BIT["out_of_range"]
        usable = np.flatnonzero(broken[part] & _UNUSABLE == 0) + first
        near = (np.diff(stamps[usable]) <= judge.gap_seconds) & (np.diff(series[usable]) == 0)
        for rule, at in _odd(limits, _Comparable(rows.value[usable], stamps[usable], near)):
            broken[usable[at]] |= _BIT[rule]
    return broken


def _seconds(microseconds: Ints) -> Floats:
    """Return stamps as `datetime.timestamp` gives them: the float that is nearest to the quotient."""
    seconds: Floats = microseconds / 1e6
    # Beyond, the division rounds twice, and Python's does not.
    far = np.flatnonzero(np.abs(microseconds) > _EXACT_US)
    seconds[far] = [stamp / 1_000_000 for stamp in microseconds[far].tolist()]
    return seconds


def _outside(value: Floats, bounds: tuple[float, float]) -> Bools:
    """Return where the value is not within the bounds, which are themselves allowed."""
    low, high = bounds
    return ~((low <= value) & (value <= high))


def _odd(limits: Limits, rows: _Comparable) -> Iterator[tuple[str, Ints]]:
    """Yield the series tests' rules and which rows break them."""
    if limits.flat_line_seconds is not None:
        yield "flat_line", _flat_line(rows, limits.flat_line_seconds)
    if limits.spike is not None:
        yield "spike", _spike(rows, limits.spike)
    if limits.rate is not None:
        yield "rate_of_change", _rate_of_change(rows, limits.rate)


def _flat_line(rows: _Comparable, limit_seconds: float) -> Ints:
    """Return the rows that repeat a value for at least the limit."""
    value, stamp, near = rows
    repeats = np.flatnonzero((value[1:] == value[:-1]) & near) + 1
    first = np.ones(repeats.size, bool)
    np.not_equal(np.diff(repeats), 1, out=first[1:])
    since: Floats = stamp[repeats[first] - 1][np.cumsum(first) - 1]
    return repeats[stamp[repeats] - since >= limit_seconds]


def _spike(rows: _Comparable, limit: float) -> Ints:
    """Return the rows that stand out from both neighbours."""
    value, _, near = rows
    step = np.diff(value)
    rises, falls = (step > limit / 2) & near, (step < -(limit / 2)) & near
    out: Ints = np.flatnonzero((rises[:-1] & falls[1:]) | (falls[:-1] & rises[1:])) + 1
    far = np.abs(value[out] - (value[out - 1] + value[out + 1]) / 2) > limit
    return out[far]


def _rate_of_change(rows: _Comparable, limit: float) -> Ints:
    """Return the rows that changed too fast since the one before."""
    value, stamp, near = rows
    change = np.abs(np.diff(value))
    at = np.flatnonzero((change > limit) & near)
    hours = np.maximum((stamp[at + 1] - stamp[at]) / HOUR_SECONDS, 1.0)
    return at[change[at] / hours > limit] + 1


def _named(broken: Bits) -> pa.Array:
    """Return the rules that each row breaks by their names, in the order of `RULES`."""
    flags = np.unpackbits(broken[broken != 0][:, np.newaxis], axis=1, bitorder="little")
    names = pa.array(RULES).take(pa.array(np.nonzero(flags)[1]))
    offsets = np.zeros(broken.size + 1, np.int32)
    np.cumsum(np.bitwise_count(broken), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), names)
