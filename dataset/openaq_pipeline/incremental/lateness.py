"""How late a sensor's rows come, and so how far back of its newest row each read has to begin.

Lateness is counted in a histogram of a few numbers, a sensor's own, which lives in its state. Rows later than any read
reaches back are never seen and never counted: the wide daily sweep keeps a short look-back honest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import accumulate

BOUNDS_HOURS = (1, 2, 3, 6, 12, 24, 48, 72)
"""A bucket holds what is late by less than its bound, as the look-back of that length reads it: windows exclude their
start. One bucket more holds what is beyond."""

QUANTILE_PER_MILLE = 995

LEAST_COUNTED = 5 * 1000 // (1000 - QUANTILE_PER_MILLE)
"""1,000: so many rows have five beyond the quantile on average. See `look_back`."""

HALVED_ABOVE = 4 * LEAST_COUNTED
"""When the sum passes this, all counts are halved: what was counted before weighs less and less, and a sensor that
changes for good has outweighed its past after some months of hourly rows."""


def late_by(stamp: datetime, read_to: datetime, now: datetime) -> timedelta:
    """Return how late a row is that is new now; zero if it lies after `read_to`, up to where was read before.

    `now` is what its lateness is told from. A sensor that was never read before has no lateness yet: its first load
    is no news.
    """
    return timedelta(0) if stamp > read_to else max(now - stamp, timedelta(0))


def counted(histogram: tuple[int, ...], lateness: Iterable[timedelta]) -> tuple[int, ...]:
    """Return the histogram with some more rows in it; those on time count too, in the first bucket.

    An empty histogram, or one of other bounds, begins anew. Halves are rounded up, so that seldom late rows are not
    forgotten at each halving; the eight ones that may stay behind are less than the quantile leaves out of 2,000.
    """
    counts = list(histogram) if len(histogram) == len(BOUNDS_HOURS) + 1 else [0] * (len(BOUNDS_HOURS) + 1)
    for late in lateness:
        counts[bisect_right(BOUNDS_HOURS, late / timedelta(hours=1))] += 1
    while sum(counts) > HALVED_ABOVE:
        counts = [(count + 1) // 2 for count in counts]
    return tuple(counts)


def look_back(histogram: tuple[int, ...], *, usual: timedelta, least: timedelta, most: timedelta) -> timedelta:
    """Return the shortest look-back that would have found 99.5 % of the rows, within least and most.

    It is the bound of the bucket that holds the 99.5th percentile, by the inverse of the empirical distribution
    (definition 1 of Hyndman & Fan 1996, "Sample Quantiles in Statistical Packages"): nothing between two bounds is made
    up. With fewer than 1,000 rows it is `usual`, because so few do not tell. Of n rows so late that one in 200 is, none
    at all has come with probability 0.995**n (Wilks 1941, "Determination of Sample Sizes for Setting Tolerance
    Limits"): of 200 in 37 % of the cases, of 1,000 in 0.7 %. And a bound beyond which 2 % of all rows lie is taken for
    long enough if at most 5 of n = 1,000 lie there, which for a binomial count of mean 20 has a chance of 1 in 15,600.
    """
    total = sum(histogram)
    if total < LEAST_COUNTED or len(histogram) != len(BOUNDS_HOURS) + 1:
        return usual
    enough = (found * 1000 >= total * QUANTILE_PER_MILLE for found in accumulate(histogram))
    bucket = next(place for place, is_enough in enumerate(enough) if is_enough)
    bound = timedelta(hours=BOUNDS_HOURS[bucket]) if bucket < len(BOUNDS_HOURS) else most
    return max(least, min(bound, most))
