"""Looking up names: within a time, and never with one more hanging thread for each question."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from openaq_pipeline import lookup

THE_OTHER = socket.getaddrinfo


class Resolver:
    """Stands in for the system's: `hangs` says whether it answers; `asked` counts the questions."""

    def __init__(self) -> None:
        self.hangs = True
        self.asked = 0
        self.let_go = threading.Event()

    def __call__(self, _host: str, port: int, *more: Any, **named: Any) -> Any:
        self.asked += 1
        if self.hangs:
            self.let_go.wait(20)
        return THE_OTHER("127.0.0.1", port, *more, **named)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.let_go.set()


def hanging() -> int:
    return sum(thread.name.startswith("look-up") for thread in threading.enumerate())


def test_addresses_come_once_each_and_in_order() -> None:
    assert lookup.addresses("127.0.0.1", 80, 5) == ["127.0.0.1"]
    assert lookup.addresses("::1", 80, 5) == ["::1"]


def test_what_the_system_says_of_a_wrong_name_is_raised() -> None:
    with pytest.raises(socket.gaierror):
        lookup.addresses("no-such-host.invalid", 80, 20)
    with pytest.raises(UnicodeError):
        lookup.addresses("a" * 70, 80, 5)


def test_a_resolver_that_hangs_is_left_in_time(resolver: Resolver) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"looking up late\.invalid took longer than 0\.2 s"):
        lookup.addresses("late.invalid", 80, 0.2)
    assert 0.2 <= time.monotonic() - began < 1
    assert resolver.asked == 1


def test_many_questions_for_a_name_hang_in_one_thread(resolver: Resolver) -> None:
    for _ in range(20):
        with pytest.raises(TimeoutError):
            lookup.addresses("many.invalid", 80, 0.01)
    assert resolver.asked == 1
    resolver.let_go.set()
    assert lookup.addresses("many.invalid", 80, 5) == ["127.0.0.1"]


def test_a_look_up_that_is_lost_is_begun_again_a_few_times(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "LOST_SECONDS", 0.0)
    before = hanging()
    for _ in range(20):
        with pytest.raises(TimeoutError):
            lookup.addresses("lost.invalid", 80, 0.01)
    assert hanging() - before == lookup.MOST_LOST
    resolver.let_go.set()


def test_when_the_resolver_is_back_a_lost_look_up_stands_in_nobodys_way(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "LOST_SECONDS", 0.0)
    with pytest.raises(TimeoutError):
        lookup.addresses("back.invalid", 80, 0.01)
    resolver.hangs = False
    assert lookup.addresses("back.invalid", 80, 5) == ["127.0.0.1"]
