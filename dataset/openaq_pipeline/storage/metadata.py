"""`locations.json`: what OpenAQ says of each location and its sensors, with licences and whom to name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from openaq_pipeline.bounded import BOOK_BYTES, whole
from openaq_pipeline.errors import PipelineError
from openaq_pipeline.files import remove_temporary, replacing, set_aside, storage_error
from openaq_pipeline.locks import hold_descriptions
from openaq_pipeline.model import UNREADABLE, Location
from openaq_pipeline.storage.pace import Pace

FRESH_FOR = timedelta(hours=24)
"""Sensors appear, merge and vanish; OPENAQ section 8 advises to look daily."""

SAVE_EVERY_SECONDS = 60.0
"""The first run of many locations asks for hours: what it has learnt by then must not be lost with it."""

REPEATED = ("timezone", "country_code", "country_name", "provider", "owner", "licenses")
REPEATED_OF_SENSOR = ("parameter", "units", "display_name")

_encode = msgspec.json.Encoder().encode
_pieces = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder(Location).decode


class Metadata:
    """The known locations, in memory and on disk; thread-safe. Poller and backfills write, each what it has asked."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._path = folder / "locations.json"
        self._guard = threading.Lock()
        self._pace = Pace(clock, least_seconds=SAVE_EVERY_SECONDS, written_at=clock())
        self._locations: dict[int, Location] = {}
        self._asked: set[int] = set()
        self._shared: dict[object, object] = {}
        self._version: _Version | None = None
        self._only_looks = True

    def load(self, now: datetime, *, repair: bool = True) -> str | None:
        """Read the file; return what had to be done about it, None if nothing. What is lost is simply asked again.

        `repair` False only looks and moves nothing, and then `put` alone does not write either.
        """
        self._only_looks = not repair
        try:
            if repair:
                with hold_descriptions(self._folder):  # a backfill may be writing it
                    remove_temporary(self._path)
            self._take_up()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, self._path) from error
        except UNREADABLE:
            if not repair:
                return f"{self._path.name} is damaged"
            return f"{self._path.name} was damaged and set aside as {set_aside(self._path, now).name}"
        return None

    def get(self, location_id: int) -> Location | None:
        """Return what is known of a location, however old; None: nothing."""
        with self._guard:
            return self._locations.get(location_id)

    def all(self) -> list[Location]:
        """Return every known location, by id."""
        with self._guard:
            return [self._locations[key] for key in sorted(self._locations)]

    def is_fresh(self, location_id: int, now: datetime) -> bool:
        """Say whether a location was asked for within the last day."""
        known = self.get(location_id)
        return known is not None and timedelta(0) <= now - known.fetched < FRESH_FOR

    def put(self, location: Location) -> None:
        """Remember a location; `save` writes it, and after a while this tries to."""
        with self._guard:
            self._locations[location.id] = self._with_shared_parts(location)
            self._asked.add(location.id)
            if not self._only_looks and self._pace.is_due():
                with suppress(PipelineError):  # `save` will tell; what is asked of this location can go on
                    self._save()

    def save(self) -> None:
        """Write what was put since the last time to the file, one location a line; what others wrote there stays."""
        with self._guard:
            if self._asked:
                self._save()

    def _save(self) -> None:
        with hold_descriptions(self._folder):
            self._pace.begin()
            asked = {key: self._locations[key] for key in self._asked}
            self._take_up_others()
            self._locations |= asked
            with replacing(self._path) as file:
                file.writelines(self._lines())
                size = file.tell()
            self._version = self._version_written()
        self._pace.wrote(size)
        self._asked.clear()

    def _version_written(self) -> _Version | None:
        """Return the version that was just written; None: the disk does not tell, and it is read again next time."""
        try:
            return _version_of(self._path)
        except OSError:
            return None

    def _lines(self) -> Iterator[bytes]:
        """Yield the document, one location a line: never all of it at once, because it may be 25 MB."""
        before = b"[\n"
        for key in sorted(self._locations):
            yield before + _encode(self._locations[key])
            before = b",\n"
        yield b"\n]\n"

    def _take_up_others(self) -> None:
        """Take up what others have written since the last look."""
        try:
            if _version_of(self._path) != self._version:
                self._take_up()
        except (FileNotFoundError, *UNREADABLE):
            return  # all of it can be asked again
        except OSError as error:
            raise storage_error(error, self._path) from error

    def _take_up(self) -> None:
        """Take up all that is in the file; raises `OSError`, or one of `UNREADABLE`."""
        version = _version_of(self._path)
        found = [self._with_shared_parts(_decode(piece)) for piece in _pieces(whole(self._path, BOOK_BYTES))]
        self._locations |= {location.id: location for location in found}
        self._version = version

    def _with_shared_parts(self, location: Location) -> Location:
        """Return a location that has in common with others what is equal: of 25,000 that takes 25 MB and not 61."""
        for name in REPEATED:
            self._share(location, name)
        for sensor in location.sensors:
            for name in REPEATED_OF_SENSOR:
                self._share(sensor, name)
        return location

    def _share(self, owner: msgspec.Struct, name: str) -> None:
        value = getattr(owner, name)
        # Nobody can tell: it is replaced by what equals it.
        msgspec.structs.force_setattr(owner, name, self._shared.setdefault(value, value))


_Version = tuple[int, int, int]


def _version_of(path: Path) -> _Version | None:
    """Return what tells a version of a file from any other; None: there is no file. Raises `OSError`."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
