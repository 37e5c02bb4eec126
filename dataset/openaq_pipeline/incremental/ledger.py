"""The completeness of a copy, a sensor's day at a time: what is here, what should be, and who lacks what. Pure.

A **sensor-day** is a day at the station: the rows of one sensor with stamps (period ends) in (local midnight, next
local midnight], as the files of OpenAQ's archive have it. A sensor has days from the first one on of which anybody,
this copy or the archive, has a row. Each is exactly one of these, the first that applies:

1. **our gap**: the archive has rows of it that are neither stored here nor rejected as no measurements; or rows of it
   were stored and are not here any more: an earlier look saw them, or the sensor's state says that all was stored up to
   a watermark behind the last row that is here. Always so, however full the day looks.
2. **not due**: it is not over yet.
3. **unknown**: it is old enough for the archive (`ARCHIVE_AFTER` its end), but was not compared: offline, the archive
   or the day's file could not be read. Only the archive can tell then, so it is never called complete or an upstream
   gap, not even where no row seems to be missing.
4. **broken sensor**: it is not full, and lies behind the watermark of a sensor that is parked, because OpenAQ answers
   questions for its series with errors.
5. **complete**: it is full, and the archive has no row of it that we lack. Of a day too young for the archive, that
   it is full is all that can be told, and must do.
6. **upstream gap**: it is not full, and the archive has no more rows of it than we do: OpenAQ never had them, or lost
   them. (Where rows are here of a day for which the archive has no file at all, it was not exported, and nothing
   follows from that: unknown.)
7. **not due**: too young for the archive, not full, and OpenAQ was not asked since its end, which is less than
   `ASKED_WITHIN` ago; or nothing tells how many rows it should have, and the archive will.
8. **unknown**: OpenAQ was not asked since it ended, longer ago than that: the poller stands still.
9. **late**: OpenAQ was asked since, and did not have all rows yet. They may still come.

**Full** means: each step of the sensor's grid that ends in the day has a row. The grid is the spacing of its rows as
`rhythm` finds it among the `CHUNK_DAYS` days around; where too few rows tell, that of the days before; where the rows
are irregular there is no grid, and a day is full if it was compared and has a row.

**Where the truth ends.** The archive is a copy of OpenAQ's database, made three days after each day and anew when rows
come later. Rows that OpenAQ has and did not export, and rows of sensors of which neither it nor we have any, are not
seen. A row whose value was revised is there on both sides: the ledger counts rows and compares no values.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from openaq_pipeline.incremental.plan import ARCHIVE_AFTER
from openaq_pipeline.incremental.rhythm import phase_of, step_of

Kind = Literal["complete", "late", "upstream_gap", "our_gap", "broken_sensor", "not_due", "unknown"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ASKED_WITHIN = timedelta(hours=24)
"""So long after a day's end a poll should have been here, however seldom they come."""

CHUNK_DAYS = 28
"""So many days tell the grid of each: enough rows of a daily sensor, and short enough for one that changes its ways."""

Numbers = NDArray[np.int64]
Stamps = NDArray[np.int64]
"""Moments in microseconds since 1970, ascending and each once."""

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NONE = -1
"""In arrays and files: this was not told."""


class Facts(NamedTuple):
    """What is known of a sensor-day that ends at `end`.

    `held` rows are stored. `due` steps of the grid end in it, of which `absent` have no row; None: there is no grid.
    `upstream` rows are in the archive, and `lacked` of them not here; None: it was not compared. `exported`: the
    archive has a file of the day, or nobody has a row of it.
    """

    end: datetime
    held: int
    due: int | None = None
    absent: int = 0
    upstream: int | None = None
    lacked: int = 0
    exported: bool = True

    @property
    def is_full(self) -> bool:
        """Say whether no row is missing, as far as the grid tells; without one, whether the archive vouches for it."""
        return self.upstream is not None and self.held > 0 if self.due is None else not self.absent


class Standing(NamedTuple):
    """What is known of a sensor: up to when OpenAQ was `asked` for its rows (None: nobody knows), and its state."""

    asked: datetime | None = None
    watermark: datetime | None = None
    is_parked: bool = False

    def is_broken_at(self, end: datetime) -> bool:
        """Say whether a day that ends then lies beyond what a parked sensor told before it was."""
        return self.is_parked and (self.watermark is None or self.watermark < end)


