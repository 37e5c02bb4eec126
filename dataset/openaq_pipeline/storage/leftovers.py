"""Temporary files that killed writers have left: found once, removed by whoever holds the location they belong to."""

from __future__ import annotations

import re
from pathlib import Path

from openaq_pipeline.files import storage_error

FOLDERS = (".", ".sealed", ".backfill", ".repair", "rejects")
"""Where files of a location are that its lock guards; a year of the history is written anew by the move that failed."""

_LEFT = re.compile(r"\.location_([1-9][0-9]{0,9})\..*\.tmp", re.ASCII)


def find(folder: Path) -> dict[int, list[Path]]:
    """Return the temporary files by location, also those that are being written just now. Raises `StorageError`."""
    found: dict[int, list[Path]] = {}
    for name in FOLDERS:
        place = folder / name
        try:
            paths = list(place.iterdir())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise storage_error(error, place) from error
        for path in paths:
            if match := _LEFT.fullmatch(path.name):
                found.setdefault(int(match[1]), []).append(path)
    return found


def remove(paths: list[Path]) -> None:
    """Remove temporary files of a location; wants its lock, so that none is being written. Raises `StorageError`."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from error
