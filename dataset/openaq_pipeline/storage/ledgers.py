"""`.audit/location_{id}.json`: what the last audits found of each sensor-day, ready to be drawn as a calendar.

And of which version of which archive file that was found, and of which rows of ours, so that the next audit reads
only what has changed since. It is a cache: lost or damaged, the next audit finds it all out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from openaq_pipeline.bounded import NOTE_BYTES, whole
from openaq_pipeline.files import make_durably, replacing, storage_error
from openaq_pipeline.model import UNREADABLE, Aware

VERSION = 1
FOLDER = ".audit"
UNTOLD = -1
"""In lists of numbers: this day is none of the sensor, or nobody knows."""

NO_DAY = "."
LETTERS = {
    "complete": "c",
    "late": "l",
    "upstream_gap": "u",
    "our_gap": "o",
    "broken_sensor": "b",
    "not_due": "n",
    "unknown": "?",
}
"""What stands for a kind of sensor-day, see `incremental.ledger`."""

T = TypeVar("T")


class Compared(msgspec.Struct, frozen=True, array_like=True):
    """Which version of a day's archive file was read, and by a digest which rows were here then."""

    size_bytes: int
    modified_utc: Aware
    digest: str


class SensorLedger(msgspec.Struct, frozen=True):
    """The days of a sensor from the ledger's `first` on, a letter or a number each.

    `kinds` are the letters of `LETTERS`, `NO_DAY` where the sensor had no day yet. `held` rows are stored, `most` were
    at any look, `due` is how many it should have been, `upstream` are in the archive, `lacked` are missing here though
    the archive has them or an earlier look saw them; `UNTOLD` where nobody knows.
    """

    parameter: str
    units: str
    kinds: str
    held: list[int]
    most: list[int]
    due: list[int]
    upstream: list[int]
    lacked: list[int]

    @property
    def numbers(self) -> tuple[list[int], ...]:
        """Return the numbers, in the order of the fields."""
        return self.held, self.most, self.due, self.upstream, self.lacked


class LocationLedger(msgspec.Struct, frozen=True):
    """The sensor-days of a location in `timezone`, as of the last audit of each.

    `basis` tells what was compared: of another one nothing is to be reused. `since` is where an audit of all that
    should be here began, None if there was none. `files` are by day, None where no file was read.
    """

    version: int
    audited: Aware
    timezone: str
    basis: str
    since: Aware | None
    first: date
    files: list[Compared | None]
    sensors: dict[int, SensorLedger]

    @property
    def last(self) -> date:
        """Return the last day, the one before `first` if there is none."""
        return self.first + timedelta(days=len(self.files) - 1)

    def of(self, first: date, last: date) -> LocationLedger:
        """Return the ledger of other days: what it has of them, and nothing of the rest."""
        shift, days = (self.first - first).days, (last - first).days + 1
        sensors = {
            key: SensorLedger(
                each.parameter,
                each.units,
                "".join(_spread(each.kinds, shift, days, NO_DAY)),
                *(_spread(numbers, shift, days, UNTOLD) for numbers in each.numbers),
            )
            for key, each in self.sensors.items()
        }
        files = _spread(self.files, shift, days, None)
        return msgspec.structs.replace(self, first=first, files=files, sensors=sensors)

    def updated(self, later: LocationLedger) -> LocationLedger:
        """Return this ledger with the days of a later audit in the place of its own."""
        first, last = min(self.first, later.first), max(self.last, later.last)
        whole, new = self.of(first, last), later.of(first, last)
        days, low, high = len(whole.files), (later.first - first).days, (later.last - first).days + 1
        sensors = {
            key: _overlaid(
                whole.sensors.get(key, _empty(each, days)), new.sensors.get(key, _empty(each, days)), low, high
            )
            for key, each in (self.sensors | later.sensors).items()
        }
        files, since = _put(whole.files, new.files, low, high), later.since or self.since
        return msgspec.structs.replace(new, since=since, files=files, sensors=sensors)


def _empty(like: SensorLedger, days: int) -> SensorLedger:
    """Return so many days of a sensor that has none of them."""
    nothing = [UNTOLD] * days
    return SensorLedger(like.parameter, like.units, NO_DAY * days, nothing, nothing, nothing, nothing, nothing)


def _overlaid(old: SensorLedger, new: SensorLedger, low: int, high: int) -> SensorLedger:
    """Return the days of a sensor from both ledgers; the later one has those from `low` to before `high`."""
    kinds = old.kinds[:low] + new.kinds[low:high] + old.kinds[high:]
    numbers = (_put(*pair, low, high) for pair in zip(old.numbers, new.numbers, strict=True))
    found = SensorLedger(new.parameter, new.units, kinds, *numbers)
    return msgspec.structs.replace(found, most=list(map(max, old.most, new.most)))


def _put(old: list[T], new: list[T], low: int, high: int) -> list[T]:
    return old[:low] + new[low:high] + old[high:]


def _spread(values: Sequence[T], shift: int, days: int, nothing: T) -> list[T]:
    """Return values by day, moved by so many days into a list of so many; `nothing` where there are none."""
    inside = values[max(-shift, 0) : max(days - shift, 0)]
    before = min(max(shift, 0), days)
    return [nothing] * before + list(inside) + [nothing] * (days - before - len(inside))


class Ledgers:
    """The ledgers of one data folder; two audits at once may write the same one, and the last one stands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, location_id: int) -> Path:
        """Return where a location's ledger is."""
        return self._folder / FOLDER / f"location_{int(location_id)}.json"

    def get(self, location_id: int) -> LocationLedger | None:
        """Return a location's ledger; None: there is none that can be read. Raises `StorageError`."""
        path = self.path(location_id)
        try:
            found = decode(whole(path, NOTE_BYTES))
        except (FileNotFoundError, *UNREADABLE):
            return None
        except OSError as error:
            raise storage_error(error, path) from error
        return found if found.version == VERSION else None

    def put(self, location_id: int, ledger: LocationLedger) -> None:
        """Take up the days of an audit; wants the location's lock held. What was compared otherwise is forgotten."""
        path, known = self.path(location_id), self.get(location_id)
        if known is not None and known.basis == ledger.basis:
            ledger = known.updated(ledger)
        try:
            make_durably(path.parent)
        except OSError as error:
            raise storage_error(error, path) from error
        with replacing(path) as file:
            file.write(msgspec.json.encode(ledger) + b"\n")


def decode(body: bytes) -> LocationLedger:
    """Return what a file says; raises one of `UNREADABLE`, also for days that do not agree."""
    found = msgspec.json.decode(body, type=LocationLedger)
    for each in found.sensors.values():
        if any(len(values) != len(found.files) for values in (each.kinds, *each.numbers)):
            raise msgspec.ValidationError("its lists are not of the same days")
    return found
