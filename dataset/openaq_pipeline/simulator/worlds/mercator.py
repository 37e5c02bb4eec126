"""Web Mercator (EPSG:3857), which `/latest` prints by mistake for rows with coordinates of their own."""

from __future__ import annotations

import math

RADIUS_METRES = 6378137.0


def metres(latitude: float, longitude: float) -> tuple[float, float]:
    """Return (northing, easting) in metres of a point in degrees (Snyder 1987, spherical Mercator)."""
    northing = RADIUS_METRES * math.log(math.tan(math.pi / 4 + math.radians(latitude) / 2))
    return northing, RADIUS_METRES * math.radians(longitude)


def degrees(northing: float, easting: float) -> tuple[float, float]:
    """Return (latitude, longitude) in degrees: the inverse of `metres`."""
    latitude = 2 * math.atan(math.exp(northing / RADIUS_METRES)) - math.pi / 2
    return math.degrees(latitude), math.degrees(easting / RADIUS_METRES)
