"""`/hours`, `/days`, `/years` and their kin: rows grouped by the station's local calendar."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from openaq_pipeline.simulator.clock import from_us, to_us
from openaq_pipeline.simulator.series import clock_face, flags_of
from openaq_pipeline.simulator.times import spoken, zone
from openaq_pipeline.simulator.worlds.model import HOUR_US, Row, Sensor, Station

Unit = Literal["hour", "day", "month", "year"]


class Grouping(NamedTuple):
    """How an endpoint groups and labels; `precomputed` ones measure their coverage from the first stamp."""

    unit: Unit
    label: str
    interval: str
    precomputed: bool = False


class Bucket(NamedTuple):
    """The rows whose periods end within (start, end]."""

    start_us: int
    end_us: int
    rows: list[Row]


def buckets(rows: Iterator[Row], unit: Unit, zone_name: str) -> Iterator[Bucket]:
    """Group rows, oldest first, by the local hour, day, month or year in which their period lies."""
    local = zone(zone_name)

    def begin(row: Row) -> int:
        return _begin_us(row.stamp_us, unit, local)

    for start_us, group in groupby(rows, key=begin):
        yield Bucket(start_us, _end_us(start_us, unit, local), list(group))


def told(bucket: Bucket, grouping: Grouping, station: Station, sensor: Sensor) -> dict[str, Any]:
    """Return a bucket as OpenAQ prints it; `value` is null if none of its rows has one."""
    values = sorted(row.value for row in bucket.rows if row.value is not None)
    name = station.timezone
    parameter = sensor.parameter
    flags = flags_of(station, sensor)
    return {
        "value": significant(statistics.fmean(values)) if values else None,
        "flagInfo": {"hasFlags": any(a <= bucket.end_us and b >= bucket.start_us for a, b in flags)},
        "parameter": {
            "id": parameter.id,
            "name": parameter.name,
            "units": parameter.units,
            "displayName": None,
        },
        "period": {
            "label": grouping.label,
            "interval": grouping.interval,
            "datetimeFrom": spoken(bucket.start_us, name),
            "datetimeTo": spoken(bucket.end_us, name),
        },
        "coordinates": None,
        "summary": summary(values),
        "coverage": _coverage(bucket, grouping, name, sensor.interval_us),
    }


def summary(values: list[float]) -> dict[str, float | None]:
    """Return order statistics, mean and sample deviation of sorted values; all None if there are none."""
    points = {"q02": 0.02, "q25": 0.25, "median": 0.5, "q75": 0.75, "q98": 0.98}
    shown: dict[str, float | None] = {"min": values[0] if values else None}
    shown |= {name: percentile(values, share) if values else None for name, share in points.items()}
    shown["max"] = values[-1] if values else None
    shown["avg"] = statistics.fmean(values) if values else None
    shown["sd"] = statistics.stdev(values) if len(values) > 1 else None
    return shown


def percentile(values: list[float], share: float) -> float:
    """Return the value with `share` of sorted values below it, interpolated (as `percentile_cont` in SQL)."""
    place = share * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def significant(value: float, digits: int = 3) -> float:
    """Return a value rounded to significant digits, as OpenAQ rounds all aggregates (section 2.7)."""
    if value == 0:
        return 0.0
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def _coverage(bucket: Bucket, grouping: Grouping, zone_name: str, interval_us: int) -> dict[str, Any]:
    length = bucket.end_us - bucket.start_us
    expected, observed = max(length // interval_us, 1), len(bucket.rows)
    percent = float(round(100 * observed / expected))
    first = bucket.rows[0].stamp_us - (0 if grouping.precomputed else interval_us)
    return {
        "expectedCount": expected,
        "expectedInterval": clock_face(length),
        "observedCount": observed,
        "observedInterval": clock_face(observed * interval_us),
        "percentComplete": percent,
        "percentCoverage": percent,
        "datetimeFrom": spoken(first, zone_name),
        "datetimeTo": spoken(bucket.rows[-1].stamp_us, zone_name),
    }


def _begin_us(stamp_us: int, unit: Unit, local: ZoneInfo) -> int:
    # A stamp is the end of its period: what ends at midnight belongs to the day before.
    moment = from_us(stamp_us - 1).astimezone(local)
    if unit == "hour":
        # By arithmetic, because the hour after a clock change has the same local name as the one before.
        return to_us(moment) - (moment.minute * 60 + moment.second) * 1_000_000 - moment.microsecond
    return _local_us(_floor(moment, unit), local)


def _end_us(start_us: int, unit: Unit, local: ZoneInfo) -> int:
    if unit == "hour":
        return start_us + HOUR_US
    begin = from_us(start_us).astimezone(local)
    beyond: dict[str, Callable[[], datetime]] = {
        "day": lambda: begin.replace(tzinfo=None) + timedelta(days=1),
        "month": lambda: begin.replace(tzinfo=None) + timedelta(days=32),
        "year": lambda: begin.replace(tzinfo=None) + timedelta(days=370),
    }
    return _local_us(_floor(beyond[unit](), unit), local)


def _floor(moment: datetime, unit: Unit) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "year":
        return midnight.replace(month=1, day=1)
    return midnight.replace(day=1) if unit == "month" else midnight


def _local_us(moment: datetime, local: ZoneInfo) -> int:
    return to_us(moment.replace(tzinfo=local).astimezone(UTC))
