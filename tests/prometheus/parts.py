"""How things may be, for the tests of what Prometheus is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from openaq_pipeline.monitoring.alerts import Book, OpenCondition
from openaq_pipeline.monitoring.exposition import Figures
from openaq_pipeline.monitoring.metrics import Totals
from openaq_pipeline.openaq.budget import BudgetUse
from openaq_pipeline.reports import Condition, Health, LocationHealth, ParkedSensor
from openaq_pipeline.settings import AlertSettings
from tests.monitoring.runs import location, run

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def place(location_id: int, **how: Any) -> LocationHealth:
    """A location that is current, unless it is said otherwise."""
    usual = LocationHealth(location_id, f"Station {location_id}", "current", NOW - HOUR, 3600, NOW - HOUR / 2, 5, ())
    return msgspec.structs.replace(usual, **how)


PARKED = ParkedSensor(7, "pm25", NOW + HOUR, "OpenAQ answered 500")


def figures(*places: LocationHealth, **other: Any) -> Figures:
    """Everything that can be told, of the locations given."""
    last = run(NOW - HOUR / 2, *(location(each.location_id) for each in places))
    last = msgspec.structs.replace(last, requests_by_status={"200": 9, "429": 1})
    quiet, loud = Condition("silent:1", "warning", "t", "m"), Condition("needs_a_person", "critical", "t", "m")
    book = Book(UUID(int=1), open={each.key: OpenCondition(each, NOW) for each in (quiet, loud)})
    usual = Figures(
        health=Health("ok", "All is well", places, NOW - HOUR / 2, NOW + HOUR),
        runs=(last,),
        alerts=AlertSettings(),
        late_after_seconds=15_300,
        version="1.2.3",
        totals=Totals(NOW - 24 * HOUR).and_of(last),
        budget=BudgetUse(9, 100, 60, 2000),
        book=book,
    )
    return msgspec.structs.replace(usual, **other)
