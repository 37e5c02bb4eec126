"""The series of a location's sensors in a window, as they are drawn: thinned with the extremes kept, gaps as gaps.

**Thinned** means: the span from the first row to the last is cut into buckets of one length, and of each the lowest and
the highest row stay, in the order in which they came, beside the first and the last row of all. So no peak is lost,
however much time a pixel stands for, and every point drawn is a row that is there.

**A gap** is where two rows are further apart than one and a half of the usual spacing of the rows around, or, thinned,
of a bucket if that is longer: what is shorter than a bucket can't be seen. It is told by a point without a value
between the two.

**Odd rows** have issues or flags. Those without a value, and sentinels, which are not measurements at all, are not
drawn as part of the line. All of them are counted, and told as far as there is room.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.model import Window
from openaq_pipeline.quality.rules import SENTINELS
from openaq_pipeline.reading.folder import history_file, years
from openaq_pipeline.reading.location import read_columns

COLUMNS = ("sensors_id", "parameter", "units", "value", "datetime", "has_flags", "issues")

LEAST_POINTS = 5
"""Two points and a gap of one bucket, and the first and the last row."""

MOST_ROWS = 10_000_000
"""More rows than this are not drawn at once: they take half a gigabyte. Ten hourly years of ten sensors are 900,000."""

MOST_ODD = 500
"""So many odd rows of a sensor are told."""

FLAGGED = "has_flags"
"""What stands beside the issues of a row that OpenAQ flags."""

GAP_STEPS = 1.5
ROWS_AROUND = 512
"""Among so many rows the usual spacing is found: a sensor may change its ways."""

REGULAR_SHARE, REGULAR_STEPS = 0.5, 0.1
"""Rows are regular if half of the spacings are, but for a tenth, the middle one."""

WIDE_SHARE = 0.95
"""Of irregular rows, so many spacings are no gap."""

SECOND_US = 1_000_000

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Series(msgspec.Struct, frozen=True):
    """A sensor's rows in a window.

    `times` are ends of periods in seconds since 1970, ascending; `values` belong to them, None: a gap. `odd` are rows
    with issues or flags: when, what value (None: none), and the names of the issues, with `has_flags` for a flag; of
    `odd_rows` that there are, those with issues first if there is no room for all. `rows` is how many the window has;
    `thinned`: not all of them are among the points.
    """

    sensors_id: int
    parameter: str
    units: str
    times: list[int]
    values: list[float | None]
    odd: list[tuple[int, float | None, tuple[str, ...]]]
    odd_rows: int
    rows: int
    thinned: bool


def series(
    folder: Path,
    location_id: int,
    window: Window,
    *,
    most_points: int,
    parameters: Collection[str] | None = None,
    sensors_ids: Collection[int] | None = None,
) -> tuple[Series, ...]:
    """Return the series of each sensor that has a row in the window (start, end], by parameter and id.

    None of them has more than `most_points`, gaps with them, of which there are at least `LEAST_POINTS`. `parameters`
    by name and `sensors_ids` leave others out; None: all. Raises `StorageError` for files that can't be read, and
    `ConfigError` for a window with more than `MOST_ROWS` in the history.
    """
    _check_size(folder, location_id, window)
    table = read_columns(folder, location_id, window, COLUMNS)
    found = [
        _drawn(rows, max(most_points, LEAST_POINTS))
        for rows in _sensors(table)
        if (parameters is None or rows.parameter in parameters)
        and (sensors_ids is None or rows.sensors_id in sensors_ids)
    ]
    return tuple(sorted(found, key=lambda each: (each.parameter, each.sensors_id)))


def _check_size(folder: Path, location_id: int, window: Window) -> None:
    """Raise `ConfigError` for too many rows, by the footers of the history's files; a broken one is told in reading."""
    rows = 0
    for year in years(folder, location_id):
        if window.start.year <= year <= window.end.year:
            with suppress(OSError, pa.ArrowException):
                rows += pq.read_metadata(history_file(folder, location_id, year)).num_rows
    if rows > MOST_ROWS:
        raise ConfigError(f"These are up to {rows:,} rows, too many to be drawn at once", hint="Choose a shorter time.")


class _Rows(NamedTuple):
    """The rows of a sensor in the order of their times; `value` is NaN where there is none, `stamp` in microseconds.

    `places` are theirs in the column `issues`.
    """

    sensors_id: int
    parameter: str
    units: str
    stamp: Ints
    value: Floats
    has_issues: Bools
    is_flagged: Bools
    places: Ints
    issues: pa.ChunkedArray


