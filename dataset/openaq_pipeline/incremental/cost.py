"""What following many sensors costs, reckoned before anything is asked: requests, hours and disk. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from openaq_pipeline.incremental.plan import PAGE_ROWS, minutes_for

ROWS_PER_DAY = 24
"""Most sensors report hourly."""

LIVE_BYTES, HISTORY_BYTES = 304, 7
"""A row in the JSON files, and at most in the history; measured, see `What it costs` in the README."""

HALF_A_MONTH = 15
"""Whole months leave the JSON files, so that they hold so many days more than they must, on average."""


class Cost(NamedTuple):
    """Requests of the first load and of an hour after it, the hours that the first takes, and bytes after a year."""

    first_requests: int
    first_hours: float
    hourly_requests: int
    bytes_a_year: int


def cost_of(
    live: Mapping[int, int],
    silent: int,
    *,
    locations: int,
    initial_days: int,
    live_days: int,
    per_minute: int,
    per_hour: int,
) -> Cost:
    """Return what it costs to follow sensors: `live` ones, counted by parameter, and `silent` ones.

    An hour's requests are to hear what moved, by location or by pages of a parameter, whichever is cheaper, and to read
    a day's sweep of each sensor, a part of them in each hour.
    """
    sensors = sum(live.values())
    pages = math.ceil((initial_days * ROWS_PER_DAY + 1) / PAGE_ROWS)
    first = sensors * pages + silent
    heard = min(locations, sum(math.ceil(number / PAGE_ROWS) for number in live.values()))
    rows_a_day = sensors * ROWS_PER_DAY
    return Cost(
        first,
        minutes_for(first, per_minute=per_minute, per_hour=per_hour) / 60,
        heard + math.ceil(sensors / 24),
        rows_a_day * ((live_days + HALF_A_MONTH) * LIVE_BYTES + 365 * HISTORY_BYTES),
    )
