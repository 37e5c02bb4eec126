"""Which locations a query selects: the filters of `/v3/locations` (OPENAQ section 1.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from openaq_pipeline.simulator.answers import Crash
from openaq_pipeline.simulator.query import boolean, integers
from openaq_pipeline.simulator.worlds.model import Station

EARTH_RADIUS_METRES = 6371008.8
MAX_RADIUS_METRES = 25_000

Test = Callable[[Station], bool]

ID_FILTERS: dict[str, Callable[[Station], set[int]]] = {
    "parameters_id": lambda station: {sensor.parameter.id for sensor in station.sensors},
    "providers_id": lambda station: {station.provider.id},
    "owner_contacts_id": lambda station: {station.owner.id},
    "countries_id": lambda station: {station.country.id},
    "licenses_id": lambda station: {grant.id for grant in station.licenses or ()},
    "instruments_id": lambda station: {device.id for device in station.instruments},
    "manufacturers_id": lambda station: {device.manufacturer.id for device in station.instruments},
}


def selected(stations: tuple[Station, ...], query: Mapping[str, str]) -> list[tuple[Station, float | None]]:
    """Return the public stations a query selects, by id, with distances in metres if a place is given."""
    if "iso" in query and "countries_id" in query:
        raise Crash
    tests = _tests(query)
    found = [station for station in stations if not station.is_private and all(test(station) for test in tests)]
    found.sort(key=lambda station: station.id, reverse=query.get("sort_order", "asc").lower() == "desc")
    near = _near(query)
    if near is None:
        return [(station, None) for station in found]
    latitude, longitude, radius = near
    placed = [(station, distance_metres(latitude, longitude, station)) for station in found]
    return [(station, distance) for station, distance in placed if distance <= radius]


def distance_metres(latitude: float, longitude: float, station: Station) -> float:
    """Return the great-circle distance (haversine; upstream uses the spheroid, within 0.6 % of it)."""
    north = math.radians(station.latitude - latitude)
    east = math.radians(station.longitude - longitude)
    flat = math.cos(math.radians(latitude)) * math.cos(math.radians(station.latitude))
    chord = math.sin(north / 2) ** 2 + flat * math.sin(east / 2) ** 2
    return 2 * EARTH_RADIUS_METRES * math.asin(math.sqrt(chord))


def _tests(query: Mapping[str, str]) -> list[Test]:
    """Return what a station must pass, read from the query once and not for each of 25,000 stations."""
    tests = [
        _shares(wanted, ids_of) for name, ids_of in ID_FILTERS.items() if (wanted := integers(query, name)) is not None
    ]
    monitor, mobile = boolean(query, "monitor"), boolean(query, "mobile")
    if monitor is not None:
        tests.append(lambda station: station.is_monitor == monitor)
    if mobile is not None:
        tests.append(lambda station: station.is_mobile == mobile)
    if "iso" in query:
        tests.append(lambda station: station.country.code == query["iso"])
    if "bbox" in query:
        tests.append(_inside(query["bbox"]))
    return tests


def _shares(wanted: set[int], ids_of: Callable[[Station], set[int]]) -> Test:
    return lambda station: not wanted.isdisjoint(ids_of(station))


def _inside(bbox: str) -> Test:
    west, south, east, north = _numbers(bbox, 4)
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise Crash
    return lambda station: west <= station.longitude <= east and south <= station.latitude <= north


def _near(query: Mapping[str, str]) -> tuple[float, float, float] | None:
    if ("coordinates" in query) != ("radius" in query) or ("coordinates" in query and "bbox" in query):
        raise Crash
    if "coordinates" not in query:
        return None
    latitude, longitude = (math.trunc(number * 10_000) / 10_000 for number in _numbers(query["coordinates"], 2))
    (radius,) = _numbers(query["radius"], 1)
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180 and 0 < radius <= MAX_RADIUS_METRES):
        raise Crash
    return latitude, longitude, radius


def _numbers(text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise Crash from None
    if len(numbers) != count:
        raise Crash
    return numbers
