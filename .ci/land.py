"""Make the outline of the land on the map page from Natural Earth, as the npm package `world-atlas` has it.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python .ci/land.py package/land-110m.json > dataset/openaq_pipeline/web/static/vendor/land.json

A list of rings; each is a list of numbers in tenths of a degree: longitude and latitude of the first point, then the
steps to each next one. A tenth of a degree is finer than the outline's own scale of 1:110 million. Where land crosses
180 degrees it goes on beyond, so that no line runs around the globe.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

Point = tuple[int, int]
HALF = 1800
SMALLEST = 4
"""A ring of fewer points encloses nothing at this scale."""


def rings(world: dict[str, Any]) -> Iterator[list[Point]]:
    """Yield the rings of a TopoJSON land, in tenths of a degree."""
    arcs = [list(_points(arc, world["transform"])) for arc in world["arcs"]]
    for geometry in world["objects"]["land"]["geometries"]:
        for polygon in geometry["arcs"]:
            for ring in polygon:
                yield _unrolled(
                    _thinned([point for arc in ring for point in (arcs[arc] if arc >= 0 else arcs[~arc][::-1])])
                )


def _points(arc: list[list[int]], transform: dict[str, list[float]]) -> Iterator[Point]:
    (scale_x, scale_y), (from_x, from_y) = transform["scale"], transform["translate"]
    x = y = 0
    for step_x, step_y in arc:
        x, y = x + step_x, y + step_y
        yield round((x * scale_x + from_x) * 10), round((y * scale_y + from_y) * 10)


def _thinned(points: list[Point]) -> list[Point]:
    """Return the points without those that are the same as the one before."""
    return [points[0], *(after for before, after in pairwise(points) if after != before)]


def _unrolled(points: list[Point]) -> list[Point]:
    """Return a ring without leaps around the globe; one around a pole is closed beneath it."""
    turn, found = 0, [points[0]]
    for before, after in pairwise(points):
        turn += ((before[0] - after[0]) > HALF) * 2 * HALF - ((after[0] - before[0]) > HALF) * 2 * HALF
        found.append((after[0] + turn, after[1]))
    if abs(found[-1][0] - found[0][0]) > HALF:
        pole = 900 if found[0][1] > 0 else -900
        found += [(found[-1][0], pole), (found[0][0], pole)]
    return found


def steps(points: list[Point]) -> list[int]:
    """Return a ring as its first point and the steps from each to the next."""
    moves = [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(points)]
    return [number for pair in (points[0], *moves) for number in pair]


if __name__ == "__main__":
    found = rings(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    print(json.dumps([steps(ring) for ring in found if len(ring) >= SMALLEST], separators=(",", ":")))
