"""A made-up copy of OpenAQ's archive in a folder, written as its exporter writes: 120 rows a file, quoted, CRLF."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from openaq_pipeline.simulator.worlds import named
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
