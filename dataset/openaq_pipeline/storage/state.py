"""`.state.json`: what is remembered between runs. A cache of the data: lost, it is rebuilt from the location files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from openaq_pipeline.bounded import BOOK_BYTES, whole
from openaq_pipeline.errors import FatalError
from openaq_pipeline.files import remove_temporary, replacing, set_aside, storage_error
from openaq_pipeline.model import UNREADABLE, LocationState
from openaq_pipeline.storage.pace import Pace

VERSION = 1
SAVE_EVERY_SECONDS = 2.0
"""A crash of a small folder costs at most so much re-reading; see `pace` for large ones."""


_encode = msgspec.json.Encoder().encode


class _Version(msgspec.Struct):
    version: int


class _Document(msgspec.Struct):
    version: int
    locations: dict[int, LocationState]
    consecutive_failures: int = 0


class StateFile:
    """The state of all locations, in memory and on disk; thread-safe. Only the poller, who holds the folder, writes."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = folder / ".state.json"
        self._pace = Pace(clock, least_seconds=SAVE_EVERY_SECONDS)
        self._guard = threading.Lock()
        self._locations: dict[int, LocationState] = {}
        self._consecutive_failures = 0
        self._dirty = False

    def load(self, now: datetime, *, repair: bool = True) -> str | None:
        """Read the file; return what had to be done about it in a sentence, None if nothing.

        A missing or damaged state is empty: each location then rebuilds its own from its data. `repair` False only
        looks and moves nothing. Raises `FatalError` for a state that a newer version wrote.
        """
        try:
            if repair:
                remove_temporary(self._path)
            body = whole(self._path, BOOK_BYTES)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            body = b""  # as good as that
        except OSError as error:
            raise storage_error(error, self._path) from error
        try:
            version = msgspec.json.decode(body, type=_Version).version
            if version == VERSION:
                document = msgspec.json.decode(body, type=_Document)
                self._locations, self._consecutive_failures = document.locations, document.consecutive_failures
                return None
        except UNREADABLE:
            version = None
        if version is not None and version > VERSION:
            raise FatalError(
                f"{self._path} was written by a newer version of this program",
                hint="Update this program; nothing was changed.",
            )
        if not repair:
            return f"{self._path.name} is damaged; the next run rebuilds it from the data files"
        place = set_aside(self._path, now)
        return f"{self._path.name} was damaged and set aside as {place.name}; it is rebuilt from the data files"

    def get(self, location_id: int) -> LocationState:
        """Return what is remembered of a location; an empty state for an unknown one."""
        with self._guard:
            return self._locations.get(location_id, LocationState())

    def locations(self) -> dict[int, LocationState]:
        """Return what is remembered of all locations."""
        with self._guard:
            return dict(self._locations)

    def put(self, location_id: int, state: LocationState) -> None:
        """Remember a location's state, and write the file if the last time is long enough ago for its size."""
        with self._guard:
            self._locations[location_id] = state
            self._dirty = True
            if self._pace.is_due():
                self._save()

    def count_run(self, *, failed: bool) -> int:
        """Remember whether a run failed, and return how many have failed in a row."""
        with self._guard:
            before, self._consecutive_failures = (
                self._consecutive_failures,
                (self._consecutive_failures + 1) * failed,
            )
            self._dirty = self._dirty or before != self._consecutive_failures
            return self._consecutive_failures

    def save(self) -> None:
        """Write what has changed since the last time."""
        with self._guard:
            if self._dirty:
                self._save()

    def _save(self) -> None:
        self._pace.begin()
        with replacing(self._path) as file:
            file.writelines(self._lines())
            size = file.tell()
        self._pace.wrote(size)
        self._dirty = False

    def _lines(self) -> Iterator[bytes]:
        """Yield the document, one location a line: never all of it at once, because it may be 20 MB."""
        yield b'{"version":%d,"consecutive_failures":%d,"locations":{' % (VERSION, self._consecutive_failures)
        before = b"\n"
        for location_id, state in sorted(self._locations.items()):
            yield b'%b"%d":%b' % (before, location_id, _encode(state))
            before = b",\n"
        yield b"\n}}\n"