def _sensors(table: pa.Table) -> Iterator[_Rows]:
    """Yield the rows of a table, which are in the order of their times, sensor by sensor."""
    ids = table.column("sensors_id").to_numpy()
    stamp = table.column("datetime").cast(pa.int64()).to_numpy()
    value = table.column("value").to_numpy()
    issues = table.column("issues")
    has_issues = pc.greater(pc.list_value_length(issues), 0).to_numpy()
    is_flagged = pc.fill_null(table.column("has_flags"), fill_value=False).to_numpy()
    order = np.argsort(ids, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(ids[order])) + 1).tolist(), len(ids)]
    for low, high in pairwise(edges):
        if low == high:
            continue
        places = order[low:high]
        last = int(places[-1])
        yield _Rows(
            int(ids[last]),
            table.column("parameter")[last].as_py(),
            table.column("units")[last].as_py(),
            stamp[places],
            value[places],
            has_issues[places],
            is_flagged[places],
            places,
            issues,
        )


def _drawn(rows: _Rows, most_points: int) -> Series:
    is_drawn = np.isfinite(rows.value) & ~np.isin(rows.value, _SENTINELS)
    stamp, value = rows.stamp[is_drawn], rows.value[is_drawn]
    limit = _limits(rows.stamp)[is_drawn][1:]
    gaps = _gaps(stamp, limit)
    thinned = len(stamp) + len(gaps) > most_points
    if thinned:
        kept, length_us = _extremes(stamp, value, most_points)
        gaps = gaps[np.diff(stamp)[gaps] > GAP_STEPS * length_us]
        # A gap of rows lies between those of them that stay.
        gaps = np.unique(np.searchsorted(kept, gaps, side="right") - 1)
        stamp, value = stamp[kept], value[kept]
    odd_rows = np.flatnonzero(rows.has_issues | rows.is_flagged)
    return Series(
        rows.sensors_id,
        rows.parameter,
        rows.units,
        *_with_gaps(stamp // SECOND_US, value, gaps),
        _odd(rows, odd_rows),
        len(odd_rows),
        len(rows.stamp),
        thinned,
    )


_SENTINELS = np.array(sorted(SENTINELS))


def _limits(stamp: Ints) -> Floats:
    """Return for each row how far, in microseconds, the one before may be away without a gap between them."""
    found = np.zeros(len(stamp))
    spacing = np.diff(stamp)
    for low in range(0, len(spacing), ROWS_AROUND):
        # The last rows are few: they are judged with those before.
        around = spacing[max(0, min(low, len(spacing) - ROWS_AROUND)) : low + ROWS_AROUND]
        usual = float(np.median(around))
        near = np.abs(around - usual) <= REGULAR_STEPS * usual
        widest = usual if near.mean() >= REGULAR_SHARE else float(np.quantile(around, WIDE_SHARE))
        found[low + 1 : low + 1 + ROWS_AROUND] = GAP_STEPS * widest
    return found


def _gaps(stamp: Ints, limit: Floats) -> Ints:
    """Return the places of the rows that a gap follows."""
    return np.flatnonzero(np.diff(stamp) > limit)


def _extremes(stamp: Ints, value: Floats, most_points: int) -> tuple[Ints, int]:
    """Return the places of the rows that stay, ascending, and how long a bucket is in microseconds.

    A bucket leaves two points, and no more gaps are longer than a bucket than there are buckets.
    """
    span = int(stamp[-1] - stamp[0]) + 1
    length_us = -(-span // ((most_points - 2) // 3))
    number = (stamp - stamp[0]) // length_us
    order = np.lexsort((value, number))
    edges = np.flatnonzero(np.diff(number[order]))
    lowest, highest = order[np.append(0, edges + 1)], order[np.append(edges, len(order) - 1)]
    return np.unique(np.concatenate([lowest, highest, [0, len(stamp) - 1]])), length_us


def _with_gaps(seconds: Ints, value: Floats, gaps: Ints) -> tuple[list[int], list[float | None]]:
    """Return points with one without a value after each of these places."""
    between = seconds[gaps] + (seconds[gaps + 1] - seconds[gaps]) // 2
    times = np.insert(seconds, gaps + 1, between).tolist()
    values = np.insert(value, gaps + 1, np.nan).tolist()
    return times, [None if each != each else each for each in values]  # noqa: PLR0124 - what is no number is not itself


def _odd(rows: _Rows, odd: Ints) -> list[tuple[int, float | None, tuple[str, ...]]]:
    """Return those odd rows that there is room for, in the order of their times."""
    if len(odd) > MOST_ODD:
        with_issues = rows.has_issues[odd]
        first = _some(odd[with_issues], MOST_ODD)
        odd = np.sort(np.concatenate([first, _some(odd[~with_issues], MOST_ODD - len(first))]))
    names = rows.issues.take(pa.array(rows.places[odd])).to_pylist()
    flags = rows.is_flagged[odd].tolist()
    values = (None if np.isnan(value) else value for value in rows.value[odd].tolist())
    told = (tuple(found) + (FLAGGED,) * flag for found, flag in zip(names, flags, strict=True))
    return list(zip((rows.stamp[odd] // SECOND_US).tolist(), values, told, strict=True))


def _some(places: Ints, most: int) -> Ints:
    """Return so many of some places at most, from all over them."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).astype(np.int64)] if most else places[:0]
