"""What every poll reads again of a sensor that has fallen silent: it is stored, and its months need not be opened.

The look-back of such a sensor lies in the history, which only pyarrow reads. So the state remembers what was read of it
and stored (a digest); rows that were read just so before are identical, whatever they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

import msgspec

from openaq_pipeline.model import Counts, Echo, Measurement, SensorState

KEPT = 2
"""One of the look-back, one of the wider sweep."""


def silent(rows: Iterable[Measurement], edge: datetime) -> dict[int, list[Measurement]]:
    """Return by sensor the rows of those that have none from `edge` on."""
    found: dict[int, list[Measurement]] = {}
    for row in rows:
        found.setdefault(row.sensors_id, []).append(row)
    return {key: those for key, those in found.items() if all(row.datetime < edge for row in those)}


def heard(state: SensorState, rows: list[Measurement]) -> Counts | None:
    """Return what became of rows that were read just so before; None: these were not."""
    told = digest(rows)
    known = next((echo for echo in state.echoes if echo.digest == told), None)
    return None if known is None else Counts(identical=len(rows), clean=known.clean)


def remembered(state: SensorState, rows: list[Measurement], clean: int) -> SensorState:
    """Return the state that knows these rows, which are stored now, `clean` of them without an issue."""
    return msgspec.structs.replace(state, echoes=(Echo(digest(rows), clean), *state.echoes)[:KEPT])


def digest(rows: Iterable[Measurement]) -> str:
    """Return what tells these rows from any others, when they were seen aside."""
    lines = [msgspec.json.encode(msgspec.structs.astuple(row)[:-1]) for row in sorted(rows, key=lambda row: row.key)]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()[:32]
