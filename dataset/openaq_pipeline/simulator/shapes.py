"""Stations, sensors and flags as OpenAQ prints them: field names, order and nulls of its answers."""

from __future__ import annotations

from typing import Any

from openaq_pipeline.simulator.series import clock_face
from openaq_pipeline.simulator.times import spoken
from openaq_pipeline.simulator.worlds.model import (
    Flag,
    Grant,
    Latest,
    Named,
    Parameter,
    Profile,
    Provider,
    Sensor,
    Station,
)


def named(thing: Named | Provider) -> dict[str, Any]:
    """Return id and name."""
    return {"id": thing.id, "name": thing.name}


def parameter(thing: Parameter, *, with_display_name: bool = True) -> dict[str, Any]:
    """Return a parameter as it stands inside other objects."""
    shown = thing.display_name if with_display_name else None
    return {"id": thing.id, "name": thing.name, "units": thing.units, "displayName": shown}


def sensor(thing: Sensor) -> dict[str, Any]:
    """Return a sensor as it stands inside a location."""
    kind = thing.parameter
    return {"id": thing.id, "name": f"{kind.name} {kind.units}", "parameter": parameter(kind)}


def location(station: Station, span: tuple[int, int] | None, distance: float | None) -> dict[str, Any]:
    """Return a location; `span` is first and last stamp, None if it never reported."""
    place = [station.longitude, station.latitude]
    return {
        "id": station.id,
        "name": station.name,
        "locality": station.locality,
        "timezone": station.timezone,
        "country": {"id": station.country.id, "code": station.country.code, "name": station.country.name},
        "owner": named(station.owner),
        "provider": named(station.provider),
        "isMobile": station.is_mobile,
        "isMonitor": station.is_monitor,
        "instruments": [{"id": device.id, "name": device.name} for device in station.instruments],
        "sensors": [sensor(thing) for thing in station.sensors],
        "coordinates": {"latitude": station.latitude, "longitude": station.longitude},
        "licenses": None if station.licenses is None else [_grant(given) for given in station.licenses],
        "bounds": place + place,
        "distance": distance,
        "datetimeFirst": spoken(span[0], station.timezone) if span else None,
        "datetimeLast": spoken(span[1], station.timezone) if span else None,
    }


def sensor_detail(station: Station, thing: Sensor, profile: Profile | None, latest: Latest | None) -> dict[str, Any]:
    """Return a sensor with what is known of its series; all None for one that never reported."""
    if profile is None or latest is None:
        unknown = dict.fromkeys(("datetimeFirst", "datetimeLast", "coverage", "latest", "summary"))
        return {**sensor(thing), **unknown}
    zone = station.timezone
    return {
        **sensor(thing),
        "datetimeFirst": spoken(profile.first_us, zone),
        "datetimeLast": spoken(profile.last_us, zone),
        "coverage": _coverage(profile, zone, thing.interval_us),
        "latest": {
            "datetime": spoken(latest.stamp_us, zone),
            "value": latest.value,
            "coordinates": {"latitude": latest.latitude, "longitude": latest.longitude},
        },
        "summary": _summary(profile),
    }


def latest_row(station: Station, thing: Sensor, latest: Latest) -> dict[str, Any]:
    """Return a row of `/latest`, which names neither parameter nor unit."""
    return {
        "datetime": spoken(latest.stamp_us, station.timezone),
        "value": latest.value,
        "coordinates": {"latitude": latest.latitude, "longitude": latest.longitude},
        "sensorsId": thing.id,
        "locationsId": station.id,
    }


def flag(station: Station, thing: Flag) -> dict[str, Any]:
    """Return a flag; `sensorIds` is always empty, a defect of the official server (OPENAQ section 2.9)."""
    return {
        "locationId": station.id,
        "flagType": {"id": thing.type_id, "label": thing.label, "level": thing.level},
        "datetimeFrom": spoken(thing.start_us, station.timezone),
        "datetimeTo": spoken(thing.end_us, station.timezone),
        "sensorIds": [],
        "note": thing.note,
    }


def _grant(given: Grant) -> dict[str, Any]:
    return {
        "id": given.id,
        "name": given.name,
        "attribution": {"name": given.attribution_name, "url": given.attribution_url},
        "dateFrom": given.date_from,
        "dateTo": given.date_to,
    }


def _coverage(profile: Profile, zone: str, interval_us: int) -> dict[str, Any]:
    # Upstream expects one period for the whole series, hence percentages in the millions (section 2.4).
    percent = profile.rows * 100.0
    observed = profile.rows * interval_us
    return {
        "expectedCount": 1,
        "expectedInterval": clock_face(interval_us),
        "observedCount": profile.rows,
        "observedInterval": clock_face(observed),
        "percentComplete": percent,
        "percentCoverage": percent,
        "datetimeFrom": spoken(profile.first_us, zone),
        "datetimeTo": spoken(profile.last_us, zone),
    }


def _summary(profile: Profile) -> dict[str, float | None]:
    unknown = dict.fromkeys(("q02", "q25", "median", "q75", "q98"))
    return {
        "min": profile.minimum,
        **unknown,
        "max": profile.maximum,
        "avg": profile.average,
        "sd": profile.deviation,
    }
