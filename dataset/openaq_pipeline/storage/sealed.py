"""`.sealed/location_{id}.json`: up to where a location's rows are in its history.

A row with a stamp before `sealed_to` counts only where it stands in the history, any other only where it stands in
`location_{id}.json`. Replacing this little file is therefore what moves rows, all at once; whatever an interrupted move
leaves behind on the wrong side is ignored by every reader. It is no part of `history/`, because some readers of Parquet
folders refuse what is not Parquet. See docs/decisions/0013-history-layout.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from openaq_pipeline.bounded import NOTE_BYTES, whole
from openaq_pipeline.errors import FatalError, StorageError
from openaq_pipeline.files import make_durably, replacing, storage_error
from openaq_pipeline.model import UNREADABLE

VERSION = 1


class _Sealed(msgspec.Struct):
    version: int
    sealed_to: Annotated[datetime, msgspec.Meta(tz=True)]


def history_folder(folder: Path, location_id: int) -> Path:
    """Return where a location's history is, below the data folder."""
    return folder / "history" / f"location_id={int(location_id)}"


def seal_path(folder: Path, location_id: int) -> Path:
    """Return where is written how far a location's history reaches."""
    return folder / ".sealed" / f"location_{int(location_id)}.json"


def sealed_to(folder: Path, location_id: int) -> datetime | None:
    """Return the first moment whose rows are not in a location's history; None: it has none, all is in its file.

    Raises `StorageError` for a damaged file: without it nobody knows which of two places counts. Raises `FatalError`
    if a newer version of this program wrote it.
    """
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
    return found.sealed_to.astimezone(UTC)


def seal(folder: Path, location_id: int, to: datetime) -> None:
    """Let the rows before `to` count where they stand in the history; wants the location's lock, and those durable."""
    path = seal_path(folder, location_id)
    try:
        make_durably(path.parent)
    except OSError as error:
        raise storage_error(error, path.parent) from error
    with replacing(path) as file:
        file.write(msgspec.json.encode(_Sealed(VERSION, to)) + b"\n")
