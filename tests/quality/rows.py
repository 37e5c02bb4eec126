"""Rows and settings for the tests of the judgement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from openaq_pipeline.model import Measurement
from openaq_pipeline.settings import SeriesTests, ValidationSettings
from tests.measurements import measurement

START = datetime(2025, 9, 20, tzinfo=UTC)
SEEN = datetime(2025, 12, 1, tzinfo=UTC)

# The limits that the tests reckon with, so that a change of the defaults does not move them.
VALIDATION = ValidationSettings.model_validate(
    {
        "parameter_ranges": {"pm25": [0, 1000], "o3": {"µg/m³": [0, 500], "ppm": [0, 0.5]}},
        "series_tests": SeriesTests.model_validate(
            {
                "neighbour_hours": 3,
                "flat_line_hours": {"pm25": 6},
                "spike": {"pm25": 100, "o3": {"µg/m³": 120, "ppm": 0.06}},
                "rate_of_change": {"pm25": 150, "o3": {"µg/m³": 200, "ppm": 0.1}},
            }
        ),
    }
)


def row(
    value: float | None,
    hours: float = 0,
    *,
    sensors_id: int = 1,
    parameter: str = "pm25",
    units: str = "µg/m³",
    location_id: int = 7,
) -> Measurement:
    """Return a row whose period ends so many hours after START."""
    stamp = START + timedelta(hours=hours)
    return measurement(
        value,
        stamp,
        location_id=location_id,
        sensors_id=sensors_id,
        parameter=parameter,
        units=units,
        first_seen=SEEN,
    )


def hourly(values: Sequence[float | None], *, parameter: str = "pm25", units: str = "µg/m³") -> list[Measurement]:
    """Return one row an hour."""
    return [row(value, hour, parameter=parameter, units=units) for hour, value in enumerate(values)]
