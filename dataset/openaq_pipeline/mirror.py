"""The copy in PostgreSQL is brought up to the files: what is newer there is sent, part by part, until all marks agree.

1. Each part of the data (a location's live file, a year of its history) has a mark in the database: the version of the
   file whose rows are there. It was written in the transaction that wrote the rows.
2. A part whose file still has this mark is passed over. Of any other the rows are sent, and those that are new or
   different are written, by their key. A live file that only this poll has changed is sent from the change on.
3. Nothing is ever deleted: a row that leaves the live file is in the history.

So the database may be away, be killed or be restored from a backup at any time: what is missing is seen by the marks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from openaq_pipeline.errors import ConfigError, PipelineError, StorageError
from openaq_pipeline.model import Change
from openaq_pipeline.settings import Settings

if TYPE_CHECKING:
    from openaq_pipeline.storage.postgres.marks import Mark
    from openaq_pipeline.storage.postgres.sink import Sent, Sink

log = logging.getLogger(__name__)

AFTER_RUN_SECONDS = 600.0
"""So long takes the sync after a poll at the most, whatever the database does; in its second half no part is begun."""

SHOWN_PROBLEMS = 3


class Done(msgspec.Struct, frozen=True):
    """What was done for one location: parts and rows sent, rows new or different there, what stood in the way."""

    location_id: int
    parts: int = 0
    rows: int = 0
    written: int = 0
    problems: tuple[str, ...] = ()


class MirrorReport(msgspec.Struct, frozen=True):
    """A sync. `waiting` counts the locations that it had no time for; `problems` tell what could not be sent."""

    locations: tuple[Done, ...]
    waiting: int
    problems: tuple[str, ...]
    duration_seconds: float

    @property
    def rows(self) -> int:
        """Return how many rows were sent."""
        return sum(done.rows for done in self.locations)

    @property
    def written(self) -> int:
        """Return how many of them were new or different in the database."""
        return sum(done.written for done in self.locations)

    @property
    def complete(self) -> bool:
        """Say whether the database holds all that the files do."""
        return not (self.waiting or self.problems)


class MirrorWatcher:
    """What a sync tells while it goes on; the default tells nothing."""

    def begun(self, locations: int) -> None:
        """Hear how many locations there are."""

    def finished(self, done: Done) -> None:
        """Hear of one location."""


def sync_all(settings: Settings, watcher: MirrorWatcher | None = None) -> MirrorReport:
    """Bring the database up to everything on disk, however long it takes; a stop at any time costs nothing.

    Raises `ConfigError` without an address, `FatalError` or `RetriableError` for a database that can't be used.
    """
    if not settings.storage.postgres.enabled:
        hint = "Set storage.postgres.enabled to true in config.yaml, or POSTGRES_ENABLED=true in the environment."
        raise ConfigError("The copy in PostgreSQL is switched off", hint=hint)
    return _sync(settings, {}, watcher or MirrorWatcher())


def after_run(settings: Settings, changes: Mapping[int, Change], *, seconds: float = AFTER_RUN_SECONDS) -> str | None:
    """Bring the database up to the files after a poll; return a sentence if it is behind, None if all is well.

    `changes` say by location what this poll changed. Takes `seconds` at the most, and raises nothing: the files are
    complete, and the next run catches up.
    """
    if not settings.storage.postgres.enabled:
        return None
    try:
        report = _sync(settings, changes, MirrorWatcher(), seconds=seconds)
    except PipelineError as error:
        warning = f"The copy in PostgreSQL is behind: {error.advice}"
    except Exception as error:
        log.exception("The sync with PostgreSQL failed by a bug")
        warning = f"The copy in PostgreSQL is behind; this is a bug: {type(error).__name__}"
    else:
        if report.complete:
            return None
        warning = f"The copy in PostgreSQL is behind: {_summary(report)}"
    log.warning(warning)
    return warning


def _summary(report: MirrorReport) -> str:
    said = list(report.problems[:SHOWN_PROBLEMS])
    if more := len(report.problems) - len(said):
        said.append(f"{more} more problems")
    if report.waiting:
        said.append(f"{report.waiting} locations wait for the next run, or for `openaq-pipeline sync-postgres`")
    return "; ".join(said)


def _sync(
    settings: Settings, changes: Mapping[int, Change], watcher: MirrorWatcher, *, seconds: float | None = None
) -> MirrorReport:
    from openaq_pipeline.storage.postgres.connection import connected  # noqa: PLC0415 - only those who want it pay
    from openaq_pipeline.storage.postgres.files import location_ids  # noqa: PLC0415
    from openaq_pipeline.storage.postgres.migrate import migrate  # noqa: PLC0415
    from openaq_pipeline.storage.postgres.sink import Sink  # noqa: PLC0415

    began, folder = time.monotonic(), settings.data_dir
    dsn = settings.storage.postgres.dsn
    until = None if seconds is None else began + seconds
    done: list[Done] = []
    with connected(dsn.get_secret_value() if dsn else "", until=until) as database:
        sink = Sink(database, migrate(database))
        marks = sink.marks()
        problems = list(_describe(sink, folder, marks))
        # Whoever was sent last waits longest: where the time never suffices for all, none is left behind for good.
        ids = sorted(location_ids(folder), key=lambda location_id: _sent_at(marks, location_id))
        watcher.begun(len(ids))
        for location_id in ids:
            if seconds is not None and time.monotonic() > began + seconds / 2:
                break
            done.append(_location(sink, folder, location_id, changes.get(location_id), marks))
            watcher.finished(done[-1])
    problems += [problem for each in done for problem in each.problems]
    return MirrorReport(tuple(done), len(ids) - len(done), tuple(problems), time.monotonic() - began)


def _sent_at(marks: Mapping[tuple[int, str], Mark], location_id: int) -> int:
    """Return from when the version of a location's live file is that the database has; 0: from before all others."""
    from openaq_pipeline.storage.postgres.marks import LIVE  # noqa: PLC0415 - see _sync

    mark = marks.get((location_id, LIVE))
    return 0 if mark is None else mark.file.mtime_ns


