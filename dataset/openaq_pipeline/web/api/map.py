"""All locations for a map, in columns: of ten thousand a hundred kilobytes, made once for all who look."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from openaq_pipeline.reading.latest import Newest
from openaq_pipeline.web.api import models
from openaq_pipeline.web.api.asking import MapAsked
from openaq_pipeline.web.look import Look, Seen
from openaq_pipeline.web.values import LastValues
from openaq_pipeline.web.wording import plain

KEPT = 4
"""So many maps are kept as they were sent, each of another parameter."""

MAP_NAME_CHARACTERS = 60

JSON = "application/json"

_encode = msgspec.json.Encoder().encode


def router(look: Look) -> APIRouter:
    """Return the route of the map."""
    routes = APIRouter(tags=["locations"])
    maps = _Maps(look)

    @routes.get(
        "/map",
        summary="All selected locations for a map",
        response_class=Response,
        responses={200: {"model": models.Map, "description": "Successful Response"}},
    )
    def map_(asked: Annotated[MapAsked, Query()]) -> Response:
        """Return every selected location that has coordinates, in columns, which take little room."""
        return Response(maps.of(asked.parameter), media_type=JSON)

    return routes


class _Made(NamedTuple):
    """A map as it is sent, and of what it was made."""

    seen: Seen
    found: Mapping[int, Newest]
    pending: int
    body: bytes


class _Maps:
    """Makes maps, and keeps them until there is something new to see."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._values = LastValues(look.settings.data_dir, look.now)
        self._guard = threading.Lock()
        self._made: dict[str | None, _Made] = {}

    def of(self, parameter: str | None) -> bytes:
        """Return the map with the values of a parameter, None: with none."""
        seen = self._look.seen()
        wanted = _measuring(seen, parameter) if parameter else []
        found, pending = self._values.of(parameter, wanted) if parameter and wanted else (NOTHING, 0)
        with self._guard:
            made = self._made.get(parameter)
            if made is None or made.seen is not seen or made.found is not found or made.pending != pending:
                made = _Made(seen, found, pending, _encode(_columns(seen, found, pending)))
                self._made.pop(parameter, None)
                self._made[parameter] = made
                while len(self._made) > KEPT:
                    del self._made[next(iter(self._made))]
            return made.body


NOTHING: Mapping[int, Newest] = {}


def _measuring(seen: Seen, parameter: str) -> list[int]:
    """Return the locations on the map that have a sensor of a parameter."""
    return [
        known.id
        for key in seen.places
        if (known := seen.placed(key)) and any(each.parameter == parameter for each in known.sensors)
    ]


def _columns(seen: Seen, found: Mapping[int, Newest], pending: int) -> dict[str, object]:
    """Return what `models.Map` describes."""
    shown = [(place, known) for key, place in seen.places.items() if (known := seen.placed(key))]
    last = [found.get(known.id) for _, known in shown]
    return {
        "at": seen.at,
        "id": [known.id for _, known in shown],
        "name": [plain(known.name, MAP_NAME_CHARACTERS) for _, known in shown],
        "lat": [known.latitude for _, known in shown],
        "lon": [known.longitude for _, known in shown],
        "status": [place.status for place, _ in shown],
        "value": [each.value if each else None for each in last],
        "units": [each.units if each else None for each in last],
        "aqi": [each.aqi.value if each and each.aqi else None for each in last],
        "pending": pending,
    }
