"""The locations: lists of them, one of them, and what it measured last."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query

from openaq_pipeline.model import Location
from openaq_pipeline.reading.latest import latest
from openaq_pipeline.reports import WORST_FIRST, LocationHealth
from openaq_pipeline.web.api import models
from openaq_pipeline.web.api.asking import MOST_RESULTS, LocationId, LocationsAsked
from openaq_pipeline.web.failures import Failure
from openaq_pipeline.web.look import Look, Seen
from openaq_pipeline.web.search import is_meant, words_of

EARTH_METRES = 6_371_000

Place = tuple[LocationHealth | None, Location | None]
Matches = Callable[[LocationHealth, Location | None], bool]


def router(look: Look) -> APIRouter:
    """Return the routes about locations."""
    routes = APIRouter(tags=["locations"])

    @routes.get("/locations", summary="The selected locations")
    def locations(asked: Annotated[LocationsAsked, Query()]) -> models.Locations:
        """Return a page of the locations that are selected, as far as they match all that is asked for."""
        seen = look.seen()
        found = chosen(seen, asked)
        results = [location_of(each, seen.locations.get(each.location_id)) for each in asked.of(found)]
        return models.Locations(meta=asked.meta(len(found)), results=results)

    @routes.get("/locations/{locations_id}", summary="One location", responses={404: {"model": models.Problem}})
    def location(locations_id: LocationId) -> models.Location:
        """Return a location, also one that is no longer selected but known."""
        return location_of(*place(look.seen(), locations_id))

    @routes.get(
        "/locations/{locations_id}/latest",
        summary="The last value of each sensor of a location",
        responses={404: {"model": models.Problem, "description": "It is not known here"}},
    )
    def latest_values(locations_id: LocationId) -> models.Latests:
        """Return what each sensor measured last, unless it is silent for weeks, with its last 24 hours."""
        place(look.seen(), locations_id)
        found = latest(look.settings.data_dir, locations_id, look.now())
        results = [models.Latest.model_validate(each, from_attributes=True) for each in found]
        return models.Latests(meta=models.Meta(page=1, limit=MOST_RESULTS, found=len(found)), results=results)

    return routes


def place(seen: Seen, location_id: int) -> Place:
    """Return what is known of a location; raises a `Failure` (404) for one of which nothing is."""
    found = seen.places.get(location_id), seen.locations.get(location_id)
    if found == (None, None):
        raise Failure(404, f"Location {location_id} is not known here", "See /api/v1/locations for those that are.")
    return found


def chosen(seen: Seen, asked: LocationsAsked) -> list[LocationHealth]:
    """Return the selected locations that match, in the order that was asked for."""
    tests = list(_tests(asked))
    found = [
        each
        for each in seen.places.values()
        if all(matches(each, seen.locations.get(each.location_id)) for matches in tests)
    ]
    found.sort(key=_keys(asked.order_by), reverse=asked.sort_order == "desc")
    return found


def _keys(order: str) -> Callable[[LocationHealth], Any]:
    """Return what locations are sorted by; the id decides between those that are alike."""
    return {
        "id": lambda each: each.location_id,
        "name": lambda each: ((each.name or "").casefold(), each.location_id),
        "age": lambda each: (math.inf if each.age_seconds is None else each.age_seconds, each.location_id),
        "status": lambda each: (WORST_FIRST.index(each.status), each.location_id),
    }[order]


def _tests(asked: LocationsAsked) -> Iterator[Matches]:
    """Yield what a location must match; cheap ones first."""
    if asked.status is not None:
        yield lambda place, _: place.status == asked.status
    if asked.iso is not None:
        iso = asked.iso.upper()
        yield lambda _, known: known is not None and known.country_code == iso
    if asked.monitor is not None:
        yield lambda _, known: known is not None and known.is_monitor == asked.monitor
    if asked.mobile is not None:
        yield lambda _, known: known is not None and known.is_mobile == asked.mobile
    if asked.bbox is not None:
        west, south, east, north = map(float, asked.bbox.split(","))
        yield lambda _, known: _within(known, west, south, east, north)
    if asked.parameters_id is not None:
        parameters = set(asked.parameters_id)
        yield lambda _, known: known is not None and any(each.parameters_id in parameters for each in known.sensors)
    if asked.licenses_id is not None:
        licenses = set(asked.licenses_id)
        yield lambda _, known: known is not None and any(each.id in licenses for each in known.licenses)
    if asked.coordinates is not None:
        latitude, longitude = map(float, asked.coordinates.split(","))
        yield lambda _, known: _metres(known, latitude, longitude) <= asked.radius
    if asked.search is not None:
        words = words_of(asked.search)
        yield lambda place, known: is_meant(words, place, known)


def _within(known: Location | None, west: float, south: float, east: float, north: float) -> bool:
    if known is None or known.latitude is None or known.longitude is None:
        return False
    return west <= known.longitude <= east and south <= known.latitude <= north


def _metres(known: Location | None, latitude: float, longitude: float) -> float:
    """Return how far a location is from a point; infinity where it has no coordinates."""
    if known is None or known.latitude is None or known.longitude is None:
        return math.inf
    one, other = math.radians(latitude), math.radians(known.latitude)
    across = math.sin(math.radians(known.longitude - longitude) / 2) ** 2
    along = math.sin((other - one) / 2) ** 2
    return 2 * EARTH_METRES * math.asin(math.sqrt(min(1.0, along + math.cos(one) * math.cos(other) * across)))


def location_of(place: LocationHealth | None, known: Location | None) -> models.Location:
    """Return a location as the API tells it."""
    parked = {each.sensors_id: each for each in place.parked} if place else {}
    return models.Location(
        id=place.location_id if place else known.id if known else 0,
        name=(place.name if place else None) or (known.name if known else None),
        locality=known.locality if known else None,
        iso=known.country_code if known else None,
        country=known.country_name if known else None,
        coordinates=_coordinates(known),
        timezone=known.timezone if known else None,
        provider=known.provider if known else None,
        owner=known.owner if known else None,
        is_mobile=known.is_mobile if known else None,
        is_monitor=known.is_monitor if known else None,
        status=place.status if place else None,
        datetime_last=place.latest if place else None,
        age_seconds=place.age_seconds if place else None,
        last_successful_run=place.last_successful_run if place else None,
        error=place.error if place else None,
        sensors=[
            models.Sensor(
                id=each.id,
                parameters_id=each.parameters_id,
                parameter=each.parameter,
                units=each.units,
                display_name=each.display_name,
                parked=_parked(parked.get(each.id)),
            )
            for each in (known.sensors if known else ())
        ],
        licenses=[
            models.License.model_validate(each, from_attributes=True) for each in (known.licenses if known else ())
        ],
    )


def _coordinates(known: Location | None) -> models.Coordinates | None:
    if known is None or known.latitude is None or known.longitude is None:
        return None
    return models.Coordinates(latitude=known.latitude, longitude=known.longitude)


def _parked(found: Any) -> models.Parked | None:
    return None if found is None else models.Parked(until=found.until, error=found.error)
