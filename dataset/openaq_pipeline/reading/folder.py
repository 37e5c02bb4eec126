"""The data folder as readers find it: where it is, and which locations and years it holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from openaq_pipeline import config as configuration
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.files import exists, storage_error
from openaq_pipeline.storage.sealed import history_folder, seal_path

LOCATION_FILE = re.compile(r"location_([1-9][0-9]{0,9})\.json", re.ASCII)
LOCATION_FOLDER = re.compile(r"location_id=([1-9][0-9]{0,9})", re.ASCII)
YEAR_FOLDER = re.compile(r"year=([0-9]{1,4})", re.ASCII)
PARQUET = "measurements.parquet"


def data_folder(data_dir: str | os.PathLike[str] | None, config: str | os.PathLike[str] | None) -> Path:
    """Return the data folder: as given, else as the environment, `.env` or the configuration name it.

    A configuration is only read where it is needed. Raises `ConfigError` for a broken one, with its problems as notes
    of the exception, and for a folder that is not there.
    """
    if data_dir is not None and config is None:
        return existing(Path(data_dir).absolute())
    try:
        settings = configuration.load(
            config=None if config is None else Path(config), data_dir=None if data_dir is None else Path(data_dir)
        )
    except ConfigError as error:
        for note in (*error.problems, error.hint):
            if note:
                error.add_note(note)
        raise
    return existing(settings.data_dir)


def existing(folder: Path) -> Path:
    """Return a data folder that is there; raises `ConfigError` for one that is not."""
    if not folder.is_dir():
        hint = "Run the main job first, or name another folder (`data_dir`, --data-dir, DATA_DIR)."
        raise ConfigError(f"There is no data folder {folder}", hint=hint)
    return folder


def live_locations(folder: Path) -> list[int]:
    """Return the locations that have a file in the data folder, in the order of their ids."""
    return sorted(int(found[1]) for name in _names(folder) if (found := LOCATION_FILE.fullmatch(name)))


def sealed_locations(folder: Path) -> list[int]:
    """Return the locations whose history counts, in the order of their ids."""
    ids = [int(found[1]) for name in _names(folder / "history") if (found := LOCATION_FOLDER.fullmatch(name))]
    return sorted(each for each in ids if exists(seal_path(folder, each)))


def years(folder: Path, location_id: int) -> list[int]:
    """Return the years of which a location has a history file, oldest first."""
    found = year_folders(folder, location_id)
    return sorted(year for year in found if exists(history_file(folder, location_id, year)))


def versions(folder: Path, location_id: int) -> dict[int, tuple[int, int, int]]:
    """Return for each year of a location's history which version of the file is there: another one has another mark."""
    found = {}
    for year in year_folders(folder, location_id):
        with suppress(FileNotFoundError):
            stat = history_file(folder, location_id, year).stat()
            found[year] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return found


def history_file(folder: Path, location_id: int, year: int) -> Path:
    """Return where a location's history of a year is."""
    return history_folder(folder, location_id) / f"year={year:04}" / PARQUET


def live_file(folder: Path, location_id: int) -> Path:
    """Return where a location's live rows are."""
    return folder / f"location_{location_id}.json"


def year_folders(folder: Path, location_id: int) -> list[int]:
    """Return the years that a location's history has a folder for, in no order."""
    names = _names(history_folder(folder, location_id))
    return [int(match[1]) for name in names if (match := YEAR_FOLDER.fullmatch(name))]


def _names(folder: Path) -> Iterator[str]:
    """Yield the names in a folder; none for a folder that is not there."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, folder) from error
