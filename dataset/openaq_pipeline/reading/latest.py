"""What each sensor of a location measured last: the newest value, the hours of the last day, the air quality index.

It is read from the end of the location's file, however long that is: first the rows of the last day, found by
bisection, then, for sensors that have none in it, a stretch in front of these. A sensor that is silent for longer than
that stretch, or whose rows are all in the history, is not told of here.

No lock is held: a file is replaced as a whole, and rows that a move has left in both places are the same in both.
"""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import msgspec

from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import storage_error
from openaq_pipeline.model import UNREADABLE, Aware
from openaq_pipeline.quality import aqi
from openaq_pipeline.quality.aqi import Index
from openaq_pipeline.reading.folder import live_file
from openaq_pipeline.storage.locations import BETWEEN, HEAD, cut
from openaq_pipeline.storage.sealed import sealed_to
from openaq_pipeline.storage.view import View

DAY_HOURS = 24
HOUR, HOUR_SECONDS = timedelta(hours=1), 3600
DAY_SECONDS = 24 * HOUR_SECONDS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OLDER_BYTES = 1 << 19
"""So much in front of the last two days is searched for sensors that are silent: ten days of five hourly ones."""

MOST_BYTES = 32 << 20
"""The most that is read of one file, the newest rows of it; a day of a row a minute of ten sensors has 5 MB."""

KEPT_LOCATIONS = 10_000
"""So many locations are remembered, of some kilobytes each."""

NO_MEASUREMENT = frozenset(
    {"missing_value", "sentinel_value", "out_of_range", "future_datetime", "implausible_datetime"}
)
"""Rows with one of these issues say nothing of the air: they count for no mean. What is odd beside its neighbours does:
the first hour of smoke is a spike too."""

FULL_HOUR_SHARE = 0.75
"""So much of an hour its rows must cover to count for the index (40 CFR Part 58: three quarters make an hour)."""


class SensorLatest(msgspec.Struct, frozen=True):
    """The newest row of a sensor that is not later than the look, and its last day.

    `datetime` is the end of its period in UTC. `day` are the means of the last 24 hours, oldest first, the one that the
    look falls into last; a row counts for the hour that its period ends in, and is None if there was none that is a
    measurement. `aqi` is the index of the hours up to the newest row, None where it is not defined, where there are not
    enough of them, and where the row is more than a day old. `rows` are those of the last 24 hours, `odd` of them have
    issues or flags.
    """

    sensors_id: int
    parameter: str
    units: str
    value: float | None
    datetime: dt.datetime
    datetime_local: str
    interval_seconds: int | None
    issues: tuple[str, ...]
    has_flags: bool | None
    day: tuple[float | None, ...]
    aqi: Index | None
    rows: int = 0
    odd: int = 0


class Newest(NamedTuple):
    """The newest row of a parameter at a location, of several sensors the latest one."""

    sensors_id: int
    units: str
    value: float | None
    datetime: dt.datetime
    aqi: Index | None


class _Row(msgspec.Struct, frozen=True, gc=False):
    """What is needed of a row; what else stands there is passed over in reading."""

    location_id: int
    sensors_id: int
    parameter: str
    units: str
    value: float | None
    datetime: Aware
    datetime_local: str
    interval_seconds: int | None
    has_flags: bool | None
    issues: tuple[str, ...]


_decode = msgspec.json.Decoder(list[_Row]).decode
_names = re.compile(rb'"sensors_id":([0-9]{1,18}),').finditer
"""Whose rows some lines are: in the texts of a row a quotation mark has a backslash in front, and is none of these."""


class _Hour(NamedTuple):
    """The mean of an hour's measurements, None without any; whether they cover enough of it for the index.

    `rows` are all that the hour has, `odd` of them have issues or flags.
    """

    mean: float | None
    is_full: bool
    rows: int
    odd: int


class _Sensor(NamedTuple):
    """The newest row of a sensor and its hours, by their numbers since 1970."""

    row: _Row
    hours: dict[int, _Hour]


