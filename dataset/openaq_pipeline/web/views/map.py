"""What stands around the map: how many locations are on it, what they measure, and a list of the first."""

from __future__ import annotations

from collections import Counter

from openaq_pipeline.model import Location
from openaq_pipeline.reports import LocationHealth
from openaq_pipeline.web.look import Seen
from openaq_pipeline.web.wording import coordinates, plain

LISTED = 200
"""So many locations are listed beneath the map."""

OFFERED = 30
"""So many parameters may be chosen, those of the most locations first."""


def placed(seen: Seen) -> list[tuple[LocationHealth, Location, float, float]]:
    """Return the selected locations that have coordinates on the globe."""
    found = []
    for health in seen.overview.health.locations:
        known = seen.placed(health.location_id)
        if known is not None and known.latitude is not None and known.longitude is not None:
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


def _name(health: LocationHealth) -> str:
    return plain(health.name) or f"Location {health.location_id}"
