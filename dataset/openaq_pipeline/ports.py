"""What an ingest needs of the world, as interfaces: the real parts and their in-memory twins both fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from openaq_pipeline.model import (
    ArchiveStamp,
    FileMark,
    LatestPage,
    License,
    Location,
    LocationState,
    Measurement,
    Page,
    Reject,
    Stored,
    Window,
)

if TYPE_CHECKING:
    import pyarrow as pa


class Source(Protocol):
    """Where rows come from; see `openaq.api.Api`."""

    def location(self, location_id: int) -> Location:
        """Return a location with its sensors."""

    def measurements(self, location_id: int, sensors_id: int, window: Window, *, attempts: int | None = None) -> Page:
        """Return the oldest rows of a sensor in a window."""


class LatestSource(Protocol):
    """Where the last rows of many sensors are told at once; see `openaq.api.Api`."""

    def location_latest(self, location_id: int) -> LatestPage:
        """Return the last row of each sensor of a location."""

    def parameter_latest(self, parameters_id: int, since: datetime, page: int) -> LatestPage:
        """Return a page of the last rows of all sensors of a parameter, of those that have one later than `since`."""


class RowStore(Protocol):
    """Where rows go; see `storage.locations.LocationFiles`. All but `lock`, `mark` and `history` want the lock."""

    def lock(self, location_id: int) -> AbstractContextManager[None]:
        """Hold a location for one read, merge and write."""

    def mark(self, location_id: int) -> FileMark | None:
        """Return what tells this version of the store from any other; None: nothing stored."""

    def history(self) -> HistoryStore:
        """Return where the rows from before `sealed_to` are."""

    def sealed_to(self, location_id: int) -> datetime | None:
        """Return the first moment whose rows are here and not in the history; None: all are here."""

    def seal(self, location_id: int, to: datetime) -> FileMark:
        """Let the rows before `to`, which the history has by now, count there and not here; there is a mark then."""

    def oldest(self, location_id: int) -> datetime | None:
        """Return the stamp of the first row; None: there is none."""

    def inspect(self, location_id: int, mark: FileMark | None, now: datetime) -> Stored:
        """Return what is stored, mended if need be."""

    def disclaim(self, location_id: int) -> None:
        """Note that no watermark may be derived from what is stored, until `inspect` is given its mark."""

    def tail(self, location_id: int, since: datetime, until: datetime | None = None) -> list[Measurement]:
        """Return the rows stored here with since <= stamp < until, in file order; None: up to the end."""

    def replace_tail(self, location_id: int, since: datetime, rows: Sequence[Measurement]) -> FileMark:
        """Put `rows` in the place of all rows from `since` on, all at once or not at all."""


class HistoryStore(Protocol):
    """Where rows older than the live window are, a table a year; see `storage.history.History`."""

    def year(self, location_id: int, year: int) -> pa.Table:
        """Return all rows of a year in file order, as a table of schema `columns.HISTORY`."""

    def read(self, location_id: int, start: datetime, end: datetime) -> pa.Table:
        """Return the rows with start <= stamp < end, by year and in the order of each file."""

    def latest(self, location_id: int, before: datetime) -> dict[int, datetime]:
        """Return the latest stamp before a moment of each sensor."""

    def write(self, location_id: int, year: int, table: pa.Table, licenses: Iterable[License] | None) -> None:
        """Replace a location's rows of a year; wants its lock held."""


class RejectStore(Protocol):
    """Where broken rows go; see `storage.rejects.Rejects`."""

    def add(self, location_id: int, rejects: Iterable[Reject]) -> None:
        """Keep what is not there yet."""


class ProgressStore(Protocol):
    """How far backfills have come; see `storage.progress.Progress`. All but reading wants the location's lock."""

    def rest(self, location_id: int, sensors_id: int, span: Window) -> Window | None:
        """Return what of a range is still to be read of a sensor; None: nothing."""

    def reached(self, location_id: int, span: Window, ends: dict[int, datetime]) -> None:
        """Remember up to where the range was read and stored, by sensor."""

    def stored_files(self, location_id: int) -> dict[str, ArchiveStamp]:
        """Return which files of the archive are stored, by their day."""

    def stored(self, location_id: int, files: Iterable[tuple[str, ArchiveStamp]]) -> None:
        """Remember files of the archive as stored."""


class StateStore(Protocol):
    """Where the watermarks are; see `storage.state.StateFile`."""

    def get(self, location_id: int) -> LocationState:
        """Return what is remembered of a location."""

    def put(self, location_id: int, state: LocationState) -> None:
        """Remember it."""


class MetadataStore(Protocol):
    """Where locations are described; see `storage.metadata.Metadata`."""

    def get(self, location_id: int) -> Location | None:
        """Return what is known of a location; None: nothing."""

    def is_fresh(self, location_id: int, now: datetime) -> bool:
        """Say whether it was asked for within the last day."""

    def put(self, location: Location) -> None:
        """Remember it."""
