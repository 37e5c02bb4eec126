"""`.backfill/location_{id}.json`: how far a backfill has come, so that the next one goes on from there.

Of the API: up to where each sensor's range was read and stored, until the whole backfill is done. Of the archive:
which files are stored, by size and time of change, for good. Written after the rows, so it never says too much; lost,
it costs reading again. Backfills of other locations never meet here, those of the same one hold its lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from openaq_pipeline.files import make_durably, replacing, storage_error
from openaq_pipeline.model import UNREADABLE, ArchiveStamp, Window

VERSION = 1


class _Document(msgspec.Struct):
    version: int = VERSION
    sensors: dict[int, Window] = {}
    archive: dict[str, ArchiveStamp] = {}


class Progress:
    """The progress of backfills in one data folder; all but reading wants the location's lock held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rest(self, location_id: int, sensors_id: int, span: Window) -> Window | None:
        """Return what of a range is still to be read of a sensor; None: nothing."""
        read = self._load(location_id).sensors.get(sensors_id)
        if read is None or not read.start <= span.start < read.end:
            return span
        return Window(read.end, span.end) if read.end < span.end else None

    def reached(self, location_id: int, span: Window, ends: dict[int, datetime]) -> None:
        """Remember up to where the range was read and stored, by sensor."""
        document = self._load(location_id)
        for sensors_id, end in ends.items():
            known = document.sensors.get(sensors_id)
            joins = known is not None and known.start <= span.start <= known.end
            start = known.start if known is not None and joins else span.start
            document.sensors[sensors_id] = Window(start, end)
        self._save(location_id, document)

    def stored_files(self, location_id: int) -> dict[str, ArchiveStamp]:
        """Return which files of the archive are stored, by their day, as they were then."""
        return self._load(location_id).archive

    def stored(self, location_id: int, files: Iterable[tuple[str, ArchiveStamp]]) -> None:
        """Remember files of the archive as stored."""
        document = self._load(location_id)
        document.archive.update(files)
        self._save(location_id, document)

    def finish(self, location_id: int) -> None:
        """Forget how far the API was read: all of it was, and whoever asks again wants it read again."""
        document = self._load(location_id)
        if document.sensors:
            document.sensors = {}
            self._save(location_id, document)

    def _path(self, location_id: int) -> Path:
        return self._folder / ".backfill" / f"location_{int(location_id)}.json"

    def _load(self, location_id: int) -> _Document:
        """Return what is remembered; nothing where it can't be read, because it only saves work."""
        path = self._path(location_id)
        try:
            found = msgspec.json.decode(path.read_bytes(), type=_Document)
        except FileNotFoundError:
            return _Document()
        except OSError as error:
            raise storage_error(error, path) from error
        except UNREADABLE:
            return _Document()
        aware = all(window.start.tzinfo and window.end.tzinfo for window in found.sensors.values())
        return found if found.version == VERSION and aware else _Document()

    def _save(self, location_id: int, document: _Document) -> None:
        path = self._path(location_id)
        try:
            make_durably(path.parent)
        except OSError as error:
            raise storage_error(error, path) from error
        with replacing(path) as file:
            file.write(msgspec.json.encode(document) + b"\n")
