"""One location out of OpenAQ's archive: list -> skip what is stored -> read -> check -> merge -> commit.

Files are stored in portions of a year or so, oldest first; what a portion holds is noted once it is durable, so that a
backfill that was stopped goes on with the next one. It asks the API nothing, and needs no key. Imports pyarrow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from openaq_pipeline.columns import HISTORY, to_rows, to_table
from openaq_pipeline.commit.across import commit_across
from openaq_pipeline.commit.recent import Committed, by_sensor
from openaq_pipeline.commit.seal import open_history
from openaq_pipeline.errors import ConfigError, FatalError, PipelineError, Stopped, Unreachable
from openaq_pipeline.incremental import plan
from openaq_pipeline.model import ArchiveStamp, Change, Counts, License, Location, Reject, Window
from openaq_pipeline.monitoring.tally import Tally
from openaq_pipeline.openaq.archive import Archive
from openaq_pipeline.openaq.archive_files import ArchiveFile
from openaq_pipeline.openaq.archive_rows import ArchiveRows
from openaq_pipeline.order import Ingested, one_change
from openaq_pipeline.ports import MetadataStore, ProgressStore, RejectStore, RowStore, StateStore
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.reports import LocationReport, Outcome, SensorReport
from openaq_pipeline.settings import DataSettings

MOST_FILES, MOST_BYTES = 370, 1_600_000
"""A portion: a year of five hourly sensors, 44,000 rows. Two years at once are no faster, and take 45 MB more."""

MOST_EAST, MOST_WEST = timedelta(hours=14), timedelta(hours=12)
"""How far local time is ahead of and behind UTC, at most: Kiritimati and Baker Island."""

SHOWN_PROBLEMS = 3


class ArchiveParts(msgspec.Struct, frozen=True):
    """What an ingest from the archive works with."""

    archive: Archive
    progress: ProgressStore
    rows: RowStore
    rejects: RejectStore
    state: StateStore
    metadata: MetadataStore
    judge: Judge
    required: Required
    data: DataSettings
    tally: Tally
    checkpoint: Callable[[], None]
    """Called between portions; raises `Stopped` if the run is to end."""


def ingest_archive(
    parts: ArchiveParts, location_id: int, window: Window, now: datetime, days: Collection[date] | None = None
) -> Ingested:
    """Store what the archive has of a location in a window. Errors are in the report; what came before stays.

    Files that are stored are passed over, unless `days` says which are to be read, and then no others are.
    """
    work = _ArchiveIngest(parts, location_id, window, now, days)
    try:
        work.run()
        return Ingested(work.report())
    except (FatalError, Stopped) as error:
        return Ingested(work.report(str(error)), error)
    except (ConfigError, Unreachable) as error:  # the archive as a whole
        return Ingested(work.report(error.advice), error)
    except PipelineError as error:
        return Ingested(work.report(error.advice))


def new_files(found: Iterable[ArchiveFile], stored: dict[str, ArchiveStamp], window: Window) -> list[ArchiveFile]:
    """Return the files of which not all that the window holds is stored yet, or which were written anew since."""
    known = ((file, stored.get(file.day.isoformat())) for file in found)
    return [file for file, before in known if before is None or not before.holds(stamp(file, window))]


def measurements(location_id: int, table: pa.Table, required: Required) -> tuple[pa.Table, list[Reject]]:
    """Return those of the archive's rows that are measurements with all that the user requires, and the others."""
    odd = pc.is_null(table.column("value"))
    for name in ("parameter", "units"):
        odd = pc.or_(odd, pc.equal(table.column(name).cast(pa.string()), ""))
    kept, rejects = required.split(to_rows(location_id, table.filter(odd)))
    if rejects:
        table = pa.concat_tables([table.filter(pc.invert(odd)), to_table(kept)])
    return table, rejects


def stamp(file: ArchiveFile, window: Window) -> ArchiveStamp:
    """Return what tells this version of a file from any other, and which part of it is in a window.

    All of it is, if the window holds its day wherever on earth the station may be.
    """
    midnight = datetime.combine(file.day, time(), UTC)
    day = Window(midnight - MOST_EAST, midnight + timedelta(days=1) + MOST_WEST)
    part = Window(max(day.start, window.start), min(day.end, window.end))
    return ArchiveStamp(file.size_bytes, file.modified_utc, None if part == day else part)


