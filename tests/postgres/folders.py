"""Data folders for the tests: live files, years of history and where it ends, as the program leaves them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import msgspec
from pyarrow import parquet

from openaq_pipeline.columns import to_table
from openaq_pipeline.files import replacing
from openaq_pipeline.model import Location, Measurement, Sensor, file_order
from openaq_pipeline.storage import sealed
from tests.measurements import described, measurement
from tests.storage.rows import as_file

SEEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
END = datetime(2026, 10, 1, tzinfo=UTC)
"""Where the history of the usual folder ends."""


def rows(
    start: datetime, hours: int, *, location_id: int = 7, sensors: Sequence[int] = (71, 72), value: float = 1.0
) -> list[Measurement]:
    """Return a row of each sensor for each hour, in file order."""
    return [
        measurement(
            value + hour / 10,
            start + timedelta(hours=hour),
            first_seen=SEEN,
            location_id=location_id,
            sensors_id=sensor,
        )
        for hour in range(hours)
        for sensor in sensors
    ]


def write_live(folder: Path, location_id: int, live: Iterable[Measurement]) -> None:
    """Replace a location's file, as the program does."""
    folder.mkdir(exist_ok=True)
    with replacing(folder / f"location_{location_id}.json") as file:
        file.write(as_file(sorted(live, key=file_order)))


def write_history(folder: Path, location_id: int, past: Iterable[Measurement], end: datetime) -> None:
    """Write the years of a history, and then where it ends."""
    place = folder / "history" / f"location_id={location_id}"
    for year, group in groupby(
        sorted(past, key=lambda row: (row.datetime.year, row.key)), lambda row: row.datetime.year
    ):
        there = place / f"year={year:04}"
        there.mkdir(parents=True, exist_ok=True)
        table = to_table(list(group)).replace_schema_metadata({"openaq_pipeline.schema_version": "1"})
        with replacing(there / "measurements.parquet") as file:
            parquet.write_table(
                table, file, compression="zstd", store_schema=False, write_page_checksum=True, row_group_size=100_000
            )
    seal(folder, location_id, end)


def seal(folder: Path, location_id: int, end: datetime) -> None:
    """Say where a location's history ends."""
    sealed.seal(folder, location_id, end)


def location(location_id: int, name: str | None = "Somewhere", sensors: Sequence[int] = (71, 72)) -> Location:
    """Return a described location."""
    found = [Sensor(number, 2, "pm25", "µg/m³") for number in sensors]
    return described(
        location_id, name=name, fetched=SEEN, sensors=found, datetime_first=datetime(2016, 1, 1, tzinfo=UTC)
    )


def write_locations(folder: Path, *locations: Location) -> None:
    """Replace `locations.json`."""
    folder.mkdir(exist_ok=True)
    with replacing(folder / "locations.json") as file:
        file.write(b"[\n" + b",\n".join(map(msgspec.json.encode, locations)) + b"\n]\n")
