"""Looking at all files of one location, one year of it in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from openaq_pipeline.files import exists
from openaq_pipeline.reports import Finding
from openaq_pipeline.storage.checks import layout, live, notes, year
from openaq_pipeline.storage.checks.boundary import Boundary
from openaq_pipeline.storage.checks.findings import broken, fault
from openaq_pipeline.storage.checks.keys import NONE
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.ledgers import Ledgers
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.owed import Owed
from openaq_pipeline.storage.progress import Progress
from openaq_pipeline.storage.rejects import Rejects
from openaq_pipeline.storage.sealed import history_folder, seal_path

ATTEMPTS = 5
"""A run writes a location once or twice, and moves a month of it in less than a second."""


class Checked(msgspec.Struct, frozen=True):
    """A file that was looked at, by its path in the data folder; `rows` is 0 for one without rows."""

    file: str
    rows: int = 0
    findings: tuple[Finding, ...] = ()


class LocationLook(msgspec.Struct, frozen=True):
    """What was found of a location.

    `latest` is the latest stamp that counts of each sensor, None if that can't be told. `broken_years` and `live` are
    to be mended as files. `seal_to` is where the seal belongs if `wrong_seal`; None: the history holds no row that the
    location file lacks, so that there is none to be.
    """

    checked: tuple[Checked, ...]
    latest: Mapping[int, datetime] | None
    broken_years: tuple[int, ...] = ()
    live: live.Look | None = None
    wrong_seal: bool = False
    seal_to: datetime | None = None


def look(folder: Path, location_id: int, issues: Collection[str], now: datetime) -> LocationLook:
    """Return what is found of a location; raises `StorageError` if its folders can't be listed.

    It holds no lock: where a run wrote in between, it looks again.
    """
    files = LocationFiles(folder)
    for _ in range(ATTEMPTS):
        mark, seal = files.mark(location_id), notes.seal(folder, location_id, now)
        found = _Look(folder, location_id, issues).all(*seal)
        if (files.mark(location_id), notes.seal(folder, location_id, now)) == (mark, seal):
            break
    return found


class _Look:
    """One look at a location."""

    def __init__(self, folder: Path, location_id: int, issues: Collection[str]) -> None:
        self._folder = folder
        self._id = location_id
        self._issues = issues
        self._checked: list[Checked] = []

    def all(self, to: datetime | None, wrong: Finding | None) -> LocationLook:
        """Look at every file: the location file first, because what a move takes out of it is in the history then."""
        known = wrong is None
        path = LocationFiles(self._folder).path(self._id)
        here = live.look(path, self._id, to, self._issues)
        if here is not None:
            self._add(path, here.findings, here.rows)
        boundary = Boundary(to, NONE if here is None else here.keys)
        bad = self._history(boundary, to)
        seal = self._seal(wrong, boundary)
        self._rest()
        whole = known and not seal and not bad and (here is None or here.keys is not None)
        return LocationLook(
            tuple(self._checked),
            boundary.latest() if whole else None,
            tuple(bad),
            here,
            broken(tuple(seal)),
            boundary.worked_out(),
        )

    def _history(self, boundary: Boundary, to: datetime | None) -> list[int]:
        """Look at each year, and return those that are to be mended."""
        history, bad = History(self._folder), []
        for number in layout.years(history_folder(self._folder, self._id)):
            path = history.path(self._id, number)
            found = year.look(path, number, to, self._issues)
            if found is None:
                continue
            self._add(path, found.findings, found.rows)
            boundary.year(number, found.keys)
            if broken(found.findings):
                bad.append(number)
        for number in notes.missing_years(self._folder, self._id):
            self._add(history.path(self._id, number), [fault("missing_year", "it is gone, and its rows with it")])
            bad.append(number)
        return sorted(bad)

    def _seal(self, wrong: Finding | None, boundary: Boundary) -> list[Finding]:
        """Look at the seal, and return what is wrong with it."""
        path = seal_path(self._folder, self._id)
        found = list(boundary.findings()) if wrong is None else [wrong]
        if found or exists(path):
            self._add(path, found)
        return found

    def _rest(self) -> None:
        """Look at the small files."""
        path = Rejects(self._folder).path(self._id)
        rows, problem = notes.rejects(path)
        self._add_one(path, problem, rows)
        path = Progress(self._folder).path(self._id)
        self._add_one(path, notes.backfill(path))
        path = Ledgers(self._folder).path(self._id)
        self._add_one(path, notes.ledger(path))
        store = Owed(self._folder)
        if exists(store.path(self._id)):
            self._add(store.path(self._id), notes.owed(store, self._id))

    def _add_one(self, path: Path, problem: Finding | None, rows: int = 0) -> None:
        if problem is not None or exists(path):
            self._add(path, [problem] if problem else [], rows)

    def _add(self, path: Path, findings: Iterable[Finding], rows: int = 0) -> None:
        self._checked.append(Checked(path.relative_to(self._folder).as_posix(), rows, tuple(findings)))
