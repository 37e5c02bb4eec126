"""What is odd about a measurement: each rule by its name, and the judge that applies them all.

The series tests are QARTOD's (U.S. IOOS, doi:10.7289/V5V40SD4), on irregular time steps. Values that say
nothing of the air (missing, sentinels, out of range) are stepped over: neighbours are the nearest believable
values before and after, and never further away than `neighbour_hours`.

The issues of a row depend on nothing but the row and the rows within `Judge.context` of it, so it does not
matter in which batches rows arrive or are judged again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

from openaq_pipeline.model import Measurement
from openaq_pipeline.settings import ANY_UNIT, ValidationSettings

RULES = (
    "missing_value",
    "sentinel_value",
    "out_of_range",
    "future_datetime",
    "implausible_datetime",
    "flat_line",
    "spike",
    "rate_of_change",
)
"""All names that `issues` can hold, in the order in which they stand there."""

SENTINELS = frozenset({-999.0, -9999.0, -99999.0, -999999.0, -999.9, -999.99, -9999.9, -9999.99, -8888.0})
"""Numbers that mean "no value". -999 is what OpenAQ's sources send (openaq-api#8, openaq-fetch#873); the
others are its usual relatives in instrument files. All are below any limit for a pollutant: positive ones
could be real."""

EARLIEST = datetime(2001, 1, 1, tzinfo=UTC)
"""No row can be older. OpenAQ began in 2015 and its tables start with 2016 (openaq-db,
tables/measurements.sql); a clock that lost its time starts at 1970-01-01 or 2000-01-01 and runs on, hence the
year's margin."""

T = TypeVar("T")

HOUR_SECONDS = 3600.0
EARLIEST_SECONDS = EARLIEST.timestamp()


class Limits(NamedTuple):
    """What holds for one parameter in one unit, `rate` per hour; None: not tested."""

    range: tuple[float, float] | None
    flat_line_seconds: float | None
    spike: float | None
    rate: float | None


class Judge:
    """Applies the rules with one set of limits.

    `gap_seconds`: values further apart are not compared. `future_seconds`: so long after a row was first seen may its
    period end.
    """

    def __init__(self, validation: ValidationSettings) -> None:
        self._validation = validation
        self.future_seconds = validation.max_future_minutes * 60
        self.gap_seconds = validation.series_tests.neighbour_hours * HOUR_SECONDS

    @property
    def context(self) -> timedelta:
        """Return how far before a row, at most, other rows can change its issues.

        A flat line is proved by the first row that is at least the limit away, and steps are at most
        `neighbour_hours`. The second on top frees callers from minding whether their bounds are inclusive.
        """
        tests = self._validation.series_tests
        longest_hours = max(tests.flat_line_hours.values(), default=0)
        return timedelta(hours=longest_hours) + self.ahead

    @property
    def ahead(self) -> timedelta:
        """Return how far after a row, at most, other rows can change its issues: a spike wants the next value."""
        return timedelta(hours=self._validation.series_tests.neighbour_hours, seconds=1)

    @property
    def reach(self) -> timedelta:
        """Return how far around a changed row, at most, lie the rows it takes to judge anew all that it can change."""
        return self.context + self.ahead

    def limits(self, parameter: str, units: str) -> Limits:
        """Return the limits for a parameter in OpenAQ's unit string."""
        tests = self._validation.series_tests
        flat_line_hours = tests.flat_line_hours.get(parameter)
        return Limits(
            _by_unit(self._validation.parameter_ranges.get(parameter), units),
            None if flat_line_hours is None else flat_line_hours * HOUR_SECONDS,
            _by_unit(tests.spike.get(parameter), units),
            _by_unit(tests.rate_of_change.get(parameter), units),
        )

    def issues(self, series: Sequence[Measurement]) -> list[tuple[str, ...]]:
        """Return for each row, in the order given, the names of the rules it breaks, in the order of `RULES`.

        Rows are compared within their sensor, parameter and unit, in the order of their times; rows of
        several sensors in any order are therefore welcome too.
        """
        found: list[tuple[str, ...]] = [()] * len(series)
        for places in _places_by_series(series):
            rows = [series[place] for place in places]
            for rule, position in self._broken(rows):
                found[places[position]] += (rule,)
        return found

    def _broken(self, rows: list[Measurement]) -> Iterator[tuple[str, int]]:
        """Yield each broken rule with the position of the row; rows are one series in ascending time."""
        limits = self.limits(rows[0].parameter, rows[0].units)
        values = [row.value for row in rows]
        stamps = [row.datetime.timestamp() for row in rows]
        unusable: set[int] = set()
        for rule, positions in (
            ("missing_value", _missing(values)),
            ("sentinel_value", _sentinel(values)),
            ("out_of_range", _out_of_range(values, limits.range)),
        ):
            for position in positions:
                unusable.add(position)
                yield rule, position
        for position in _future(rows, stamps, self.future_seconds):
            yield "future_datetime", position
        for position in _implausible(stamps):
            yield "implausible_datetime", position
        yield from self._broken_between(values, stamps, unusable, limits)

    def _broken_between(
        self, values: list[float | None], stamps: list[float], unusable: set[int], limits: Limits
    ) -> Iterator[tuple[str, int]]:
        """Yield the series tests' verdicts on the rows that can be compared."""
        usable = [
            (position, value) for position, value in enumerate(values) if value is not None and position not in unusable
        ]
        kept = [value for _, value in usable]
        times = [stamps[position] for position, _ in usable]
        gap = self.gap_seconds
        if limits.flat_line_seconds is not None:
            for n in _flat_line(kept, times, limits.flat_line_seconds, gap):
                yield "flat_line", usable[n][0]
        if limits.spike is not None:
            for n in _spike(kept, times, limits.spike, gap):
                yield "spike", usable[n][0]
        if limits.rate is not None:
            for n in _rate_of_change(kept, times, limits.rate, gap):
                yield "rate_of_change", usable[n][0]


