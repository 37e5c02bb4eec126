"""A made-up copy of OpenAQ's archive in a folder, written as its exporter writes: 120 rows a file, quoted, CRLF."""

from __future__ import annotations

import gzip
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from openaq_pipeline.simulator.clock import from_us, to_us
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.model import Sensor, Station
from tests.archive_files import HEADER, archive_path

ZONE = timezone(timedelta(hours=5, minutes=45))
HOURS, DAY = 24, timedelta(days=1)
HEAD = (",".join(f'"{name}"' for name in HEADER) + "\r\n").encode()


class Course(NamedTuple):
    """How a parameter wanders: around a level, pulled back to it, by steps of such a size, rounded to three digits."""

    level: float
    step: float


COURSES = {
    "pm25": Course(35, 4),
    "pm10": Course(60, 7),
    "o3": Course(0.03, 0.004),
    "no2": Course(0.02, 0.003),
    "temperature": Course(18, 0.8),
}


def days_until(end: date, count: int) -> list[date]:
    """Return so many days, the last one in front of `end`."""
    return [end - back * DAY for back in range(count, 0, -1)]


def write(root: Path, days: Sequence[date], *, locations: int) -> int:
    """Write the files of the bench world's first locations for these local days; return the number of rows."""
    stations = named.bench(locations=locations, sensors=len(COURSES)).stations
    for station in stations:
        places = [root / archive_path(station.id, day) for day in days]
        for folder in {place.parent for place in places}:
            folder.mkdir(parents=True)
        for place, lines in zip(places, _files(station, days), strict=True):
            # Bytes that depend on nothing but the rows: no name and no time of packing.
            place.write_bytes(gzip.compress(HEAD + lines.encode(), mtime=0))
    return len(stations) * len(days) * len(COURSES) * HOURS


def write_shown(root: Path, world: World, first: date, last: date, now: datetime) -> int:
    """Write what a world shows at `now` of some local days, the last one included; return the number of rows."""
    count = 0
    for station in world.stations:
        zone = ZoneInfo(station.timezone)
        begin, end = (datetime(day.year, day.month, day.day, tzinfo=zone) for day in (first, last + DAY))
        lines: dict[date, list[str]] = defaultdict(list)
        for sensor in station.sensors:
            for row in world.rows(sensor, to_us(begin), to_us(end), to_us(now)):
                stamp = from_us(row.stamp_us).astimezone(zone)
                # Midnight ends the day before.
                day = (stamp - timedelta(microseconds=1)).date()
                lines[day].append(_line(station, sensor, stamp.isoformat(), row.value or 0.0))
        for day, found in lines.items():
            place = root / archive_path(station.id, day)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(gzip.compress(HEAD + "".join(found).encode(), mtime=0))
            count += len(found)
    return count


def _files(station: Station, days: Sequence[date]) -> Iterator[str]:
    """Yield the lines of each day, sensor after sensor."""
    walks = [(sensor, _walk(sensor)) for sensor in station.sensors]
    for day in days:
        stamps = list(_stamps(day))
        yield "".join(_line(station, sensor, stamp, next(values)) for sensor, values in walks for stamp in stamps)


def _stamps(day: date) -> Iterator[str]:
    """Yield the full hours, in UTC, of a local day as the archive writes them."""
    first = datetime(day.year, day.month, day.day, tzinfo=ZONE) + timedelta(minutes=45)
    for hour in range(HOURS):
        yield (first + timedelta(hours=hour)).isoformat()


def _line(station: Station, sensor: Sensor, stamp: str, value: float) -> str:
    place = f'{station.id},{sensor.id},"{station.name}-{station.id}","{stamp}",{station.latitude},{station.longitude}'
    return f'{place},"{sensor.parameter.name}","{sensor.parameter.units}",{value}\r\n'


def _walk(sensor: Sensor) -> Iterator[float]:
    """Yield values hour by hour: a random walk, not noise, so that hardly any of them is odd."""
    level, step = COURSES[sensor.parameter.name]
    noise, value = random.Random(sensor.id), level
    while True:
        value = abs(value + 0.05 * (level - value) + noise.gauss(0, step / 2))
        yield round(value, 3)
