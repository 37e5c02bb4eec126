"""A world out of real pages: `measurements/{sensor}-page-{n}.json.gz` with `metadata/` beside it."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.simulator.clock import to_us
from openaq_pipeline.simulator.worlds.catalogue import LICENSES, MAKER, PARAMETERS
from openaq_pipeline.simulator.worlds.model import (
    HOUR_US,
    SECOND_US,
    Country,
    Grant,
    Instrument,
    Named,
    Parameter,
    Provider,
    Sensor,
    Station,
)
from openaq_pipeline.simulator.worlds.stored import StoredRow, StoredWorld


def replay(folder: Path) -> StoredWorld:
    """Return a world with the rows of the folder, each visible from its stamp on; ConfigError without."""
    index = folder / "metadata" / "locations_index.json"
    if not index.is_file():
        raise ConfigError(f"There are no recorded pages in {folder}.", hint="It needs metadata/locations_index.json.")
    rows: dict[int, list[StoredRow]] = {}
    intervals: dict[int, int] = {}
    for path in sorted((folder / "measurements").glob("*-page-*.json.gz")):
        sensors_id = int(path.name.split("-")[0])
        for row in msgspec.json.decode(gzip.decompress(path.read_bytes()))["results"]:
            rows.setdefault(sensors_id, []).append(stored_row(row))
            intervals[sensors_id] = interval_us(row)
    locations = msgspec.json.decode(index.read_bytes())["results"]
    stations = tuple(station(found, intervals, _unlisted(folder, found)) for found in locations)
    return StoredWorld(stations, rows, parameters=_parameters(stations), licenses=LICENSES)


def station(found: dict[str, Any], intervals: dict[int, int], further: Iterable[dict[str, Any]] = ()) -> Station:
    """Return a location as OpenAQ sent it, with the intervals its sensors' rows showed (else an hour)."""
    listed = {sensor["id"]: sensor for sensor in (*found["sensors"], *further)}
    return Station(
        id=found["id"],
        name=found["name"],
        locality=found["locality"],
        timezone=found["timezone"],
        country=msgspec.convert(found["country"], Country),
        owner=msgspec.convert(found["owner"], Named),
        provider=_provider(found["provider"]),
        instruments=tuple(
            Instrument(device["id"], device["name"], found["isMonitor"], MAKER) for device in found["instruments"]
        ),
        latitude=found["coordinates"]["latitude"],
        longitude=found["coordinates"]["longitude"],
        sensors=tuple(_sensor(sensor, intervals) for sensor in listed.values()),
        is_mobile=found["isMobile"],
        licenses=None if found["licenses"] is None else tuple(_grant(given) for given in found["licenses"]),
    )


def stored_row(row: dict[str, Any]) -> StoredRow:
    """Return a row of a `/measurements` page; it can be seen from its stamp on."""
    stamp_us = moment_us(row["period"]["datetimeTo"])
    value = row["value"]
    return StoredRow(stamp_us, None if value is None else float(value), stamp_us)


def interval_us(row: dict[str, Any]) -> int:
    """Return the length of a row's period."""
    hours, minutes, seconds = (int(part) for part in row["period"]["interval"].split(":"))
    return (hours * 3600 + minutes * 60 + seconds) * SECOND_US


def moment_us(shown: dict[str, str]) -> int:
    """Return OpenAQ's `{"utc": …, "local": …}` as microseconds."""
    return to_us(datetime.fromisoformat(shown["utc"]))


def _unlisted(folder: Path, found: dict[str, Any]) -> list[dict[str, Any]]:
    path = folder / "metadata" / "sensors_by_location" / f"location_id={found['id']}.json"
    sensors: list[dict[str, Any]] = msgspec.json.decode(path.read_bytes())["results"] if path.is_file() else []
    return sensors


def _sensor(found: dict[str, Any], intervals: dict[int, int]) -> Sensor:
    kind = found["parameter"]
    known = PARAMETERS.get(kind["id"])
    parameter = Parameter(
        kind["id"], kind["name"], kind["units"], kind["displayName"], known.description if known else None
    )
    return Sensor(found["id"], parameter, intervals.get(found["id"], HOUR_US))


def _provider(found: dict[str, Any]) -> Provider:
    return Provider(found["id"], found["name"], found["name"], found["name"].lower().replace(" ", "-"))


def _grant(found: dict[str, Any]) -> Grant:
    attribution = found["attribution"]
    return Grant(
        found["id"],
        found["name"],
        attribution["name"],
        attribution["url"],
        found["dateFrom"],
        found["dateTo"],
    )


def _parameters(stations: tuple[Station, ...]) -> tuple[Parameter, ...]:
    found = {sensor.parameter.id: sensor.parameter for station in stations for sensor in station.sensors}
    return tuple(found.values())
