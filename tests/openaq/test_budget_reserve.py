"""Polls come first: what a backfill sends never makes a poll wait that stays within its reserve."""

from __future__ import annotations

import tempfile
from collections import deque
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openaq_pipeline.errors import Stopped
from openaq_pipeline.incremental.plan import reserve_for
from openaq_pipeline.openaq.budget import HOUR_SECONDS, MINUTE_SECONDS, Budget, Reserve
from tests.often import examples
from tests.openaq.conftest import FakeTime

PER_MINUTE, PER_HOUR = 6, 20
RESERVE = Reserve(per_minute=4, per_hour=12)


def refuse(_seconds: float) -> None:
    raise Stopped("asked to wait")


def budget(path: Path, clock: FakeTime, reserve: Reserve | None = None, *, patient: bool = False) -> Budget:
    return Budget(
        path,
        per_minute=PER_MINUTE,
        per_hour=PER_HOUR,
        reserve=reserve,
        sleep=clock.sleep if patient else refuse,
        clock=clock,
    )


def test_a_backfill_stops_where_the_reserve_begins_and_a_poll_goes_on(tmp_path: Path) -> None:
    clock, path = FakeTime(), tmp_path / "ledger"
    with closing(budget(path, clock, RESERVE)) as backfill, closing(budget(path, clock)) as poll:
        for _ in range(PER_MINUTE - RESERVE.per_minute):
            backfill.acquire()
        with pytest.raises(Stopped):
            backfill.acquire()
        for _ in range(RESERVE.per_minute):
            assert poll.acquire() == 0
        with pytest.raises(Stopped):
            poll.acquire()


def test_two_backfills_leave_the_reserve_together(tmp_path: Path) -> None:
    clock, path = FakeTime(), tmp_path / "ledger"
    with closing(budget(path, clock, RESERVE)) as one, closing(budget(path, clock, RESERVE)) as other:
        one.acquire()
        other.acquire()
        with pytest.raises(Stopped):
            one.acquire()


def test_a_backfill_beside_a_poll_that_needs_everything_still_gets_its_one_request(tmp_path: Path) -> None:
    clock = FakeTime()
    with closing(budget(tmp_path / "ledger", clock, Reserve(PER_MINUTE, PER_HOUR))) as backfill:
        backfill.acquire()
        with pytest.raises(Stopped):
            backfill.acquire()


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.floats(0, 900), st.booleans()), max_size=60))
def test_a_poll_within_its_reserve_never_waits_and_nobody_oversteps_the_limits(steps: list[tuple[float, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock, path = FakeTime(), Path(folder) / "ledger"
        sent: list[float] = []
        polled: deque[float] = deque()
        with closing(budget(path, clock, RESERVE, patient=True)) as backfill, closing(budget(path, clock)) as poll:
            for pause, is_poll in steps:
                clock.now += pause
                if not is_poll:
                    backfill.acquire()
                elif within_reserve(polled, clock.now):
                    assert poll.acquire() == 0
                    polled.append(clock.now)
                else:
                    continue
                sent.append(clock.now)
        for span, limit in ((MINUTE_SECONDS, PER_MINUTE), (HOUR_SECONDS, PER_HOUR)):
            assert all(sum(start <= one < start + span for one in sent) <= limit for start in sent)


def within_reserve(polled: deque[float], now: float) -> bool:
    minute = sum(one > now - MINUTE_SECONDS for one in polled)
    hour = sum(one > now - HOUR_SECONDS for one in polled)
    return minute < RESERVE.per_minute and hour < RESERVE.per_hour


@pytest.mark.parametrize(
    ("per_poll", "gap_hours", "kept"),
    [
        (50, 2.0, (30, 50)),
        (50, 0.5, (30, 100)),
        (10, 1.0, (10, 10)),
        (3000, 1.0, (30, 2000)),
        (0, 1.0, (0, 0)),
    ],
)
def test_the_reserve_is_what_an_hour_of_polls_asks_and_at_most_half_of_a_minute(
    per_poll: int, gap_hours: float, kept: tuple[int, int]
) -> None:
    assert reserve_for(per_poll, gap_hours, per_minute=60, per_hour=2000) == kept
