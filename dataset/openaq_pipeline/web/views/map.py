"""The map: where each location is, how it is, and on request what it measured last of a parameter."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from openaq_pipeline.model import Location
from openaq_pipeline.reading.latest import Newest
from openaq_pipeline.reports import LocationHealth
from openaq_pipeline.web.look import Seen
from openaq_pipeline.web.views.status import STATES
from openaq_pipeline.web.wording import coordinates, plain, unit

LISTED = 200
"""So many locations are listed beneath the map."""

OFFERED = 30
"""So many parameters may be chosen, those of the most locations first."""

NAME_CHARACTERS = 60
PATIENCE_SECONDS = 1.5
"""For so long files are read at a time: the script asks again until it has all, and sees what there is meanwhile."""

Values = Callable[[list[int]], Iterator[tuple[int, Newest]]]


def placed(seen: Seen) -> list[tuple[LocationHealth, Location, float, float]]:
    """Return the selected locations that have coordinates on the globe."""
    found = []
    for health in seen.overview.health.locations:
        known = seen.locations.get(health.location_id)
        if known and known.latitude is not None and known.longitude is not None:
            if abs(known.latitude) <= 90 and abs(known.longitude) <= 180:
                found.append((health, known, known.latitude, known.longitude))
    return found


def parameters(seen: Seen) -> list[tuple[str, int]]:
    """Return the parameters by how many locations measure them."""
    each = (seen.locations.get(health.location_id) for health in seen.overview.health.locations)
    counts = Counter(name for known in each if known for name in {sensor.parameter for sensor in known.sensors})
    return counts.most_common(OFFERED)


def listed(seen: Seen) -> list[tuple[int, str, str, str]]:
    """Return the first locations as a list has them: id, name, coordinates, state."""
    return [
        (health.location_id, _name(health), coordinates(north, east), health.status)
        for health, _, north, east in placed(seen)[:LISTED]
    ]


def data(seen: Seen, newest: Values | None, clock: Callable[[], float] = time.monotonic) -> bytes:
    """Return the locations as JSON: id, name, latitude, longitude, state, and of a parameter the newest value with its
    unit, index and level. `complete` is false if time was up before all files were read.
    """  # noqa: D205 - the list is one sentence
    there = placed(seen)
    values, complete = _values(newest, [health.location_id for health, *_ in there], clock) if newest else ({}, True)
    rows = [
        [health.location_id, _name(health), round(north, 5), round(east, 5), STATES.index(health.status)]
        + _value(values, health.location_id)
        for health, _, north, east in there
    ]
    return msgspec.json.encode({"complete": complete, "locations": rows})


def _values(newest: Values, ids: list[int], clock: Callable[[], float]) -> tuple[dict[int, Newest], bool]:
    """Return the values that could be had in time, and whether these are all."""
    ends, found = clock() + PATIENCE_SECONDS, dict[int, Newest]()
    for start in range(0, len(ids), 50):
        if clock() > ends:
            return found, False
        found.update(newest(ids[start : start + 50]))
    return found, True


def _value(values: Mapping[int, Newest], location_id: int) -> list[Any]:
    found = values.get(location_id)
    if found is None or found.value is None:
        return []
    index = found.aqi
    return [found.value, unit(found.units), index and index.value, index and index.level]


def _name(health: LocationHealth) -> str:
    return plain(health.name, NAME_CHARACTERS) or f"Location {health.location_id}"