def is_in_archive(end: datetime, now: datetime) -> bool:
    """Say whether a day that ended then is old enough to be in the archive."""
    return now - end >= ARCHIVE_AFTER


def kind_of(day: Facts, sensor: Standing, now: datetime) -> Kind:
    """Return which kind of sensor-day it is, see above."""
    if day.lacked:
        return "our_gap"
    if now < day.end:
        return "not_due"
    if day.upstream is None and is_in_archive(day.end, now):
        return "unknown"
    if day.is_full:
        return "complete"
    return "broken_sensor" if sensor.is_broken_at(day.end) else _short(day, sensor, now)


def _short(day: Facts, sensor: Standing, now: datetime) -> Kind:
    """Return what a day is that is over and not full, of a sensor that OpenAQ answers for."""
    if day.upstream is not None:
        return "upstream_gap" if day.exported else "unknown"
    if sensor.asked is None or sensor.asked < day.end:
        return "not_due" if now - day.end < ASKED_WITHIN else "unknown"
    return "not_due" if day.due is None else "late"


def midnights(zone: tzinfo, first: date, last: date) -> Stamps:
    """Return the midnights at a station from the one that begins the `first` day to the one that ends the `last`."""
    days = (first + DAY * number for number in range((last - first).days + 2))
    return np.array([number_of(datetime.combine(day, time(), zone)) for day in days], dtype=np.int64)


def day_of(stamp: datetime, zone: tzinfo) -> date:
    """Return the day at the station that a stamp belongs to: midnight ends one."""
    return (stamp - MICROSECOND).astimezone(zone).date()


def number_of(moment: datetime) -> int:
    """Return a moment in microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def moment_of(number: int) -> datetime:
    """Return the moment so many microseconds after 1970."""
    return EPOCH + number * MICROSECOND


def count(stamps: Stamps, bounds: Stamps) -> Numbers:
    """Return how many stamps each day has, of days between these midnights."""
    found: Numbers = np.diff(np.searchsorted(stamps, bounds, side="right"))
    return found


class Grid(NamedTuple):
    """How many steps of a sensor's grid each of some days has and how many of these have no row; `NONE`: no grid.

    `step_seconds` is the one of the last days, for those that follow; None: there is none.
    """

    due: Numbers
    absent: Numbers
    step_seconds: int | None


def grid(stamps: Stamps, held: Stamps, bounds: Stamps, step_seconds: int | None) -> Grid:
    """Return the grid of the days between these midnights, found in all `stamps` that anybody has; we have `held`.

    `step_seconds` is that of the days before. A row counts for the first stamp of the grid at or after it, so that a
    sensor that changes its minute of the hour has no hole there.
    """
    stamps, held, bounds = _in_seconds(stamps), _in_seconds(held), _in_seconds(bounds)
    due, absent = (np.full(len(bounds) - 1, NONE, dtype=np.int64) for _ in range(2))
    phase = 0
    for begin in range(0, len(bounds) - 1, CHUNK_DAYS):
        edges = bounds[begin : begin + CHUNK_DAYS + 1]
        seconds = _between(stamps, edges[0], edges[-1]).tolist()
        found = step_of(seconds)
        if found is not None or _tells(len(seconds), edges, step_seconds):
            step_seconds = found
        if step_seconds is None:
            continue
        phase = phase_of(seconds, step_seconds) if seconds else phase % step_seconds
        here = slice(begin, begin + len(edges) - 1)
        steps = (edges - phase) // step_seconds
        rows = _between(held, edges[0] - step_seconds, edges[-1])
        due[here] = np.diff(steps)
        absent[here] = due[here] - count(_once(-((phase - rows) // step_seconds)), steps)
    return Grid(due, absent, step_seconds)


def _tells(rows: int, edges: Stamps, step_seconds: int | None) -> bool:
    """Say whether so many rows would show a step if there were one: half of those that it had before, or more."""
    return step_seconds is None or 2 * rows * step_seconds >= edges[-1] - edges[0]


def _in_seconds(stamps: Stamps) -> Stamps:
    """Return stamps in seconds, fractions rounded up: a period has ended by then."""
    return _once(-(-stamps // 1_000_000))


def _once(numbers: Numbers) -> Numbers:
    """Return ascending numbers each once; numpy's own way looks at them as if they were in no order."""
    fresh = np.ones(len(numbers), dtype=bool)
    np.not_equal(numbers[1:], numbers[:-1], out=fresh[1:])
    return numbers[fresh]


