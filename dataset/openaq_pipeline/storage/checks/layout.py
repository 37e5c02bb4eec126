"""Looking at names: which locations a data folder holds, and what in it is nobody's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from openaq_pipeline import restored
from openaq_pipeline.files import storage_error
from openaq_pipeline.reports import Finding
from openaq_pipeline.storage.checks.findings import AT_REST, fault
from openaq_pipeline.storage.history import FILE

DAMAGED = "damaged"
"""The folder for what may not stay beside data, because readers of Parquet folders read every file."""

_ID = r"([1-9][0-9]{0,9})"
_BY_LOCATION = (
    (".", re.compile(rf"location_{_ID}\.json", re.ASCII)),
    (".sealed", re.compile(rf"location_{_ID}\.json", re.ASCII)),
    (".backfill", re.compile(rf"location_{_ID}\.json", re.ASCII)),
    (".repair", re.compile(rf"location_{_ID}\.json", re.ASCII)),
    ("rejects", re.compile(rf"location_{_ID}\.jsonl", re.ASCII)),
    ("history", re.compile(rf"location_id={_ID}", re.ASCII)),
)
_YEAR = re.compile(r"year=([0-9]{4})", re.ASCII)
_TEMPORARY = re.compile(r"\.(.+)\.tmp", re.DOTALL)
_ASIDE = re.compile(r".+\.damaged-[0-9]{8}T[0-9]{6}Z(-[0-9]+)?", re.DOTALL)
_FOLDERS = (".", ".sealed", ".backfill", ".repair", ".audit", "rejects", DAMAGED)


def location_ids(folder: Path) -> set[int]:
    """Return the ids of all locations that have a file in a data folder; raises `StorageError`."""
    found = {
        int(match[1])
        for place, name in _BY_LOCATION
        for path in _inside(folder / place)
        if (match := name.fullmatch(path.name))
    }
    return {location_id for location_id in found if location_id < 2**31}


def years(folder: Path) -> list[int]:
    """Return the years that a location's history has a file for, or something in its place; raises `StorageError`."""
    found = [
        int(match[1]) for path in _inside(folder) if (match := _YEAR.fullmatch(path.name)) and _exists(path / FILE)
    ]
    return sorted(year for year in found if year)


def odd_names(folder: Path) -> Iterator[tuple[Path, Finding]]:
    """Yield what is left over in a data folder, was set aside, or does not belong into its history."""
    yield from _cut_off_restores(folder)
    for place in _FOLDERS:
        for path in sorted(_inside(folder / place)):
            if path.is_file() and (finding := _leftover(path)):
                yield path, finding
    for path in sorted(_inside(folder / "history")):
        match = _BY_LOCATION[-1][1].fullmatch(path.name)
        if match is None or int(match[1]) >= 2**31 or not path.is_dir():
            yield path, _leftover(path) or _foreign()
            continue
        yield from odd_history(path)


def _cut_off_restores(folder: Path) -> Iterator[tuple[Path, Finding]]:
    """Yield the folders of a restore that was killed, or is at work."""
    if _exists(folder / restored.WHOLE):
        said = "a restore was cut off while its files were moved from here into their place, unless it is at work"
        yield folder / restored.WHOLE, fault("unfinished_restore", said, "The next run, or `restore` again, goes on.")
    if _exists(folder / restored.STAGING):
        said = "a restore was cut off before it was whole, unless it is at work; nothing reads this folder"
        yield folder / restored.STAGING, Finding("unfinished_restore", "info", 1, said, "Restore again, or delete it.")


def odd_history(folder: Path) -> Iterator[tuple[Path, Finding]]:
    """Yield what does not belong into a location's history."""
    for path in sorted(_inside(folder)):
        if not _YEAR.fullmatch(path.name) or path.name == "year=0000" or not path.is_dir():
            yield path, _leftover(path) or _foreign()
            continue
        for inner in sorted(_inside(path)):
            if inner.name != FILE:
                yield inner, _leftover(inner) or _foreign()


def is_temporary(path: Path) -> bool:
    """Say whether a file is the unfinished next version of another."""
    return _TEMPORARY.fullmatch(path.name) is not None


def _leftover(path: Path) -> Finding | None:
    """Return what a file is that a writer or a repair of this program left there; None: it is neither."""
    if is_temporary(path):
        said = "it was left by a writer that was killed, unless one is at work just now"
        return Finding("left_behind", "info", 1, said, AT_REST)
    if _ASIDE.fullmatch(path.name):
        said = "it was damaged and is kept; nothing reads it"
        return Finding("set_aside", "info", 1, said, "Delete it when you need it no more.")
    return None


def _foreign() -> Finding:
    said = "it is none of this program's, and readers that take the whole folder may read it, or refuse it"
    return Finding("foreign_file", "warning", 1, said, "Move it elsewhere; a repair leaves it alone.")


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise storage_error(error, folder) from error


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except OSError:
        return True  # whoever reads it finds out what is the matter
