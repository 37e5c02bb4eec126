"""How far a sensor's data reach, and what a failed read does to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from openaq_pipeline.incremental.plan import LONGEST_PARKING, SWEEP_EVERY
from openaq_pipeline.model import LocationState, SensorState

FIRST_PARKING = timedelta(hours=1)


def advance(state: SensorState, reached: datetime | None, now: datetime) -> SensorState:
    """Return the state after rows up to `reached` were stored; None: the read gave nothing to stand on.

    `reached` is the latest stored stamp in front of the first failed page. The watermark moves forward, but never past
    now: one row stamped in the future would hide every real row until then (OPENAQ section 3.4). Where a clock set back
    leaves it ahead, it comes back to now.
    """
    known = [stamp for stamp in (state.watermark, reached) if stamp is not None]
    return msgspec.structs.replace(state, watermark=min(max(known), now) if known else None)


def rebuilt(stored: datetime, now: datetime) -> SensorState:
    """Return the state of a sensor of which only the latest stored stamp is known; its wide look-back is due."""
    return advance(SensorState(swept=min(stored, now) - SWEEP_EVERY), stored, now)


def forgotten(state: SensorState) -> SensorState:
    """Return the state as if nothing had ever been read: only where the data end is kept, so that no gap opens."""
    return SensorState(watermark=state.watermark)


def borne_out(state: LocationState, latest: Mapping[int, datetime] | None, now: datetime) -> LocationState:
    """Return the state that the stored rows bear out: rebuilt where it is lost, held back where it is ahead.

    `latest` is the latest stored stamp of each sensor, None where the file is as the state remembers it.
    """
    if latest is None:
        return state
    if state.sensors:
        known = {key: held_by(sensor, latest.get(key)) for key, sensor in state.sensors.items()}
    else:
        known = {key: rebuilt(stamp, now) for key, stamp in latest.items()}
    return msgspec.structs.replace(state, sensors=known)


def held_by(state: SensorState, stored: datetime | None) -> SensorState:
    """Return the state with its watermark no further than the latest stamp really in the file (None: no row).

    Where another has written, nothing that was read before counts as stored.
    """
    if state.watermark is None or stored is None:
        return msgspec.structs.replace(state, watermark=None, echoes=())
    return msgspec.structs.replace(state, watermark=min(state.watermark, stored), echoes=())


def succeeded(state: SensorState, now: datetime, *, swept: bool) -> SensorState:
    """Return the state after a whole window was read; `swept`: it was the wide one."""
    return msgspec.structs.replace(
        state, failures=0, parked_until=None, last_error=None, swept=now if swept else state.swept
    )


def failed(state: SensorState, error: str, now: datetime, *, park: bool, counts: bool = True) -> SensorState:
    """Return the state after a failed read; `park`: do not ask again before a wait that doubles up to a day.

    `counts` False: the failure was not the sensor's (no network), and lengthens no later parking.
    """
    known = msgspec.structs.replace(state, failures=state.failures + counts, last_error=error)
    return parked(known, now) if park else known


def parked(state: SensorState, now: datetime) -> SensorState:
    """Return the state of a sensor that is not asked for a while: an hour after one failure, two hours after two."""
    wait = min(FIRST_PARKING * 2 ** min(max(state.failures - 1, 0), 10), LONGEST_PARKING)
    return msgspec.structs.replace(state, parked_until=now + wait)
