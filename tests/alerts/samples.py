"""A look back at a week, as the tests of several rooms use it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from openaq_pipeline.digest import sentence
from openaq_pipeline.reports import Digest, DigestAlert, DigestPlace

MONDAY = datetime(2026, 11, 23, 8, tzinfo=UTC)
DAYS = tuple(date(2026, 11, 16) + timedelta(days=number) for number in range(7))
PLACES = (
    DigestPlace(8, "Thamel <b>(8)</b>", (100, 98, 60, 12, 0, None, 100)),
    DigestPlace(7, "Ratna Park (7)", (100,) * 7),
)
ALERTS = (DigestAlert("3 locations of AirNow are silent", MONDAY - timedelta(days=3), MONDAY - timedelta(days=2), 3),)
DIGEST = Digest(DAYS, "UTC", 1234, 93.21, 2, 2, PLACES, 84, 1, 840, None, ALERTS)
SAID = sentence(DIGEST)