def _describe(sink: Sink, folder: Path, marks: Mapping[tuple[int, str], Mark]) -> Iterator[str]:
    """Bring the tables of locations and sensors up to `locations.json`; yield what stood in the way."""
    from openaq_pipeline.storage.metadata import Metadata  # noqa: PLC0415 - see _sync
    from openaq_pipeline.storage.postgres.files import mark_of  # noqa: PLC0415
    from openaq_pipeline.storage.postgres.marks import DESCRIPTIONS  # noqa: PLC0415

    mark = mark_of(folder / "locations.json")
    stored = marks.get(DESCRIPTIONS)
    if mark is None or (stored is not None and stored.file == mark):
        return
    metadata = Metadata(folder)
    try:
        if warning := metadata.load(datetime.now(UTC), repair=False):
            yield warning
        else:
            sink.describe(metadata.all(), mark)
    except StorageError as error:
        yield error.advice


def _location(
    sink: Sink, folder: Path, location_id: int, change: Change | None, marks: Mapping[tuple[int, str], Mark]
) -> Done:
    """Send what is newer of one location than in the database, the live file first: what leaves it is in the history.

    A file that can't be read stops no other; a database that can't be used stops all.
    """
    from openaq_pipeline.storage.postgres.explain import Refused, Unavailable  # noqa: PLC0415 - see _sync
    from openaq_pipeline.storage.postgres.files import stale_parts  # noqa: PLC0415

    parts, total, problems = 0, (0, 0), list[str]()
    try:
        if not stale_parts(folder, location_id, marks):
            return Done(location_id)
        with sink.hold(location_id):
            marks = sink.marks(location_id)
            for part in stale_parts(folder, location_id, marks):
                try:
                    sent = _part(sink, folder, location_id, part, change=change, stored=marks.get((location_id, part)))
                except (Refused, Unavailable):
                    raise
                except PipelineError as error:
                    problems.append(error.advice)
                else:
                    parts, total = parts + 1, (total[0] + sent.rows, total[1] + sent.written)
    except (Refused, Unavailable):
        raise
    except PipelineError as error:
        problems.append(error.advice)
    return Done(location_id, parts, *total, tuple(problems))


def _part(
    sink: Sink,
    folder: Path,
    location_id: int,
    part: str,
    *,
    change: Change | None,
    stored: Mark | None,
) -> Sent:
    """Send one part and write its mark; `stored` is what the database says of it."""
    from openaq_pipeline.storage.postgres.files import reading  # noqa: PLC0415 - see _sync
    from openaq_pipeline.storage.postgres.sink import Sent  # noqa: PLC0415

    # The change is all that is new only if the database is as the file was before it.
    known = change is not None and stored is not None and stored.file == change.before
    hint = (change.after, change.since) if known and change else None
    with reading(folder, location_id, part, hint) as found:
        if found is None:
            return Sent()
        return sink.write(location_id, part, found.version, found.blocks, fresh=stored is None)
