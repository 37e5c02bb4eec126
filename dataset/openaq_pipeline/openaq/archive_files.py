"""How OpenAQ's archive is laid out: one gzipped CSV file a location and local day (OPENAQ section 5). Pure."""

from __future__ import annotations

import datetime as dt
import re
from typing import NamedTuple

from openaq_pipeline.model import Window

ROOT = "records/csv.gz"

MOST_FOLDERS = 4
"""A listing gives 1,000 names a call, a year's folder holds 366 at most, OpenAQ began in 2015: about four calls list
a location as a whole, so that only fewer years than that are listed one by one."""

_NAME = re.compile(
    r"records/csv\.gz/locationid=([1-9]\d*)/year=(\d{4})/month=(\d\d)/location-\1-\2\3(\d\d)\.csv\.gz", re.ASCII
)
_DAY = dt.timedelta(days=1)


class ArchiveFile(NamedTuple):
    """A file of the archive as a listing shows it: OpenAQ writes a file anew when later rows arrive for its day.

    `day` is the day at the station: its stamps lie in (local midnight, next local midnight]. `path` begins with
    `records/`. A file with the same path, `size_bytes` and `modified_utc` holds the same bytes.
    """

    day: dt.date
    path: str
    size_bytes: int
    modified_utc: dt.datetime

    @property
    def name(self) -> str:
        """Return the file's name without its folders."""
        return self.path.rpartition("/")[2]


def day_of(path: str, location_id: int) -> dt.date | None:
    """Return the local day whose rows a path of the archive holds; None if it names no day of this location."""
    found = _NAME.fullmatch(path)
    if found is None or int(found[1]) != location_id:
        return None
    try:
        return dt.date(int(found[2]), int(found[3]), int(found[4]))
    except ValueError:
        return None


def days_of(window: Window) -> tuple[dt.date, dt.date] | None:
    """Return the first and last local day that may hold stamps of a window, whatever the zone; None for no day.

    A zone is less than a day off UTC, so one day of margin on each side is enough.
    """
    if window.length <= dt.timedelta(0):
        return None
    start, end = window.start.astimezone(dt.UTC).date(), window.end.astimezone(dt.UTC).date()
    return max(start, dt.date.min + _DAY) - _DAY, min(end, dt.date.max - _DAY) + _DAY


def folders_of(location_id: int, first: dt.date, last: dt.date) -> list[str]:
    """Return the folders to list, with all below them, for a location's files from a `first` day to a `last`."""
    folder = f"{ROOT}/locationid={location_id}"
    years = range(first.year, last.year + 1)
    return [folder] if len(years) > MOST_FOLDERS else [f"{folder}/year={year:04d}" for year in years]