def _between(stamps: Stamps, after: int, until: int) -> Stamps:
    low, high = np.searchsorted(stamps, [after, until], side="right")
    return stamps[low:high]


class Compared(NamedTuple):
    """What a comparison with the archive found of one sensor, a number a day.

    `upstream` is how many rows the archive has, `NONE` where it was not compared; `lacked` how many of them we neither
    have nor rejected, and `missing` their stamps, as far as they are known.
    """

    upstream: Numbers
    lacked: Numbers
    missing: Stamps


def uncompared(days: int) -> Compared:
    """Return what is known of so many days without the archive."""
    nothing = np.zeros(days, dtype=np.int64)
    return Compared(nothing + NONE, nothing, np.empty(0, dtype=np.int64))


class SensorDays(NamedTuple):
    """The days of one sensor between some midnights, a number and a kind a day; None: it has no such day yet.

    `due` and `absent` are `NONE` without a grid, `upstream` where it was not compared.
    """

    kinds: tuple[Kind | None, ...]
    held: Numbers
    due: Numbers
    absent: Numbers
    upstream: Numbers
    lacked: Numbers
    step_seconds: int | None

    @property
    def numbers(self) -> tuple[Numbers, ...]:
        """Return the numbers a day."""
        return self.held, self.due, self.absent, self.upstream, self.lacked

    @property
    def has_begun(self) -> bool:
        """Say whether its last day is one."""
        return self.kinds[-1] is not None


def no_days(count: int) -> SensorDays:
    """Return so many days of a sensor that has none of them yet."""
    nothing = np.zeros(count, dtype=np.int64)
    return SensorDays((None,) * count, nothing, nothing + NONE, nothing + NONE, nothing + NONE, nothing, None)


def sensor_days(
    held: Stamps,
    compared: Compared,
    exported: NDArray[np.bool_],
    bounds: Stamps,
    *,
    sensor: Standing,
    now: datetime,
    step_seconds: int | None = None,
    has_begun: bool = False,
) -> SensorDays:
    """Return the days of a sensor between midnights: we have the rows `held`, and of them and the archive `compared`.

    `exported` says of which days the archive has a file, or nobody a row. `step_seconds` is its spacing before these
    days, None if unknown; `has_begun`: somebody has a row of the days before.
    """
    here = count(held, bounds)
    stamps = np.union1d(held, compared.missing)
    due, absent, step_seconds = grid(stamps, held, bounds, step_seconds)
    gone = lost(held, sensor.watermark, bounds, step_seconds)
    lacked = np.where(compared.upstream == NONE, np.maximum(compared.lacked, gone), compared.lacked)
    begun = has_begun | (np.cumsum((here > 0) | (compared.upstream > 0) | (lacked > 0)) > 0)
    columns = (each.tolist() for each in (bounds[1:], here, due, absent, compared.upstream, lacked, exported, begun))
    kinds = tuple(
        kind_of(
            Facts(
                moment_of(end),
                rows,
                None if steps == NONE else steps,
                max(holes, 0),
                None if there == NONE else there,
                less,
                exported=told,
            ),
            sensor,
            now,
        )
        if alive
        else None
        for end, rows, steps, holes, there, less, told, alive in zip(*columns, strict=True)
    )
    return SensorDays(kinds, here, due, absent, compared.upstream, lacked, step_seconds)


def lost(held: Stamps, watermark: datetime | None, bounds: Stamps, step_seconds: int | None) -> Numbers:
    """Return by day how many rows are gone by the state's word: all that OpenAQ had was stored up to the watermark.

    That is so if the row at the watermark is not here, nor a later one, of all that are `held` up to the end of these
    days. Without a step, of those in between none is reckoned with.
    """
    nothing = np.zeros(len(bounds) - 1, dtype=np.int64)
    if watermark is None:
        return nothing
    last, newest = number_of(watermark), int(held[-1]) if len(held) else int(bounds[0])
    if newest >= last:
        return nothing
    step = max(step_seconds * 1_000_000 if step_seconds else last - newest, 1)
    return count(np.arange(last, newest, -step, dtype=np.int64)[::-1], bounds)
