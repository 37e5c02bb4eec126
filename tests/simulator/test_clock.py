from __future__ import annotations

from datetime import UTC, datetime, timedelta

from openaq_pipeline.simulator.clock import Clock, from_us, to_us

START = datetime(2026, 1, 1, tzinfo=UTC)


class Hand:
    """A monotonic clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_it_follows_real_time_when_nothing_else_is_asked() -> None:
    assert Clock(real=lambda: 1_700_000_000.25).now() == datetime(2023, 11, 14, 22, 13, 20, 250_000, tzinfo=UTC)


def test_it_runs_on_from_a_given_start_at_the_given_speed() -> None:
    hand = Hand()
    clock = Clock(START, speed=60, monotonic=hand)
    hand.seconds += 2
    assert clock.now() == START + timedelta(minutes=2)


def test_a_frozen_clock_moves_only_when_it_is_moved() -> None:
    hand = Hand()
    clock = Clock(START, speed=0, monotonic=hand)
    hand.seconds += 1000
    assert clock.now() == START
    clock.advance(3600)
    assert clock.now() == START + timedelta(hours=1)


def test_a_clock_that_is_set_runs_on_from_there() -> None:
    hand = Hand()
    clock = Clock(monotonic=hand)
    clock.set(START)
    hand.seconds += 5
    assert clock.now() == START + timedelta(seconds=5)
    clock.freeze()
    hand.seconds += 5
    assert clock.now() == START + timedelta(seconds=5)
    clock.run(speed=2)
    hand.seconds += 5
    assert clock.now() == START + timedelta(seconds=15)


def test_microseconds_survive_the_way_there_and_back() -> None:
    for instant in (START, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)):
        assert from_us(to_us(instant)) == instant
