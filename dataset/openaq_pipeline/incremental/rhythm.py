"""On which grid of times a sensor reports, and which of its rows are missing there: only those can still come late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec

from openaq_pipeline.model import Rhythm

LEAST_ROWS = 4
LEAST_INTERVAL_SECONDS = 60

GRID_SHARE = 0.8
"""At least so many of the spacings are whole steps of the grid, else there is none."""

STEP_SHARE = 0.5
"""At least so many are one step. Whoever reports at odd minutes is on the grid of minutes too, with holes all over."""

MOST_HOLES = 24
"""So many of a sensor are remembered; who has more of them has other troubles, and is swept daily like all."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def interval_of(stamps: Sequence[datetime]) -> int | None:
    """Return the spacing in seconds of a sensor's rows, which may be in any order; None: irregular, or too few rows."""
    return step_of(_in_seconds(stamps))


def step_of(seconds: Sequence[int]) -> int | None:
    """Return the spacing of rows at these seconds, ascending and each once; None: irregular, or too few rows.

    It is the most common one, if most of the others are whole multiples of it (holes). One row off the grid is passed
    over, however few there are beside it. Steps of less than a minute count as irregular.
    """
    if len(seconds) < LEAST_ROWS:
        return None
    step = _usual(_spacings(seconds))
    if step < LEAST_INTERVAL_SECONDS:
        return None
    phase = phase_of(seconds, step)
    rest = [second for second in seconds if second % step == phase]
    spacings = _spacings(rest if LEAST_ROWS <= len(rest) == len(seconds) - 1 else seconds)
    whole, single = sum(spacing % step == 0 for spacing in spacings), spacings.count(step)
    return step if whole >= GRID_SHARE * len(spacings) and single >= STEP_SHARE * len(spacings) else None


def phase_of(seconds: Iterable[int], step: int) -> int:
    """Return how many seconds after whole steps from 1970 most rows are, of at least one."""
    return Counter(second % step for second in seconds).most_common(1)[0][0]


def holes(
    stamps: Sequence[datetime], interval_seconds: int, since: datetime, until: datetime, most: int = MOST_HOLES
) -> tuple[datetime, ...]:
    """Return the stamps in (since, until] at which a row is missing between two others, oldest first.

    The grid is the one that the latest rows are on, so that a station may change its minute of the hour; it begins at
    its first row. What comes after its last row is no hole but news to come, and rows after `until` count for nothing.
    If more than `most` are missing, they are the newest ones.
    """
    seconds = _in_seconds(stamp for stamp in stamps if stamp <= until)
    anchor = next((late for early, late in _backwards(seconds) if (late - early) % interval_seconds == 0), None)
    if anchor is None:
        return ()
    there = {second for second in seconds if (second - anchor) % interval_seconds == 0}
    found: list[datetime] = []
    first = max(min(there), _second(since))  # neither is a hole itself: the one is there, the other excluded
    for second in range(max(there), first, -interval_seconds):
        if second not in there:
            found.append(_EPOCH + second * _SECOND)
        if len(found) >= most:
            break
    return tuple(reversed(found))


def after_read(rhythm: Rhythm, stamps: Sequence[datetime], now: datetime, reach: timedelta) -> Rhythm:
    """Return a sensor's rhythm after its series was read up to `now`, with rows at these stamps.

    Holes older than `reach` are given up. Those in front of the first row read stay: nothing was said of them. Where
    fewer rows were read than tell an interval, the one known before stands.
    """
    interval = interval_of(stamps) if len(stamps) >= LEAST_ROWS else rhythm.interval_seconds
    first = min(stamps, default=now)
    known = [hole for hole in rhythm.holes if now - reach < hole < first]
    found = holes(stamps, interval, now - reach, now) if interval is not None else ()
    missing = (*known, *found)[-MOST_HOLES:] if interval is not None else ()
    return msgspec.structs.replace(rhythm, interval_seconds=interval, read_at=now, holes=missing)


def is_next(watermark: datetime | None, interval_seconds: int | None, stamp: datetime) -> bool:
    """Say whether a stamp is the very next step of a series; never, where no step or no row is known."""
    if watermark is None or interval_seconds is None:
        return False
    return stamp - watermark == timedelta(seconds=interval_seconds)


def _in_seconds(stamps: Iterable[datetime]) -> list[int]:
    return sorted({_second(stamp) for stamp in stamps})


def _second(stamp: datetime) -> int:
    return (stamp - _EPOCH) // _SECOND


def _spacings(seconds: Sequence[int]) -> list[int]:
    return [late - early for early, late in pairwise(seconds)]


def _backwards(seconds: list[int]) -> Iterable[tuple[int, int]]:
    """Return neighbours, the latest first."""
    return zip(reversed(seconds[:-1]), reversed(seconds), strict=False)


def _usual(spacings: Iterable[int]) -> int:
    """Return the most common one; of several the longest, because a row off the grid halves a spacing."""
    return max(Counter(spacings).items(), key=lambda found: (found[1], found[0]))[0]
