"""`.backfill/location_{id}.json`: how far a backfill has come, so that the next one goes on from there.

Of the API: up to where each sensor's range was read and stored, until the whole backfill is done. Of the archive:
which files are stored, by size and time of change, for good. Written after the rows, so it never says too much; lost,
it costs reading again. Backfills of other locations never meet here, those of the same one hold its lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from openaq_pipeline.bounded import NOTE_BYTES, whole
from openaq_pipeline.files import make_durably, replacing, storage_error
from openaq_pipeline.model import UNREADABLE, ArchiveStamp, Window

VERSION = 1
DAY = timedelta(days=1)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Document(msgspec.Struct):
    """The file as it is read: `sensors` by id, `archive` by the day in a file's name."""

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

    def forget(self, location_id: int, span: Window) -> None:
        """Forget what was read in a range, so that the next backfill reads it again."""
        document = self._load(location_id)
        # A file's day is one at the station, which begins and ends up to 14 hours off UTC's.
        first, last = (moment.date().isoformat() for moment in (_shifted(span.start, -DAY), _shifted(span.end, DAY)))
        archive = {day: stamp for day, stamp in document.archive.items() if not first <= day <= last}
        apart = {
            key: read for key, read in document.sensors.items() if span.end <= read.start or read.end <= span.start
        }
        if (archive, apart) != (document.archive, document.sensors):
            self._save(location_id, Document(VERSION, apart, archive))

    def path(self, location_id: int) -> Path:
        """Return where a location's progress is."""
        return self._folder / ".backfill" / f"location_{int(location_id)}.json"

    def _load(self, location_id: int) -> Document:
        """Return what is remembered; nothing where it can't be read, because it only saves work."""
        path = self.path(location_id)
        try:
            found = decode(whole(path, NOTE_BYTES))
        except FileNotFoundError:
            return Document()
        except OSError as error:
            raise storage_error(error, path) from error
        except UNREADABLE:
            return Document()
        return found if found.version == VERSION else Document()

    def _save(self, location_id: int, document: Document) -> None:
        path = self.path(location_id)
        try:
            make_durably(path.parent)
        except OSError as error:
            raise storage_error(error, path) from error
        with replacing(path) as file:
            file.write(msgspec.json.encode(document) + b"\n")


def decode(body: bytes) -> Document:
    """Return what a file of any version says; raises one of `UNREADABLE`, also for a time without a zone."""
    found = msgspec.json.decode(body, type=Document)
    stamps = [moment for read in found.sensors.values() for moment in (read.start, read.end)]
    if not all(moment.tzinfo for moment in (*stamps, *(stored.modified_utc for stored in found.archive.values()))):
        raise msgspec.ValidationError("times must end in Z or in an offset from UTC")
    return found


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Return the moment so much later, or the first or the last there is."""
    try:
        return moment + by
    except OverflowError:
        return LAST if by > timedelta(0) else FIRST
