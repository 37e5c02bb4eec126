"""`.sealed/location_{id}.json`: up to where a location's rows are in its history.

A row with a stamp before `sealed_to` counts only where it stands in the history, any other only where it stands in
`location_{id}.json`. Replacing this little file by one with a later `sealed_to` is therefore what
moves rows, all at once; whatever an interrupted move
leaves behind on the wrong side is ignored by every reader. It is no part of `history/`, because some readers of Parquet
folders refuse what is not Parquet. See docs/decisions/0013-history-layout.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from openaq_pipeline.bounded import NOTE_BYTES, whole
from openaq_pipeline.errors import FatalError, StorageError
from openaq_pipeline.files import exists, make_durably, replacing, storage_error
from openaq_pipeline.model import UNREADABLE

VERSION = 1


class _Sealed(msgspec.Struct):
    version: int
    sealed_to: Annotated[datetime, msgspec.Meta(tz=True)]
    years: dict[int, Annotated[datetime, msgspec.Meta(tz=True)]] = {}


def history_folder(folder: Path, location_id: int) -> Path:
    """Return where a location's history is, below the data folder."""
    return folder / "history" / f"location_id={int(location_id)}"


def has_history(folder: Path) -> bool:
    """Say whether rows of any location may be in a history."""
    return exists(folder / "history") or exists(folder / ".sealed")


def seal_path(folder: Path, location_id: int) -> Path:
    """Return where is written how far a location's history reaches."""
    return folder / ".sealed" / f"location_{int(location_id)}.json"


def sealed_to(folder: Path, location_id: int) -> datetime | None:
    """Return the first moment whose rows are not in a location's history; None: it has none, all is in its file.

    Raises `StorageError` for a damaged file: without it nobody knows which of two places counts. Raises `FatalError`
    if a newer version of this program wrote it.
    """
    found = _read(folder, location_id)
    return None if found is None else found.sealed_to.astimezone(UTC)


def years(folder: Path, location_id: int) -> dict[int, datetime]:
    """Return the first stamp of each year that a history has, or had: whoever lost a file learns it here.

    None are noted of a history that was not written to since this program does so. Raises as `sealed_to`.
    """
    found = _read(folder, location_id)
    return {} if found is None else {year: first.astimezone(UTC) for year, first in found.years.items()}


def note_years(folder: Path, location_id: int, firsts: Mapping[int, datetime]) -> None:
    """Note with which stamps years of a history begin, if it is sealed; wants the location's lock, and those durable.

    A seal that can't be read is left to the repair, and rows can be written all the same.
    """
    try:
        found = _read(folder, location_id)
    except StorageError as error:
        if isinstance(error.__cause__, UNREADABLE):
            return
        raise
    known = {} if found is None else years(folder, location_id)
    if found is not None and (noted := _earliest(known, firsts)) != known:
        _write(folder, location_id, found.sealed_to, noted)


def forget_year(folder: Path, location_id: int, year: int) -> None:
    """Forget that there was a year, of which nothing can be had again; wants the location's lock."""
    found = _read(folder, location_id)
    if found is not None and year in found.years:
        _write(folder, location_id, found.sealed_to, {key: first for key, first in found.years.items() if key != year})


def _earliest(some: Mapping[int, datetime], others: Mapping[int, datetime]) -> dict[int, datetime]:
    both = {**some, **others}
    return {year: min(some.get(year, first), first) for year, first in sorted(both.items())}


def _read(folder: Path, location_id: int) -> _Sealed | None:
    """Return what a seal says; None: there is none."""
    path = seal_path(folder, location_id)
    try:
        found = msgspec.json.decode(whole(path, NOTE_BYTES), type=_Sealed)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, path) from error
    except UNREADABLE as error:
        hint = "Run `openaq-pipeline verify --repair`: it finds out again how far the history reaches."
        raise StorageError(f"{path} is damaged", hint=hint) from error
    if found.version > VERSION:
        raise FatalError(
            f"{path} was written by a newer version of this program", hint="Update this program; nothing was changed."
        )
    return found


def seal(folder: Path, location_id: int, to: datetime, firsts: Mapping[int, datetime] | None = None) -> None:
    """Let the rows before `to` count where they stand in the history; wants the location's lock, and those durable.

    `firsts` are the first stamps of the years that it has by now, as far as the caller knows them.
    """
    try:
        known = years(folder, location_id)
    except StorageError:  # it is replaced, whatever is wrong with it
        known = {}
    _write(folder, location_id, to, _earliest(known, firsts or {}))


def _write(folder: Path, location_id: int, to: datetime, years: Mapping[int, datetime]) -> None:
    path = seal_path(folder, location_id)
    try:
        make_durably(path.parent)
    except OSError as error:
        raise storage_error(error, path.parent) from error
    with replacing(path) as file:
        file.write(msgspec.json.encode(_Sealed(VERSION, to, dict(years))) + b"\n")
