"""`sync-postgres`: bring the copy in PostgreSQL up to everything on disk."""

from __future__ import annotations

import argparse
import sys

from openaq_pipeline.cli import EXIT_FELL_SHORT, EXIT_FINE, show
from openaq_pipeline.config import load
from openaq_pipeline.mirror import Done, MirrorReport, MirrorWatcher, sync_all
from openaq_pipeline.monitoring.log import set_up
from openaq_pipeline.redact import clean


def main(namespace: argparse.Namespace) -> int:
    """Sync, with a line for each location; return 0 if the database holds all that the files do, else 1.

    It may be stopped at any time: what was sent is not sent again.
    """
    settings = load(
        config=namespace.config, data_dir=namespace.data_dir, log_level="DEBUG" if namespace.debug else None
    )
    set_up(settings, to_file=settings.data_dir.is_dir())
    report = sync_all(settings, _Lines())
    print(summary(report))
    return EXIT_FINE if report.complete else EXIT_FELL_SHORT


def summary(report: MirrorReport) -> str:
    """Return what a sync did, for people."""
    figures = f"{show.count(report.rows, 'row')} compared, {report.written:,} new or changed"
    verdict = "complete" if report.complete else f"not complete, {show.count(len(report.problems), 'problem')}"
    return f"{show.count(len(report.locations), 'location')}, {verdict}: {figures}, in {report.duration_seconds:.1f} s."


class _Lines(MirrorWatcher):
    """A plain line for each location, on stderr."""

    def __init__(self) -> None:
        self._total = 0
        self._done = 0

    def begun(self, locations: int) -> None:
        self._total = locations

    def finished(self, done: Done) -> None:
        self._done += 1
        became = f"{done.rows:,} rows compared, {done.written:,} new or changed" if done.parts else "nothing new"
        print(f"[{self._done}/{self._total}] location {done.location_id}: {became}", file=sys.stderr)
        for problem in done.problems:
            print(clean(f"  ! {problem}"), file=sys.stderr)
