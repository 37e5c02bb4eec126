"""The lists of reference: parameters, countries, providers, owners, licences, instruments, manufacturers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from openaq_pipeline.simulator import shapes
from openaq_pipeline.simulator.answers import Crash, envelope, found_on_page, not_found
from openaq_pipeline.simulator.query import integers, paging
from openaq_pipeline.simulator.times import bare
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.model import Country, License, Parameter, Provider, Station

COUNTED = {"parameters", "countries", "providers", "manufacturers"}
"""These tell the exact total in `found`; the others don't (OPENAQ section 2.1)."""

BROKEN_FILTERS = {
    "parameters": {"iso", "countries_id", "bbox", "coordinates"},
    "countries": {"providers_id"},
    "providers": {"iso", "countries_id", "monitor", "bbox", "coordinates"},
}
"""Upstream these name columns that its views lack, and the answer is a 500 (OPENAQ section 1.3)."""

NAMES = {
    "parameters": "Parameter",
    "countries": "Country",
    "providers": "Provider",
    "owners": "Owner",
    "licenses": "License",
    "instruments": "Instrument",
    "manufacturers": "Manufacturer",
}


class Reference:
    """Bodies of the reference lists for one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._makers: dict[str, Callable[[int], list[dict[str, Any]]]] = {
            "parameters": lambda _now: [_parameter(thing) for thing in world.parameters],
            "countries": self._countries,
            "providers": self._providers,
            "owners": lambda _now: self._owners(),
            "licenses": lambda _now: [_license(thing) for thing in world.licenses],
            "instruments": lambda _now: self._instruments(),
            "manufacturers": lambda _now: self._manufacturers(),
        }

    def page(self, kind: str, query: Mapping[str, str], now_us: int) -> bytes:
        """Return a page of a list of `NAMES`."""
        wanted = paging(query)
        if BROKEN_FILTERS.get(kind, set()) & set(query):
            raise Crash
        things = self._makers[kind](now_us)
        if kind in {"countries", "providers"} and (ids := integers(query, "parameters_id")) is not None:
            things = [thing for thing in things if ids & {item["id"] for item in thing["parameters"]}]
        page = things[wanted.offset : wanted.offset + wanted.limit]
        found: int | str = len(things) if page else 0
        if kind not in COUNTED:
            found = found_on_page(len(page), wanted.limit)
        return envelope(page, found, page=wanted.page, limit=wanted.limit)

    def one(self, kind: str, wanted_id: int, now_us: int) -> bytes:
        """Return a single thing of a list, or its 404."""
        found = [thing for thing in self._makers[kind](now_us) if thing["id"] == wanted_id]
        if not found:
            raise not_found(NAMES[kind])
        return envelope(found, 1)

    def instruments_of(self, manufacturers_id: int) -> bytes:
        """Return the instruments of a manufacturer, none if it is unknown."""
        found = [thing for thing in self._instruments() if thing["manufacturer"]["id"] == manufacturers_id]
        return envelope(found, found_on_page(len(found), 100))

    def _countries(self, now_us: int) -> list[dict[str, Any]]:
        return [
            {
                **_country(country),
                **self._reach([station for station in self._public() if station.country.id == country.id], now_us),
            }
            for country in self._world.countries
        ]

    def _providers(self, now_us: int) -> list[dict[str, Any]]:
        made = []
        for provider in self._world.providers:
            stations = [station for station in self._public() if station.provider.id == provider.id]
            reach = self._reach(stations, now_us)
            parameters = reach.pop("parameters")
            made.append(
                {
                    **_provider(provider),
                    **reach,
                    "entitiesId": 1,
                    "parameters": parameters,
                    "bbox": _bbox(stations),
                }
            )
        return made

    def _reach(self, stations: list[Station], now_us: int) -> dict[str, Any]:
        spans = [span for station in stations if (span := self._world.station_span_us(station, now_us))]
        kinds = {sensor.parameter.id: sensor.parameter for station in stations for sensor in station.sensors}
        return {
            "datetimeFirst": bare(min(first for first, _ in spans)) if spans else None,
            "datetimeLast": bare(max(last for _, last in spans)) if spans else None,
            "parameters": [shapes.parameter(kind, with_display_name=False) for kind in kinds.values()],
        }

    def _owners(self) -> list[dict[str, Any]]:
        owners = {station.owner.id: station.owner for station in self._public()}
        return [shapes.named(owners[key]) for key in sorted(owners)]

    def _instruments(self) -> list[dict[str, Any]]:
        return [
            {
                "id": device.id,
                "name": device.name,
                "isMonitor": device.is_monitor,
                "manufacturer": shapes.named(device.manufacturer),
            }
            for device in self._world.instruments
        ]

    def _manufacturers(self) -> list[dict[str, Any]]:
        made: dict[int, dict[str, Any]] = {}
        for device in self._world.instruments:
            maker = made.setdefault(device.manufacturer.id, {**shapes.named(device.manufacturer), "instruments": []})
            maker["instruments"].append({"id": device.id, "name": device.name})
        return list(made.values())

    def _public(self) -> Iterable[Station]:
        return [station for station in self._world.stations if not station.is_private]


def _parameter(thing: Parameter) -> dict[str, Any]:
    return {**shapes.parameter(thing), "description": thing.description}


def _country(thing: Country) -> dict[str, Any]:
    return {"id": thing.id, "code": thing.code, "name": thing.name}


def _provider(thing: Provider) -> dict[str, Any]:
    return {
        "id": thing.id,
        "name": thing.name,
        "sourceName": thing.source_name,
        "exportPrefix": thing.export_prefix,
        "datetimeAdded": bare(thing.added_us),
    }


def _license(thing: License) -> dict[str, Any]:
    return {
        "id": thing.id,
        "name": thing.name,
        "commercialUseAllowed": thing.commercial_use_allowed,
        "attributionRequired": thing.attribution_required,
        "shareAlikeRequired": thing.share_alike_required,
        "modificationAllowed": thing.modification_allowed,
        "redistributionAllowed": thing.redistribution_allowed,
        "sourceUrl": thing.source_url,
    }


def _bbox(stations: list[Station]) -> dict[str, Any]:
    """Return what holds all stations as GeoJSON: a rectangle, or a point if there is only one place."""
    west, east = min(s.longitude for s in stations), max(s.longitude for s in stations)
    south, north = min(s.latitude for s in stations), max(s.latitude for s in stations)
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south]}
    ring = [[west, south], [west, north], [east, north], [east, south], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