class _Found(NamedTuple):
    """What was read of a file while it had this `stamp`, at a look at `now`.

    It holds all rows since `since`, and the sensors that are silent for longer if it `has_older`. From `until` on there
    are rows that were still to come; None: there are none.
    """

    stamp: tuple[int, int, int] | None
    since: datetime
    until: datetime | None
    has_older: bool
    sensors: dict[int, _Sensor]

    def tells(self, stamp: tuple[int, int, int] | None, now: datetime, *, older: bool) -> bool:
        """Say whether it is still what another look would find."""
        is_same = self.stamp == stamp and (self.has_older or not older)
        return is_same and self.since <= _since(now) and (self.until is None or now < self.until)


_pack, _unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Found).decode


class _Kept:
    """What was read last of files; thread-safe. Packed: ten thousand would take half a gigabyte."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._guard = threading.Lock()
        self._found: OrderedDict[Path, bytes] = OrderedDict()

    def get(self, path: Path) -> _Found | None:
        with self._guard:
            found = self._found.get(path)
            if found is not None:
                self._found.move_to_end(path)
        return None if found is None else _unpack(found)

    def put(self, path: Path, found: _Found) -> None:
        packed = _pack(found)
        with self._guard:
            self._found[path] = packed
            self._found.move_to_end(path)
            while len(self._found) > self._most:
                self._found.popitem(last=False)


_kept = _Kept(KEPT_LOCATIONS)


def latest(folder: Path, location_id: int, now: datetime) -> tuple[SensorLatest, ...]:
    """Return the newest row and the last day of each sensor, by parameter and id; raises `StorageError`."""
    found = _look(folder, location_id, now, older=True)
    told = (_told(sensor, now) for sensor in found.sensors.values())
    return tuple(sorted(told, key=lambda each: (each.parameter, each.sensors_id)))


def newest(folder: Path, location_ids: Iterable[int], parameter: str, now: datetime) -> Iterator[tuple[int, Newest]]:
    """Yield for each location that measured a parameter within the last day its newest row, as for a map.

    A location whose file can't be read is left out: who looks at it alone is told why.
    """
    for location_id in location_ids:
        try:
            found = _look(folder, location_id, now, older=False)
        except StorageError:
            continue
        sensors = [each for each in found.sensors.values() if each.row.parameter == parameter]
        recent = [each for each in sensors if each.row.datetime > now - timedelta(hours=DAY_HOURS)]
        if recent:
            last = max(recent, key=lambda each: (each.row.datetime, -each.row.sensors_id))
            row = last.row
            yield location_id, Newest(row.sensors_id, row.units, row.value, row.datetime, _index(last, now))


def _look(folder: Path, location_id: int, now: datetime, *, older: bool) -> _Found:
    """Return what the end of a location's file tells, read anew if it has changed."""
    path = live_file(folder, location_id)
    kept, stamp = _kept.get(path), _stamp(path)
    if kept is not None and kept.tells(stamp, now, older=older):
        return kept
    found = _read(folder, location_id, path, now, older=older)._replace(stamp=stamp)
    _kept.put(path, found)
    return found


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return which version of a file is there; None: there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, path) from error
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _read(folder: Path, location_id: int, path: Path, now: datetime, *, older: bool) -> _Found:
    since = _since(now)
    sealed = sealed_to(folder, location_id)
    try:
        with View(path) as view:
            place = cut(view, since)
            recent = _rows(_lines(view, max(place.drop, place.end - MOST_BYTES), place.end), location_id)
            before = _lines(view, max(place.drop - OLDER_BYTES, 0), place.drop) if older else b""
            silent = _rows(_last_lines(before, {row.sensors_id for row in recent}), location_id)
    except UNREADABLE as error:
        raise StorageError(
            f"{path} is damaged", hint="The next run sets it aside, keeps every row it can read and goes on."
        ) from error
    rows = [row for row in (*silent, *recent) if sealed is None or row.datetime >= sealed]
    coming = min((row.datetime for row in rows if row.datetime > now), default=None)
    return _Found(None, since, coming, older, _sensors([row for row in rows if row.datetime <= now], since))


def _lines(view: View, start: int, end: int) -> bytes:
    """Return the lines that begin within these bytes, without the bracket and what separates them from those behind."""
    if 0 < start < end:
        first, line = view.line(start - 1)
        start = first + len(line) + 1  # the next line, unless one begins here
    return view.read(max(start, len(HEAD)), end) if end else b""