class _ArchiveIngest:
    """The way of one location through one backfill from the archive."""

    def __init__(
        self,
        parts: ArchiveParts,
        location_id: int,
        window: Window,
        now: datetime,
        days: Collection[date] | None,
    ) -> None:
        self._parts = parts
        self._days = days
        self._id = location_id
        self._window = window
        self._now = now
        self._location: Location | None = parts.metadata.get(location_id)
        self._counts: dict[int, Counts] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._problems: list[str] = []
        self._warnings: list[str] = []
        self._changes: list[Change] = []

    def run(self) -> None:
        """Store every file that is not stored yet; raises what ended it early."""
        found = self._parts.archive.files(self._id, self._window)
        if not found:
            self._warnings.append("OpenAQ's archive has no file of this location for these days")
            return
        todo = self._todo(found)
        self._parts.tally.add(files_found=len(todo))
        self._make_room()
        for portion in portions(todo):
            self._parts.checkpoint()
            self._store(portion)

    def _todo(self, found: list[ArchiveFile]) -> list[ArchiveFile]:
        if self._days is not None:
            return [file for file in found if file.day in self._days]
        return new_files(found, self._parts.progress.stored_files(self._id), self._window)

    def _make_room(self) -> None:
        """Let rows older than the live window find a history to go to."""
        rows, known = self._parts.rows, self._parts.state.get(self._id).sensors.values()
        newest = max((state.watermark for state in known if state.watermark is not None), default=None)
        start = plan.live_from(newest, self._now, self._parts.data.live_days)
        if self._window.start >= start:
            return
        with rows.lock(self._id):
            self._note(open_history(self._id, start, files=rows, licenses=self._licenses()))

    def _note(self, change: Change | None) -> None:
        if change is not None:
            self._changes.append(change)

    def _licenses(self) -> tuple[License, ...] | None:
        return self._location.licenses if self._location else None

    def _store(self, files: list[ArchiveFile]) -> None:
        """Store the rows of some files, and then note that they are."""
        found = self._parts.archive.read(self._id, files, self._now)
        table, rejects = self._checked(found)
        with self._parts.rows.lock(self._id):
            if not self._parts.state.get(self._id).sensors and self._parts.rows.mark(self._id) is None:
                self._parts.rows.disclaim(self._id)  # no poll has been here: its first load is still to come
            if rejects:
                self._parts.rejects.add(self._id, rejects)
            done = commit_across(
                self._id, table, files=self._parts.rows, judge=self._parts.judge, licenses=self._licenses()
            )
            bad = {file for file, _ in found.problems}
            self._parts.progress.stored(self._id, self._noted(file for file in files if file not in bad))
        self._problems += [reason for _, reason in found.problems]
        self._note(done.change)
        self._count(done, rejects, table)
        self._parts.tally.add(rows=sum(counts.new for counts in done.counts.values()), files_done=len(files))

    def _noted(self, files: Iterable[ArchiveFile]) -> list[tuple[str, ArchiveStamp]]:
        """Return what is to be noted of files that are stored now: not less than is noted already."""
        before, found = self._parts.progress.stored_files(self._id), []
        for file in files:
            day, now = file.day.isoformat(), stamp(file, self._window)
            known = before.get(day)
            if known is None or not known.holds(now):
                found.append((day, now))
        return found

    def _checked(self, found: ArchiveRows) -> tuple[pa.Table, list[Reject]]:
        """Return the rows of the window with what is known of their sensors, and the rows that are none."""
        stamps = found.table.column("datetime")
        start, end = (pa.scalar(moment, stamps.type) for moment in (self._window.start, self._window.end))
        table = found.table.filter(pc.and_(pc.greater(stamps, start), pc.less_equal(stamps, end)))
        table, rejects = measurements(self._id, self._with_parameters(table), self._parts.required)
        return table, list(found.rejects) + rejects

    def _with_parameters(self, table: pa.Table) -> pa.Table:
        """Return the rows with OpenAQ's parameter ids, which the archive lacks: those of the location's sensors."""
        known = self._location.sensors if self._location else ()
        ids = pa.array([sensor.parameters_id for sensor in known], pa.int32())
        places = pc.index_in(table.column("sensors_id"), pa.array([sensor.id for sensor in known], pa.int64()))
        field = HISTORY.get_field_index("parameters_id")
        return table.set_column(field, HISTORY.field(field), pa.chunked_array([ids.take(places.combine_chunks())]))

    def _count(self, done: Committed, rejects: list[Reject], table: pa.Table) -> None:
        rejected = {sensors_id: Counts(rejected=n) for sensors_id, n in by_sensor(rejects).items()}
        for counts in (done.counts, rejected):
            for sensors_id, found in counts.items():
                self._counts[sensors_id] = self._counts.get(sensors_id, Counts()) + found
        names = table.select(["sensors_id", "parameter", "units"]).group_by(["sensors_id", "parameter", "units"])
        for row in names.aggregate([]).to_pylist():
            self._names[row["sensors_id"]] = (row["parameter"], row["units"])

    def report(self, error: str | None = None) -> LocationReport:
        """Return how the location fared so far; `error` is what ended it early, None if nothing did."""
        total = sum(self._counts.values(), Counts())
        if error is None and self._problems:
            more = len(self._problems) - SHOWN_PROBLEMS
            error = "; ".join(self._problems[:SHOWN_PROBLEMS]) + (f"; and {more} more files" if more > 0 else "")
        outcome: Outcome = "ok" if error is None else "partial" if total.fetched else "failed"
        sensors = tuple(
            SensorReport(sensors_id, *self._names.get(sensors_id, ("", "")), "ok", counts, None)
            for sensors_id, counts in sorted(self._counts.items())
        )
        name = self._location.name if self._location else None
        change = one_change(self._changes)
        return LocationReport(self._id, name, outcome, total, 0, sensors, error, tuple(self._warnings), change=change)


def portions(files: list[ArchiveFile]) -> Iterator[list[ArchiveFile]]:
    """Yield the files in portions, in their order."""
    portion: list[ArchiveFile] = []
    for file in files:
        if portion and (len(portion) >= MOST_FILES or sum(one.size_bytes for one in portion) >= MOST_BYTES):
            yield portion
            portion = []
        portion.append(file)
    if portion:
        yield portion
