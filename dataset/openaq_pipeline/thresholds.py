"""Placeholder tables; see the next commit."""

from __future__ import annotations

NEIGHBOUR_HOURS = 3.0
PARAMETER_RANGES: dict[str, object] = {"pm25": [0, 1000]}
FLAT_LINE_HOURS: dict[str, float] = {"pm25": 12}
SPIKE: dict[str, object] = {"pm25": 200}
RATE_OF_CHANGE: dict[str, object] = {"pm25": 200}
