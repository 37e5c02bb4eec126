"""Which window of each sensor a run asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from openaq_pipeline.model import SensorState, Window

SWEEP_EVERY = timedelta(hours=24)
LONGEST_PARKING = timedelta(hours=24)
PAGE_ROWS = 1000
USUAL_INTERVAL = timedelta(hours=1)

ARCHIVE_AFTER = timedelta(days=4)
"""A day is in the archive 72 hours after its end (OPENAQ section 5); one more for time zones and the export itself."""


def is_parked(state: SensorState, now: datetime) -> bool:
    """Say whether a sensor is parked and its next probe not yet due; one too far ahead is of a clock set back since."""
    return state.parked_until is not None and timedelta(0) < state.parked_until - now <= LONGEST_PARKING


def is_sweep_due(state: SensorState, now: datetime) -> bool:
    """Say whether the wide look-back is due: daily, and at once where a clock set back makes the last one lie ahead."""
    return state.swept is None or not timedelta(0) <= now - state.swept < SWEEP_EVERY


def plan_window(
    state: SensorState, now: datetime, *, initial: timedelta, lookback: timedelta, sweep: timedelta
) -> Window | None:
    """Return the window (watermark - look-back, now] of one sensor; None: nothing to ask (parked, or clock behind).

    A sensor without a watermark starts `initial` ago, or further back if it was read since and was still silent then;
    one whose window was never read whole starts at least as far back, because there may be holes behind its watermark.
    Once a day the look-back is the wider of `lookback` and `sweep`, for rows that came later than usual; one that is
    overdue reaches back as far as it would have on its day, or what came since would be beyond it. Bounds are whole
    seconds, as OpenAQ's are.
    """
    if is_parked(state, now):
        return None
    if state.watermark is None:
        start = now - initial if state.swept is None else min(now - initial, state.swept - lookback)
    else:
        swept = is_sweep_due(state, now)
        start = min(state.watermark, now) - (max(lookback, sweep) if swept else lookback)
        if state.swept is None:
            start = min(start, now - initial)
        elif swept:
            start = min(start, state.swept - max(sweep - SWEEP_EVERY, timedelta(0)))
    window = Window(start.replace(microsecond=0), now.replace(microsecond=0))
    return window if window.length > timedelta(0) else None


def live_from(newest: datetime | None, now: datetime, live_days: int) -> datetime:
    """Return the start of the month in which the live window begins, `live_days` before the newest row or now.

    What is older belongs into the history. Whole months move, because a move rewrites the location's year. The newest
    row (None: there is none) holds it back where a clock runs ahead, so that a wrong clock moves nothing.
    """
    end = now if newest is None else min(now, newest)
    first = datetime.min.replace(tzinfo=UTC)
    start = end - timedelta(days=live_days) if end - first > timedelta(days=live_days) else first
    return start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def requests_for(windows: Iterable[Window], interval: timedelta = USUAL_INTERVAL) -> int:
    """Return how many requests the windows will cost if a row comes every interval: one for each page begun."""
    return sum(math.ceil(max(1.0, (window.length / interval + 1) / PAGE_ROWS)) for window in windows)


def reported(window: Window, first: datetime | None, last: datetime | None) -> Window:
    """Return the part of a window in which its location has rows, as far as OpenAQ's first and last stamp of it tell.

    For reckoning alone: what is asked is the whole window. None: OpenAQ names no such stamp.
    """
    start = window.start if first is None else min(max(window.start, first - USUAL_INTERVAL), window.end)
    return Window(start, window.end if last is None else max(start, min(window.end, last)))


def minutes_for(requests: int, *, per_minute: int, per_hour: int) -> float:
    """Return how many minutes so many requests take at least, on an unused budget: full minutes and hours are waits."""
    if requests <= 0:
        return 0.0
    full_hours, rest = divmod(requests - 1, min(per_hour, 60 * per_minute))
    return full_hours * 60.0 + rest // per_minute


def room_for(gap: timedelta, *, per_minute: int, per_hour: int) -> int:
    """Return how many requests a key allows in a gap between two runs, a minute's at least."""
    minutes = max(1.0, gap / timedelta(minutes=1))
    return max(1, min(per_minute, per_hour), math.floor(min(per_minute * minutes, per_hour * minutes / 60)))


def minutes_left(requests: int, *, used_minute: int, used_hour: int, per_minute: int, per_hour: int) -> float:
    """Return how many minutes so many more requests take at least, where some of this minute and hour are used up."""
    if requests <= 0:
        return 0.0
    minutes = minutes_for(requests + min(used_minute, per_minute), per_minute=per_minute, per_hour=per_hour)
    room = max(0, per_hour - used_hour)
    if requests <= room:
        return minutes
    # Where the limit of the minute is the narrower one, its waits may be longer than that for the next hour.
    return max(minutes, 60.0 + minutes_for(requests - room, per_minute=per_minute, per_hour=per_hour))


def reserve_for(
    requests_per_poll: int, hours_between_polls: float, *, per_minute: int, per_hour: int
) -> tuple[int, int]:
    """Return how many requests of a minute and of an hour a backfill leaves to the polls.

    Of an hour what the polls in it ask, one whole poll at least; of a minute the same, but half of it at most: a poll
    that asks more takes some minutes anyway.
    """
    polls_per_hour = max(1.0, 1.0 / hours_between_polls)
    return (
        min(requests_per_poll, per_minute // 2),
        min(math.ceil(requests_per_poll * polls_per_hour), per_hour),
    )
