"""Archive files for tests, written as OpenAQ's exporter writes them."""

from __future__ import annotations

import csv
import gzip
import io
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path

from openaq_pipeline.model import Measurement

HEADER = ("location_id", "sensors_id", "location", "datetime", "lat", "lon", "parameter", "units", "value")


def archive_path(location_id: int, day: date) -> str:
    """Return where the archive has a location's file of a local day."""
    folder = f"records/csv.gz/locationid={location_id}/year={day:%Y}/month={day:%m}"
    return f"{folder}/location-{location_id}-{day:%Y%m%d}.csv.gz"


def local_day(row: Measurement) -> date:
    """Return the day at the station whose file has the row: midnight ends the day before."""
    return (datetime.fromisoformat(row.datetime_local) - timedelta(microseconds=1)).date()


def archive_csv(rows: Iterable[Measurement], *, name: str = "Del Norte") -> bytes:
    """Return rows as a file of the archive has them, not packed yet."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow(HEADER)
    for row in rows:
        place = f"{name}-{row.location_id}"
        known = (row.datetime_local, 35.1353, -106.584702, row.parameter, row.units, row.value)
        writer.writerow((row.location_id, row.sensors_id, place, *known))
    return text.getvalue().encode()


def write_archive(root: Path, rows: Iterable[Measurement], *, name: str = "Del Norte") -> list[Path]:
    """Write rows to the files of a copy of the archive in `root`, in the order given; return the files by path.

    A file that is there already is written anew, as OpenAQ does when later rows arrive for its day: give all rows.
    """
    days: dict[str, list[Measurement]] = defaultdict(list)
    for row in rows:
        days[archive_path(row.location_id, local_day(row))].append(row)
    for path, those in days.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(gzip.compress(archive_csv(those, name=name), mtime=0))
    return sorted(root / path for path in days)
