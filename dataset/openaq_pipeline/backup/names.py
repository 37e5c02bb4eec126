"""Which files of a data folder are backed up, and in which order: that of their places, which never goes back.

What is not listed here is neither taken nor put back: locks, probes, temporary files, logs, and the ledger of requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from openaq_pipeline.files import storage_error
from openaq_pipeline.storage.sealed import history_folder

STATE = ".state.json"
"""The first of all: what it says of the data must be true of those that are taken after it."""

LAST = ("locations.json", "licenses.json", ".selections.json", "metrics.json", ".alerts.json")
"""What belongs to no single location. Behind the data, so that each location that is taken is described."""

PARQUET = "measurements.parquet"
_HISTORY = 3
_OF_LOCATION = (
    ".sealed/location_{}.json",
    "location_{}.json",
    ".location_{}.loss",
    f"history/location_id={{}}/year={{}}/{PARQUET}",
    ".repair/location_{}.json",
    ".backfill/location_{}.json",
    ".audit/location_{}.json",
    "rejects/location_{}.jsonl",
)
"""The files of a location; `{}` is its id, and then the year."""

_ID, _YEAR = r"([1-9][0-9]{0,9})", r"([0-9]{4})"
MOST_ID = 2**31 - 1


def _pattern(form: str) -> re.Pattern[str]:
    parts = iter((_ID, _YEAR))
    return re.compile("".join(next(parts) if part == "{}" else re.escape(part) for part in re.split(r"(\{\})", form)))


_PATTERNS = tuple(_pattern(form) for form in _OF_LOCATION)
_ASIDE = re.compile(r"(.+)\.damaged-[0-9]{8}T[0-9]{6}Z(?:-[0-9]{1,3})?", re.ASCII)
_YEAR_ASIDE = re.compile(rf"damaged/location_{_ID}\.{_YEAR}\.{re.escape(PARQUET)}")
_FOLDERS = (".", ".sealed", ".repair", ".backfill", ".audit", "rejects", "damaged")


class Place(NamedTuple):
    """Where a file stands in the order: the state, the locations by id, what belongs to all, what was set aside."""

    part: int
    location_id: int = 0
    kind: int = 0
    year: int = 0
    name: str = ""


def place_of(name: str) -> Place | None:
    """Return where a file stands, by its path from the data folder on; None: it is none of those."""
    if name == STATE:
        return Place(0)
    if name in LAST:
        return Place(2, kind=LAST.index(name))
    for kind, pattern in enumerate(_PATTERNS):
        if (found := pattern.fullmatch(name)) and int(found[1]) <= MOST_ID:
            return Place(1, int(found[1]), kind, int(found[2]) if kind == _HISTORY else 0)
    return Place(3, name=name) if _is_set_aside(name) else None


def _is_set_aside(name: str) -> bool:
    """Say whether a file is a damaged one that is kept for a person to look at."""
    if not (found := _ASIDE.fullmatch(name)):
        return False
    place = place_of(found[1])
    usual = place is not None and place.part < 3 and (place.part, place.kind) != (1, _HISTORY)
    return usual or _YEAR_ASIDE.fullmatch(found[1]) is not None


def locations(folder: Path) -> list[int]:
    """Return the locations that have any file, by id. Raises `StorageError`."""
    histories = (f"history/{name}/year=0000/{PARQUET}" for name in _inside(folder, "history"))
    places = map(place_of, chain(_all(folder), histories))
    return sorted({place.location_id for place in places if place and place.part == 1})


def of_location(folder: Path, location_id: int) -> Iterator[str]:
    """Yield the names that files of a location have or may have, in their order; wants its lock. See `locations`."""
    for kind, form in enumerate(_OF_LOCATION):
        if kind != _HISTORY:
            yield form.format(location_id)
            continue
        inside = _inside(folder, history_folder(folder, location_id).relative_to(folder).as_posix())
        for year in sorted(name.removeprefix("year=") for name in inside):
            if place_of(name := form.format(location_id, year)):
                yield name


def set_aside(folder: Path) -> list[str]:
    """Return the files that were damaged and are kept. Raises `StorageError`."""
    return sorted(name for name in _all(folder) if _is_set_aside(name))


def _all(folder: Path) -> Iterator[str]:
    """Yield what is directly in the folders of a data folder, by its path from there on."""
    for place in _FOLDERS:
        yield from (name if place == "." else f"{place}/{name}" for name in _inside(folder, place))


def _inside(folder: Path, place: str) -> list[str]:
    try:
        return [path.name for path in (folder / place).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise storage_error(error, folder / place) from error
