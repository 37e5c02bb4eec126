"""Measurements for tests: everything that does not matter to a test is filled in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from openaq_pipeline.model import License, Location, Measurement, Sensor


def measurement(
    value: float | None,
    stamp: datetime,
    *,
    first_seen: datetime,
    location_id: int = 7,
    sensors_id: int = 71,
    parameters_id: int | None = 2,
    parameter: str = "pm25",
    units: str = "µg/m³",
    datetime_local: str = "",
) -> Measurement:
    """Return an hourly row as the API gives it, not judged yet."""
    return Measurement(
        location_id=location_id,
        sensors_id=sensors_id,
        parameters_id=parameters_id,
        parameter=parameter,
        units=units,
        value=value,
        datetime=stamp,
        datetime_local=datetime_local or stamp.isoformat(),
        interval_seconds=3600,
        has_flags=False,
        issues=(),
        source="api",
        first_seen=first_seen,
    )


def described(
    location_id: int,
    *,
    name: str | None,
    fetched: datetime,
    licenses: Iterable[License] = (),
    sensors: Iterable[Sensor] = (),
    datetime_first: datetime | None = None,
) -> Location:
    """Return a location in Kathmandu as OpenAQ describes it."""
    return Location(
        id=location_id,
        name=name,
        locality=None,
        timezone="Asia/Kathmandu",
        country_code="NP",
        country_name="Nepal",
        latitude=27.7,
        longitude=85.3,
        provider="AirNow",
        owner=None,
        is_mobile=False,
        is_monitor=True,
        licenses=tuple(licenses),
        sensors=tuple(sensors),
        datetime_first=datetime_first,
        datetime_last=None,
        fetched=fetched,
    )
