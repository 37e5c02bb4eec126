"""Looking at the state of a location: whether its data bear it out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from openaq_pipeline.model import FileMark, LocationState
from openaq_pipeline.reports import Finding
from openaq_pipeline.storage.checks.findings import fault

CLOSE_LOOK = "Nothing needs to be done: the next run looks at the file closely."


def look(
    location_id: int,
    state: LocationState,
    *,
    latest: Mapping[int, datetime] | None,
    known: Collection[int] | None,
    mark: FileMark | None,
    now: datetime,
) -> Iterator[Finding]:
    """Yield what a state says that is not so.

    `latest` is the latest stamp that counts of each sensor, None if that can't be told; `known` are the sensors that
    OpenAQ names for the location, None if it was not asked; `mark` is of the location's file.
    """
    for sensors_id, sensor in sorted(state.sensors.items()):
        stored, name = (latest or {}).get(sensors_id), f"sensor {sensors_id} of location {location_id}"
        if known is not None and sensors_id not in known and stored is None and latest is not None:
            yield Finding("unknown_sensor", "info", 1, f"{name} has no row, and OpenAQ names it no more")
        if sensor.watermark is None:
            continue
        says = f"{name} is said to be read to {sensor.watermark:%Y-%m-%dT%H:%M:%SZ}"
        if sensor.watermark > now:
            yield fault("watermark_ahead", f"{says}, which lies ahead")
        elif latest is not None and (stored is None or sensor.watermark > stored):
            newest = "no row of it is stored" if stored is None else f"its newest row is of {stored:%Y-%m-%dT%H:%M:%SZ}"
            yield fault("state_ahead", f"{says}, but {newest}")
    if state.sensors and state.file != mark:
        said = f"location {location_id} has changed since a run last wrote it"
        yield Finding("changed_since", "info", 1, said, CLOSE_LOOK)