def _last_lines(lines: bytes, others: Container[int]) -> bytes:
    """Return of some lines, in their order, the last one of each sensor that is none of the `others`."""
    last = {found[1]: found.start() for found in _names(lines)}
    places = sorted(place for name, place in last.items() if int(name) not in others)
    ends = (lines.find(b"\n", place) for place in places)
    found = (lines[lines.rfind(b"\n", 0, place) + 1 : end] for place, end in zip(places, ends, strict=True) if end >= 0)
    return BETWEEN.join(line.removesuffix(b",") for line in found)


def _rows(lines: bytes, location_id: int) -> list[_Row]:
    """Return the rows of some lines; raises one of `UNREADABLE`."""
    rows = _decode(b"[" + lines + b"]")
    if any(row.location_id != location_id for row in rows):
        raise msgspec.DecodeError("a row is of another location")
    return rows


def _since(now: datetime) -> datetime:
    """Return the end of the hour in front of the first of the last 24, and of those that came before a row so old.

    The index of the newest row, which may be a day old, looks back for another day.
    """
    return EPOCH + (_hour(now) - 2 * DAY_HOURS) * HOUR


def _hour(moment: datetime) -> int:
    """Return the number of the hour that a period ends in: what ends at 12:00 is of the hour from 11:00."""
    return -int((EPOCH - moment) // HOUR) - 1


def _sensors(rows: Iterable[_Row], since: datetime) -> dict[int, _Sensor]:
    """Return the sensors of rows, which are in file order."""
    newest: dict[int, _Row] = {}
    hours: dict[int, dict[int, list[_Row]]] = {}
    for row in rows:
        newest[row.sensors_id] = row
        of_sensor = hours.setdefault(row.sensors_id, {})
        if row.datetime > since:
            of_sensor.setdefault(_hour(row.datetime), []).append(row)
    return {
        key: _Sensor(row, {hour: _summed(found) for hour, found in hours[key].items()}) for key, row in newest.items()
    }


def _summed(rows: list[_Row]) -> _Hour:
    """Return what an hour's rows tell of it; where OpenAQ does not say how long they took, they fill it."""
    measured = [row for row in rows if row.value is not None and NO_MEASUREMENT.isdisjoint(row.issues)]
    values = [row.value for row in measured if row.value is not None]
    covered = sum(HOUR_SECONDS if row.interval_seconds is None else row.interval_seconds for row in measured)
    mean = sum(values) / len(values) if values else None
    return _Hour(
        mean if mean is not None and isfinite(mean) else None,  # the sum of what is huge may be no number
        covered >= FULL_HOUR_SHARE * HOUR_SECONDS,
        len(rows),
        sum(bool(row.issues or row.has_flags) for row in rows),
    )


def _told(sensor: _Sensor, now: datetime) -> SensorLatest:
    row, last = sensor.row, _hour(now)
    day = [sensor.hours.get(hour) for hour in range(last - DAY_HOURS + 1, last + 1)]
    return SensorLatest(
        row.sensors_id,
        row.parameter,
        row.units,
        row.value,
        row.datetime.astimezone(UTC),
        row.datetime_local,
        row.interval_seconds,
        row.issues,
        row.has_flags,
        tuple(hour and hour.mean for hour in day),
        _index(sensor, now),
        sum(hour.rows for hour in day if hour),
        sum(hour.odd for hour in day if hour),
    )


def _index(sensor: _Sensor, now: datetime) -> Index | None:
    """Return the index of the hours up to the newest that is full, of a sensor that told something within a day."""
    row = sensor.row
    if row.datetime <= now - timedelta(hours=DAY_HOURS):
        return None
    if row.interval_seconds == DAY_SECONDS and row.parameter in {"pm25", "pm10"} and row.value is not None:
        found = aqi.index_of(row.parameter, row.units, row.value) if NO_MEASUREMENT.isdisjoint(row.issues) else None
        return found and msgspec.structs.replace(found, basis="24 hours")
    last = _hour(row.datetime)
    if last in sensor.hours and not sensor.hours[last].is_full:
        last -= 1  # it is under way
    hours = (sensor.hours.get(hour) for hour in range(last, last - DAY_HOURS, -1))
    return aqi.current(row.parameter, row.units, [hour.mean if hour and hour.is_full else None for hour in hours])
