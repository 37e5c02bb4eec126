"""What Prometheus is told: gathered from an overview, and after a run written where node_exporter finds it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from openaq_pipeline import __version__
from openaq_pipeline.errors import PipelineError
from openaq_pipeline.files import replacing
from openaq_pipeline.incremental.outlook import longest_gap
from openaq_pipeline.locks import let_go, take_lock
from openaq_pipeline.model import Location
from openaq_pipeline.monitoring import exposition
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Book
from openaq_pipeline.monitoring.exposition import Figures
from openaq_pipeline.monitoring.health import late_after
from openaq_pipeline.monitoring.history import KEPT_RUNS
from openaq_pipeline.overview import Observer, Overview
from openaq_pipeline.settings import Settings

log = logging.getLogger(__name__)

READABLE = 0o644
"""node_exporter is another user, in no group of ours, and there is no secret in the file."""

LOCK_SECONDS = 2.0


def figures_of(
    settings: Settings, found: Overview, book: Book | None, locations: Mapping[int, Location], now: datetime
) -> Figures:
    """Return what there is to tell of an overview, which should have all runs on file."""
    alerts = settings.monitoring.alerts
    return Figures(
        health=found.health,
        runs=found.runs,
        alerts=alerts,
        late_after_seconds=late_after(longest_gap(settings.schedule, now), alerts).total_seconds(),
        version=__version__,
        totals=found.totals,
        budget=found.budget,
        book=book,
        locations=locations,
    )


def write_textfile(settings: Settings, now: datetime) -> None:
    """Write how it is to `monitoring.textfile`, if there is such a setting; what goes wrong is a warning.

    Without the budget: what the last minute took is not true any more when somebody reads it.
    """
    if not settings.monitoring.textfile:
        return
    path = settings.data_dir / settings.monitoring.textfile
    try:
        body = exposition.as_text(msgspec.structs.replace(_figures(settings, now), budget=None))
        _write(path, body, settings.data_dir)
    except PipelineError as error:
        log.warning("The metrics for node_exporter could not be written: %s", error.advice)


def _figures(settings: Settings, now: datetime) -> Figures:
    observer, book = Observer(settings), None
    found = observer.look(now, shown_runs=KEPT_RUNS)
    with suppress(PipelineError):  # then nothing is told of alerts
        book = AlertFile(settings.data_dir).read()
    return figures_of(settings, found, book, {each.id: each for each in observer.metadata.all()}, now)


def _write(path: Path, body: bytes, folder: Path) -> None:
    """Replace a file as a whole: node_exporter may look at any time. Raises `StorageError`."""
    descriptor = None
    with suppress(OSError):  # two runs may end at the same time; on a disk that takes no lock the later one counts
        descriptor = take_lock(folder / ".locks" / "textfile.lock", LOCK_SECONDS)
    try:
        with replacing(path) as file:
            file.write(body)
            os.fchmod(file.fileno(), READABLE)
    finally:
        if descriptor is not None:
            let_go(descriptor)
