"""The default limits on real data: few rows are flagged, and each of them looks odd.

The data: 77 pages of hourly measurements of Guadalajara, a page of daily means of Delhi (SOURCES.md there).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline.model import Measurement
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import ValidationSettings

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
PAGES = sorted((DATA / "guadalajara" / "measurements").glob("*.json.gz"))
DELHI = DATA / "delhi_days" / "sensor_23534_days_2024.json"


def measurement(raw: dict[str, Any], sensors_id: int) -> Measurement:
    parameter, end = raw["parameter"], raw["period"]["datetimeTo"]
    return Measurement(
        location_id=1,
        sensors_id=sensors_id,
        parameters_id=parameter["id"],
        parameter=parameter["name"],
        units=parameter["units"],
        value=raw["value"],
        datetime=datetime.fromisoformat(end["utc"]),
        datetime_local=end["local"],
        interval_seconds=3600,
        has_flags=False,
        issues=(),
        source="api",
        first_seen=datetime(2025, 11, 1, tzinfo=UTC),
    )


def guadalajara() -> Iterator[Measurement]:
    for page in PAGES:
        sensors_id = int(page.name.split("-")[0])
        for raw in json.loads(gzip.decompress(page.read_bytes()))["results"]:
            yield measurement(raw, sensors_id)


@pytest.mark.skipif(not PAGES, reason="NOT CALIBRATED: no real pages in ../shared/data/guadalajara")
def test_of_34042_real_hours_those_are_flagged_that_look_odd() -> None:
    rows = list(guadalajara())
    found = [
        (row.sensors_id, row.parameter, round(row.value or 0, 3), issues)
        for row, issues in zip(rows, Judge(ValidationSettings()).issues(rows), strict=True)
        if issues
    ]
    assert len(rows) == 34_042
    assert found == [
        # ppm, with 0.001 an hour before and after: it looks like a calibration
        (12285331, "no", 0.573, ("out_of_range",)),
        # ppm, in the same hour at the same station; 0.043 before, 0.039 after
        (12285334, "o3", 0.493, ("spike", "rate_of_change")),
        (12285334, "o3", 0.039, ("rate_of_change",)),
        # µg/m³, between 55 and 50
        (23397, "pm10", 355, ("spike",)),
    ]


@pytest.mark.skipif(not DELHI.is_file(), reason="NOT CALIBRATED: no real page in ../shared/data/delhi_days")
def test_of_a_year_of_daily_means_the_negative_ones_are_flagged_and_days_are_not_compared() -> None:
    results = json.loads(DELHI.read_text(encoding="utf-8"))["results"]
    rows = [measurement(raw, 23534) for raw in results]
    found = Judge(ValidationSettings()).issues(rows)
    assert sum("out_of_range" in issues for issues in found) == 88
    assert sum("sentinel_value" in issues for issues in found) == 5
    assert {name for issues in found for name in issues} == {"out_of_range", "sentinel_value"}
