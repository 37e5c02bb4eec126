from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
"""A Wednesday; the quirks world made at this time has its poison row at noon three days before, a Sunday."""


@pytest.fixture
def quirks() -> Iterator[Running]:
    """The quirks world without a rate limit, its clock standing at noon."""
    clock = Clock(NOON, speed=0)
    with running(named.quirks(now=NOON), options=Options(requests_per_minute=0), clock=clock) as simulator:
        yield simulator
