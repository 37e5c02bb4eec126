"""Fetching again what was lost: from OpenAQ's archive, from its API, or what of it can be had without a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from openaq_pipeline.backfill import ARCHIVE_AFTER, UNTOLD, Provenance, backfill
from openaq_pipeline.errors import PipelineError, Stopped
from openaq_pipeline.model import RunReport, Window
from openaq_pipeline.repair.mended import Mended
from openaq_pipeline.run import Watcher
from openaq_pipeline.storage.checks.notes import span_name
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.owed import Owed
from openaq_pipeline.wiring import STOPPED, Stop, Stores

RECENT = timedelta(days=100)
"""What is younger is asked of the API, which tells more of a row than the archive: a request has 40 days of it."""


class _Way(NamedTuple):
    """How a range is fetched, and why the rest of it is not (None: there is none)."""

    span: Window
    source: Provenance
    why_not: str | None


class Fetching:
    """Fetches what is owed, a location at a time; once OpenAQ can't be reached, it is not tried again."""

    def __init__(self, stores: Stores, clock: Callable[[], datetime], watcher: Watcher, stop: Stop) -> None:
        self._stores = stores
        self._settings = stores.settings
        self._clock = clock
        self._watcher = watcher
        self._stop = stop
        self._outage: str | None = None

    def fetch(self, location_id: int, told: Mapping[tuple[int, int], int]) -> Iterator[Mended]:
        """Fetch what a location owes, and yield what came of it; `told`: how many rows each damaged year had."""
        owed = Owed(self._settings.data_dir)
        name = owed.path(location_id).relative_to(self._settings.data_dir).as_posix()
        for span in owed.spans(location_id):
            way = self._way(span)
            if way is None:
                yield Mended(
                    name, f"what was lost {span_name(span)} is still to be fetched: {self._refusal()}", complete=False
                )
                continue
            report = self._ask(location_id, way)
            if isinstance(report, str):
                yield Mended(name, f"what was lost {span_name(span)} is still to be fetched: {report}", complete=False)
                continue
            with self._stores.files.lock(location_id):
                owed.settle(location_id, way.span)
            rows = f"{report.counts.new:,} rows were fetched again {span_name(way.span)}"
            yield Mended(name, rows if way.why_not is None else f"{rows}; {way.why_not}", way.why_not is None)
        yield from self._short(location_id, told)

    def _short(self, location_id: int, told: Mapping[tuple[int, int], int]) -> Iterator[Mended]:
        """Yield for each year that has fewer rows than before that they are gone."""
        history = History(self._settings.data_dir)
        for (location, year), before in told.items():
            if location != location_id:
                continue
            path = history.path(location_id, year)
            now = history.year(location_id, year).num_rows
            if now < before:
                said = f"{now:,} of the {before:,} rows it had are there; the others were not to be had again"
                yield Mended(path.relative_to(self._settings.data_dir).as_posix(), said, complete=False)

    def _way(self, span: Window) -> _Way | None:
        """Return how to fetch a range; None: nothing of it can be fetched."""
        now = self._clock()
        untold = UNTOLD & set(self._settings.validation.required_fields)
        if self._has_key():
            return _Way(span, "api" if untold or now - span.start < RECENT else "auto", None)
        cut = (now - ARCHIVE_AFTER).replace(hour=0, minute=0, second=0, microsecond=0)
        if untold or span.start >= cut:
            return None
        if span.end <= cut:
            return _Way(span, "archive", None)
        rest = span_name(Window(cut, span.end))
        return _Way(
            Window(span.start, cut), "archive", f"what was lost {rest} is still to be fetched: {self._refusal()}"
        )

    def _has_key(self) -> bool:
        key = self._settings.api.api_key
        return key is not None and bool(key.get_secret_value())

    @staticmethod
    def _refusal() -> str:
        return "that takes the API, and OPENAQ_API_KEY is not set"

    def _ask(self, location_id: int, way: _Way) -> RunReport | str:
        """Return the report of a backfill that got all there is, or why it did not."""
        if self._outage is not None:
            return self._outage
        settings = self._settings.model_copy(update={"locations": [location_id]})
        try:
            report = backfill(
                settings, way.span, source=way.source, watcher=self._watcher, stop=self._stop, clock=self._clock
            )
        except Stopped:
            raise
        except PipelineError as error:
            return error.advice
        if report.error == STOPPED:
            raise Stopped(STOPPED)
        if report.error is not None:
            self._outage = f"{report.error.rstrip('.')}. {report.hint}".strip()
            return self._outage
        place = report.locations[0]
        return report if report.complete else f"{place.error}"
