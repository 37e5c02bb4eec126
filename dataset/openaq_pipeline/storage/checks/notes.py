"""Looking at the small JSON files: whether they are what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from openaq_pipeline.bounded import NOTE_BYTES, ROWS_BYTES, whole
from openaq_pipeline.errors import FatalError, StorageError
from openaq_pipeline.model import UNREADABLE, Reject, Window
from openaq_pipeline.reports import Finding
from openaq_pipeline.storage import ledgers, licenses, progress, sealed
from openaq_pipeline.storage.checks import layout
from openaq_pipeline.storage.checks.boundary import absurd
from openaq_pipeline.storage.checks.findings import damaged, fault, newer, of_storage, refused
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.owed import Owed


def seal(folder: Path, location_id: int, now: datetime) -> tuple[datetime | None, Finding | None]:
    """Return how far a location is sealed, None if it is not or nobody can tell, and what is wrong with that."""
    try:
        to = sealed.sealed_to(folder, location_id)
    except FatalError:
        return None, newer()
    except StorageError as error:
        return None, of_storage(error)
    if to is not None and (why := absurd(to, now)):
        return None, fault("absurd_seal", why)
    return to, None


def missing_years(folder: Path, location_id: int) -> list[int]:
    """Return the years that a seal notes, whose file is gone and that no repair owes; none if nobody can tell."""
    try:
        noted, spans = sealed.years(folder, location_id), Owed(folder).spans(location_id)
    except (FatalError, StorageError):
        return []
    gone = noted.keys() - set(layout.years(sealed.history_folder(folder, location_id)))
    return sorted(year for year in gone if not any(span.start < noted[year] <= span.end for span in spans))


def rejects(path: Path) -> tuple[int, Finding | None]:
    """Return how many rows a file of rejects holds, and what is wrong with it."""
    try:
        body = whole(path, ROWS_BYTES)
    except FileNotFoundError:
        return 0, None
    except OSError as error:
        return 0, refused(error)
    except UNREADABLE as error:
        return 0, damaged(str(error))
    good, bad = 0, []
    for line in body.splitlines():
        try:
            msgspec.json.decode(line, type=Reject)
            good += 1
        except UNREADABLE as error:
            bad.append(str(error))
    return good, damaged(f"{len(bad)} of its lines can't be read; first: {bad[0]}") if bad else None


def backfill(path: Path) -> Finding | None:
    """Return what is wrong with a note of how far backfills have come."""

    def decode(body: bytes) -> int:
        return progress.decode(body).version

    return _versioned(path, decode, progress.VERSION)


def ledger(path: Path) -> Finding | None:
    """Return what is wrong with what audits have found of a location."""

    def decode(body: bytes) -> int:
        return ledgers.decode(body).version

    return _versioned(path, decode, ledgers.VERSION)


def owed(store: Owed, location_id: int) -> Iterator[Finding]:
    """Yield what repairs of a location still owe."""
    try:
        spans = store.spans(location_id)
    except StorageError as error:
        yield of_storage(error)
        return
    for span in spans:
        said = f"a repair has still to fetch again what was lost {span_name(span)}"
        yield fault("unfinished_repair", said, "Run `openaq-pipeline verify --repair` when OpenAQ can be reached.")


def locations(store: Metadata, now: datetime) -> Finding | None:
    """Return what is wrong with `locations.json`, and let the store know what it says."""
    return _told(lambda: store.load(now, repair=False))


def terms(folder: Path) -> Finding | None:
    """Return what is wrong with `licenses.json`."""

    def read() -> None:
        licenses.read(folder)

    return _told(read)


def span_name(span: Window) -> str:
    """Return a range in words."""
    return f"from {span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}"


def _told(read: Callable[[], str | None]) -> Finding | None:
    """Return what a store finds wrong with its file when it reads it."""
    try:
        said = read()
    except FatalError:
        return newer()
    except StorageError as error:
        return of_storage(error)
    return damaged("it can't be read as what it should be") if said else None


def _versioned(path: Path, decode: Callable[[bytes], int], version: int) -> Finding | None:
    try:
        found = decode(whole(path, NOTE_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        return refused(error)
    except UNREADABLE as error:
        return damaged(str(error))
    if found > version:
        return newer()
    return None if found == version else damaged(f"it is of version {found}, which is none")
