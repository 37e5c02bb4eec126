"""The recorded pages beside the project as rows, so that they can be written as files of the archive."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

from openaq_pipeline.model import Measurement
from openaq_pipeline.openaq.parse import page

SEEN = datetime(2026, 11, 1, tzinfo=UTC)
HANOI_LOCATION, HANOI_SENSOR = 2_161_292, 7_772_024


def guadalajara(shared_data: Path) -> list[Measurement]:
    """Return the 34,042 rows of Guadalajara, each with the location that OpenAQ lists its sensor under."""
    folder, owners = shared_data / "guadalajara", {}
    for path in (folder / "metadata/sensors_by_location").glob("*.json"):
        for sensor in json.loads(path.read_text())["results"]:
            owners[sensor["id"]] = int(path.stem.removeprefix("location_id="))
    rows = []
    for path in sorted((folder / "measurements").glob("*.json.gz")):
        sensors_id = int(path.name.split("-")[0])
        body = gzip.decompress(path.read_bytes())
        rows += page(body, location_id=owners[sensors_id], sensors_id=sensors_id, now=SEEN).rows
    return rows


def hanoi(shared_data: Path) -> list[Measurement]:
    """Return the hundred rows of carbon monoxide in Hanoi."""
    body = (shared_data / "vietnam/sensor_7772024_measurements.json").read_bytes()
    return page(body, location_id=HANOI_LOCATION, sensors_id=HANOI_SENSOR, now=SEEN).rows
