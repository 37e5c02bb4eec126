from __future__ import annotations

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.limiter import Limiter
from openaq_pipeline.simulator.server import running
from openaq_pipeline.simulator.worlds import named
from tests.simulator.asking import get
from tests.simulator.conftest import NOON

SECOND = 1_000_000
MINUTE = 60 * SECOND


def test_the_request_after_the_last_allowed_one_is_refused_and_not_counted() -> None:
    limiter = Limiter(3)
    assert [limiter.spend("k", 0).allowed for _ in range(5)] == [True, True, True, False, False]
    refused = limiter.spend("k", 0)
    assert (refused.used, refused.limit) == (3, 3)


def test_a_new_calendar_minute_starts_at_zero() -> None:
    limiter = Limiter(1)
    assert limiter.spend("k", MINUTE - 1).allowed
    assert limiter.spend("k", MINUTE).allowed


def test_each_key_has_its_own_count() -> None:
    limiter = Limiter(1, {"rich": 2})
    assert limiter.spend("a", 0).allowed
    assert limiter.spend("b", 0).allowed
    assert [limiter.spend("rich", 0).allowed for _ in range(3)] == [True, True, False]


def test_the_reset_counts_sixty_seconds_from_the_first_request_of_the_minute() -> None:
    limiter = Limiter(60)
    assert limiter.spend("k", 50 * SECOND).reset_seconds == 60
    assert limiter.spend("k", 58 * SECOND).reset_seconds == 52


def test_failures_cost_quota_but_only_successes_and_refusals_tell_it() -> None:
    clock = Clock(NOON, speed=0)
    with running(named.quirks(now=NOON), options=Options(requests_per_minute=4), clock=clock) as simulator:
        silent = [
            get(simulator, "/locations/999999"),
            get(simulator, "/locations/abc"),
            get(simulator, "/locations/3000000000"),
        ]
        assert [answer.status_code for answer in silent] == [404, 422, 500]
        assert not [name for answer in silent for name in answer.headers if "ratelimit" in name.lower()]
        assert get(simulator, "/parameters/2").headers["x-ratelimit-remaining"] == "0"
        refused = get(simulator, "/parameters/2")
        assert refused.status_code == 429
        assert refused.headers["x-ratelimit-used"] == "4"
        assert "retry-after" not in refused.headers
        clock.advance(60)
        assert get(simulator, "/parameters/2").status_code == 200