def _by_unit(table: Mapping[str, T] | None, units: str) -> T | None:
    """Return what the table has for the unit, else what it has for any; None if it has neither."""
    return None if table is None else table.get(units, table.get(ANY_UNIT))


def _places_by_series(rows: Sequence[Measurement]) -> list[list[int]]:
    """Return the places of each series' rows in ascending time; equal times keep the order given."""
    groups: dict[tuple[int, str, str], list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault((row.sensors_id, row.parameter, row.units), []).append(place)
    for places in groups.values():
        places.sort(key=lambda place: rows[place].datetime)
    return list(groups.values())


def _missing(values: Sequence[float | None]) -> Iterator[int]:
    """Yield where OpenAQ has a row without a value."""
    return (n for n, value in enumerate(values) if value is None)


def _sentinel(values: Sequence[float | None]) -> Iterator[int]:
    """Yield where the value is a number that means "no value"."""
    return (n for n, value in enumerate(values) if value in SENTINELS)


def _out_of_range(values: Sequence[float | None], bounds: tuple[float, float] | None) -> Iterator[int]:
    """Yield where the value is outside the bounds, which are themselves allowed."""
    if bounds is None:
        return iter(())
    low, high = bounds
    return (n for n, value in enumerate(values) if value is not None and not low <= value <= high)


def _future(rows: Sequence[Measurement], stamps: Sequence[float], allowed_seconds: float) -> Iterator[int]:
    """Yield where the period ends later than the allowed time after the row was first seen."""
    return (
        n
        for n, (row, stamp) in enumerate(zip(rows, stamps, strict=True))
        if stamp > row.first_seen.timestamp() + allowed_seconds
    )


def _implausible(stamps: Sequence[float]) -> Iterator[int]:
    """Yield where the time is older than any measurement can be."""
    return (n for n, stamp in enumerate(stamps) if stamp < EARLIEST_SECONDS)


def _flat_line(
    values: Sequence[float], times: Sequence[float], limit_seconds: float, gap_seconds: float
) -> Iterator[int]:
    """Yield the rows that repeat a value for at least the limit: the one that reaches it and all after.

    Equal means equal: a stuck sensor repeats its number, and a tolerance would make the answer depend on
    where the line began. A gap ends the line.
    """
    since = times[0] if times else 0.0
    for n in range(1, len(values)):
        if values[n] != values[n - 1] or times[n] - times[n - 1] > gap_seconds:
            since = times[n]
        elif times[n] - since >= limit_seconds:
            yield n


def _spike(values: Sequence[float], times: Sequence[float], limit: float, gap_seconds: float) -> Iterator[int]:
    """Yield the rows that stand out: |v[n] - (v[n-1] + v[n+1]) / 2| > limit, and not on one side only.

    The formula is QARTOD's. The second condition is ours: both steps must lead the same way out and be more
    than half of the limit. The formula alone also fires beside a spike and on both sides of a step, where
    nothing stands out. The first and the last row have one neighbour and pass.
    """
    half = limit / 2
    for n in range(1, len(values) - 1):
        up, down = values[n] - values[n - 1], values[n] - values[n + 1]
        if (up > half and down > half) or (up < -half and down < -half):
            far = abs(values[n] - (values[n - 1] + values[n + 1]) / 2) > limit
            widest = max(times[n] - times[n - 1], times[n + 1] - times[n])
            if far and widest <= gap_seconds:
                yield n


def _rate_of_change(values: Sequence[float], times: Sequence[float], limit: float, gap_seconds: float) -> Iterator[int]:
    """Yield the rows that changed too fast since the one before: |v[n] - v[n-1]| per hour > limit.

    Steps shorter than an hour count as an hour: the limits are made for hourly means, and two readings a
    minute apart would turn any noise into a huge rate.
    """
    for n in range(1, len(values)):
        change = abs(values[n] - values[n - 1])
        if change > limit:
            step = times[n] - times[n - 1]
            if step <= gap_seconds and change / max(step / HOUR_SECONDS, 1.0) > limit:
                yield n
