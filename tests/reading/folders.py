"""Data folders for the tests of the readers, laid out as the program lays them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from openaq_pipeline import columns
from openaq_pipeline.files import replacing
from openaq_pipeline.model import License, LicenseTerms, Location, Measurement, Sensor, file_order
from openaq_pipeline.storage.sealed import history_folder, seal
from tests.measurements import described, measurement

SEEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
UNITS = {"pm25": "µg/m³", "o3": "ppm"}
NUMBERS = {"pm25": 2, "o3": 10}
CC_BY = License(41, "CC BY 4.0", "City of Kathmandu", "https://example.org/air", "2016-01-01", None)
NO_SHARING = License(99, "Look, don't touch", "Somebody", None, "2016-01-01", None)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def series(
    location_id: int, start: datetime, hours: int, *, step: int = 1, parameters: Iterable[str] = ("pm25", "o3")
) -> list[Measurement]:
    """Return a row of each sensor every `step` hours from `start` on, in file order; each value is one of a kind."""
    rows = [
        measurement(
            round(location_id + hour / 10_000 + place / 10, 4),
            start + timedelta(hours=hour),
            first_seen=SEEN,
            location_id=location_id,
            sensors_id=location_id * 10 + place,
            parameter=parameter,
            parameters_id=NUMBERS[parameter],
            units=UNITS[parameter],
        )
        for hour in range(0, hours, step)
        for place, parameter in enumerate(parameters, start=1)
    ]
    return sorted(rows, key=file_order)


def write_live(folder: Path, location_id: int, rows: Sequence[Measurement]) -> None:
    with replacing(folder / f"location_{location_id}.json") as file:
        file.write(b"[\n" + b",\n".join(map(msgspec.json.encode, rows)) + b"\n]\n" if rows else b"[]\n")


def write_history(folder: Path, location_id: int, rows: Sequence[Measurement]) -> None:
    """Write a file for each year; rows of other files stay."""
    for year, found in groupby(sorted(rows, key=file_order), key=lambda row: row.datetime.year):
        place = history_folder(folder, location_id) / f"year={year:04}"
        place.mkdir(parents=True, exist_ok=True)
        table = columns.to_table(sorted(found, key=lambda row: row.key))
        with replacing(place / "measurements.parquet") as file:
            pq.write_table(table, file, compression="zstd", store_schema=False, write_page_checksum=True)


def write_sealed(folder: Path, location_id: int, to: datetime) -> None:
    seal(folder, location_id, to)


def store(folder: Path, location_id: int, rows: Sequence[Measurement], sealed: datetime | None) -> list[Measurement]:
    """Lay out the rows of a location, those before `sealed` in its history; return them in file order."""
    folder.mkdir(exist_ok=True)
    if sealed is not None:
        write_history(folder, location_id, [row for row in rows if row.datetime < sealed])
        write_sealed(folder, location_id, sealed)
    write_live(folder, location_id, [row for row in rows if sealed is None or row.datetime >= sealed])
    return sorted(rows, key=file_order)


def location(location_id: int, licenses: Sequence[License] = (CC_BY,), name: str | None = "Ratnapark") -> Location:
    sensors = tuple(
        Sensor(location_id * 10 + place, NUMBERS[parameter], parameter, UNITS[parameter])
        for place, parameter in enumerate(UNITS, start=1)
    )
    return described(location_id, name=name, fetched=SEEN, licenses=licenses, sensors=sensors)


def describe(folder: Path, *locations: Location) -> None:
    """Write `locations.json`."""
    folder.mkdir(exist_ok=True)
    (folder / "locations.json").write_bytes(msgspec.json.encode(locations))


def terms(license_id: int, *, redistribution: bool | None) -> LicenseTerms:
    return LicenseTerms(
        id=license_id,
        name="Some licence",
        commercial_use_allowed=True,
        attribution_required=True,
        share_alike_required=False,
        modification_allowed=True,
        redistribution_allowed=redistribution,
        source_url="https://example.org/terms",
        fetched=SEEN,
    )


def write_terms(folder: Path, *found: LicenseTerms) -> None:
    (folder / "licenses.json").write_bytes(msgspec.json.encode(found))
