"""`locations.json`: what OpenAQ says of each location and its sensors, with licences and whom to name."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from openaq_pipeline.files import hold_descriptions, remove_temporary, replacing, set_aside, storage_error
from openaq_pipeline.model import UNREADABLE, Location

FRESH_FOR = timedelta(hours=24)
"""Sensors appear, merge and vanish; OPENAQ section 8 advises to look daily."""


class Metadata:
    """The known locations, in memory and on disk; thread-safe. Poller and backfills write, each what it has asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "locations.json"
        self._guard = threading.Lock()
        self._locations: dict[int, Location] = {}
        self._asked: set[int] = set()

    def load(self, now: datetime, *, repair: bool = True) -> str | None:
        """Read the file; return what had to be done about it, None if nothing. What is lost is simply asked again."""
        try:
            if repair:
                with hold_descriptions(self._folder):  # a backfill may be writing it
                    remove_temporary(self._path)
            found = _decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, self._path) from error
        except UNREADABLE:
            if not repair:
                return f"{self._path.name} is damaged"
            return f"{self._path.name} was damaged and set aside as {set_aside(self._path, now).name}"
        self._locations = {location.id: location for location in found}
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
        """Remember a location; `save` writes it."""
        with self._guard:
            self._locations[location.id] = location
            self._asked.add(location.id)

    def save(self) -> None:
        """Write what was put since the last time to the file, one location a line; what others wrote there stays."""
        with self._guard:
            if not self._asked:
                return
            with hold_descriptions(self._folder):
                asked = {key: self._locations[key] for key in self._asked}
                self._locations |= self._written() | asked
                lines = [msgspec.json.encode(self._locations[key]) for key in sorted(self._locations)]
                with replacing(self._path) as file:
                    file.write(b"[\n" + b",\n".join(lines) + b"\n]\n")
            self._asked.clear()

    def _written(self) -> dict[int, Location]:
        """Return what is in the file now; nothing where it can't be read, because all of it can be asked again."""
        try:
            return {location.id: location for location in _decode(self._path.read_bytes())}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise storage_error(error, self._path) from error
        except UNREADABLE:
            return {}


def _decode(body: bytes) -> list[Location]:
    """Return the locations of a file; raises one of `UNREADABLE`, also for a time without a zone."""
    found = msgspec.json.decode(body, type=list[Location])
    if any(location.fetched.tzinfo is None for location in found):
        raise msgspec.ValidationError("`fetched` must end in Z or in an offset from UTC")
    return found
