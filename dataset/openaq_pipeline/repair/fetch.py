"""Fetching again what was lost: from OpenAQ's archive, from its API, or what of it can be had without a key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from openaq_pipeline.backfill import UNTOLD, Provenance, backfill
from openaq_pipeline.errors import PipelineError, Stopped
from openaq_pipeline.incremental.plan import ARCHIVE_AFTER
from openaq_pipeline.model import Window
from openaq_pipeline.repair.mended import Mended
from openaq_pipeline.reports import RunReport
from openaq_pipeline.run import Watcher
from openaq_pipeline.storage.checks.notes import missing_years, span_name
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.owed import Owed
from openaq_pipeline.storage.sealed import forget_year
from openaq_pipeline.wiring import Stop, Stores

SLICE_SECONDS = 0.2
RECENT = timedelta(days=100)
"""What is younger is asked of the API, which tells more of a row than the archive: a request has 40 days of it."""


Told = Mapping[tuple[int, int], int]
"""How many rows a damaged year had by its footer, by location and year; years whose footer is lost are not there."""


class _Way(NamedTuple):
    """How a range is fetched, and why the rest of it is not (None: there is none)."""

    span: Window
    source: Provenance
    why_not: str | None


class OwnStop(Stop):
    """A stop for one backfill, which may set it when it fails; it also ends with the repair's."""

    def __init__(self, outer: Stop) -> None:
        super().__init__()
        self._outer = outer

    def check(self) -> None:
        """Raise `Stopped` if the backfill or the repair is to end."""
        self._outer.check()
        super().check()

    def sleep(self, seconds: float) -> None:
        """Wait, or raise `Stopped` soon after the backfill or the repair is to end."""
        until = time.monotonic() + seconds
        self.check()
        while (left := until - time.monotonic()) > 0:
            super().sleep(min(left, SLICE_SECONDS))
            self._outer.check()


class Fetching:
    """Fetches what is owed, a location at a time; a source that can't be reached is not tried again.

    With a key the API is asked for what the archive should have had and did not.
    """

    def __init__(self, stores: Stores, clock: Callable[[], datetime], watcher: Watcher, stop: Stop) -> None:
        self._stores = stores
        self._settings = stores.settings
        self._clock = clock
        self._watcher = watcher
        self._stop = stop
        self._outages: dict[Provenance, str] = {}

    def fetch(self, location_id: int, told: Told) -> Iterator[Mended]:
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
            if way.source == "auto" and (isinstance(report, str) or self._is_short(location_id, report, told)):
                report = self._ask(location_id, way._replace(source="api"))
            if isinstance(report, str):
                yield Mended(name, f"what was lost {span_name(span)} is still to be fetched: {report}", complete=False)
                continue
            with self._stores.files.lock(location_id):
                owed.settle(location_id, way.span)
            rows = f"{report.counts.new:,} rows were fetched again {span_name(way.span)}"
            yield Mended(name, rows if way.why_not is None else f"{rows}; {way.why_not}", way.why_not is None)
            if way.why_not is None:
                yield from self._given_up(location_id, span, told)
        yield from self._short(location_id, told)

    def _given_up(self, location_id: int, span: Window, told: Told) -> Iterator[Mended]:
        """Forget the years of a range that are gone and that OpenAQ has nothing of any more; yield what is not told."""
        folder, history = self._settings.data_dir, History(self._settings.data_dir)
        for year in missing_years(folder, location_id):
            if span.start.year <= year <= span.end.year:
                with self._stores.files.lock(location_id):
                    forget_year(folder, location_id, year)
                if (location_id, year) not in told:
                    name = history.path(location_id, year).relative_to(folder).as_posix()
                    yield Mended(name, "nothing of it was to be had again", complete=False)

    def _is_short(self, location_id: int, report: RunReport, told: Told) -> bool:
        """Say whether an archive that was read had too little: fewer rows than there were, or no file."""
        return (
            not report.counts.new
            or any(place.warnings for place in report.locations)
            or bool(list(self._missing(location_id, told)))
        )

    def _missing(self, location_id: int, told: Told) -> Iterator[tuple[int, int, int]]:
        """Yield each year that has fewer rows than before, with how many it has and had."""
        history = History(self._settings.data_dir)
        for (location, year), before in told.items():
            now = history.year(location_id, year).num_rows if location == location_id else before
            if now < before:
                yield year, now, before

    def _short(self, location_id: int, told: Told) -> Iterator[Mended]:
        """Yield for each year that has fewer rows than before that they are gone."""
        history = History(self._settings.data_dir)
        for year, now, before in self._missing(location_id, told):
            said = f"{now:,} of the {before:,} rows it had are there; the others were not to be had again"
            path = history.path(location_id, year).relative_to(self._settings.data_dir)
            yield Mended(path.as_posix(), said, complete=False)

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
        if way.source in self._outages:
            return self._outages[way.source]
        settings = self._settings.model_copy(update={"locations": [location_id], "selections": ()})
        try:
            report = backfill(
                settings,
                way.span,
                source=way.source,
                watcher=self._watcher,
                stop=OwnStop(self._stop),
                clock=self._clock,
            )
        except Stopped:
            raise
        except PipelineError as error:
            return error.advice
        self._stop.check()
        if report.error is not None:
            self._outages[way.source] = f"{report.error.rstrip('.')}. {report.hint}".strip()
            return self._outages[way.source]
        place = report.locations[0]
        return report if report.complete else f"{place.error}"
