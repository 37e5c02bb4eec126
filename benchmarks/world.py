"""Made-up rows of the shape history has, as Arrow tables: as many locations as wanted, none twice the same."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from openaq_pipeline.columns import HISTORY

PARAMETERS = (("pm25", "µg/m³"), ("pm10", "µg/m³"), ("no2", "ppb"), ("o3", "ppb"), ("temperature", "c"))
KEY = ("sensors_id", "datetime")

Month = tuple[int, int]
Cell = tuple[int, Month]
"""A location and one of its months."""


class World:
    """Locations with the same sensors, and their rows; the last month is the one to be sealed."""

    def __init__(self, ids: Sequence[int], *, years: Sequence[int], sensors: int, every_hours: int) -> None:
        self.ids = ids
        self.months = [(year, month) for year in years for month in range(1, 13)]
        self.templates = {month: _template(month, sensors, every_hours) for month in self.months}

    @property
    def rows(self) -> int:
        """Return the number of rows of all locations."""
        rows: int = len(self.ids) * sum(len(table) for table in self.templates.values())
        return rows

    def month(self, location: int, month: Month) -> pa.Table:
        """Return the rows of one location and month; the sensors' ids and the values differ between locations."""
        table = self.templates[month]
        values = pc.round(pc.multiply(table["value"], 1 + location % 97 / 100), 1)
        return table.set_column(0, HISTORY.field(0), pc.add(table["sensors_id"], location * 100)).set_column(
            HISTORY.get_field_index("value"), HISTORY.field("value"), values
        )


def ordered(table: pa.Table, names: Sequence[str] = KEY) -> pa.Table:
    """Return a table sorted by columns."""
    return table.unify_dictionaries().sort_by([(name, "ascending") for name in names])


def _template(month: Month, sensors: int, every_hours: int) -> pa.Table:
    """Return a month of one location: values that wander around a daily course, found by a poll every two hours."""
    noise = random.Random(repr(month))
    start = datetime(*month, 1, tzinfo=UTC)
    hours = ((start + timedelta(days=31)).replace(day=1) - start) // timedelta(hours=1)
    stamps = [start + timedelta(hours=hour) for hour in range(0, hours, every_hours)]
    polls = [start + timedelta(hours=hour, seconds=noise.uniform(60, 7200)) for hour in range(0, hours + 2, 2)]
    rows: list[tuple[object, ...]] = []
    for sensor, (parameter, units) in enumerate(PARAMETERS[:sensors]):
        drift = 0.0
        for stamp in stamps:
            drift = 0.95 * drift + noise.gauss(0, 3)
            value = round(abs(30 + drift + 10 * math.sin(stamp.hour / 24 * math.tau)), 1)
            seen = polls[(stamp - start) // timedelta(hours=2) + 1]
            local = (stamp + timedelta(hours=7)).strftime("%Y-%m-%dT%H:%M:%S+07:00")
            issues = ["spike"] if noise.random() < 0.01 else []
            fields = (parameter, units, value, stamp, local, every_hours * 3600, False, issues, "api", seen)
            rows.append((sensor, sensor + 1, *fields))
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), HISTORY, strict=True)],
        schema=HISTORY,
    )
