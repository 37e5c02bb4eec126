"""The letters that the daemon answers, and the mailbox that signals, the alarm and the run put them into."""

from __future__ import annotations

import queue
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple


class Rang(NamedTuple):
    """The alarm of the appointment with this number."""

    number: int


class Ended(NamedTuple):
    """The run has ended."""

    code: int


class Signalled(NamedTuple):
    """A signal has come."""

    number: int


Letter = Rang | Ended | Signalled


class Mailbox:
    """Letters, first in, first out; anybody may put one in, a signal handler too.

    A `SimpleQueue`, because a signal may come while this very thread takes a letter out: its `put` can be entered
    twice, which `Event.set` can't. It waits as an event does, on a clock that no setting touches.
    """

    def __init__(self) -> None:
        self._letters: queue.SimpleQueue[Letter] = queue.SimpleQueue()

    def put(self, letter: Letter) -> None:
        """Put a letter in; never waits."""
        self._letters.put(letter)

    def get(self, seconds: float) -> Letter | None:
        """Return the next letter; None if there is none for so long."""
        try:
            return self._letters.get(timeout=seconds)
        except queue.Empty:
            return None


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Give a mailbox into which SIGINT, SIGTERM and SIGHUP are put while the block runs."""
    letters = Mailbox()

    def post(number: int, _frame: FrameType | None) -> None:
        letters.put(Signalled(number))

    before = {number: signal.signal(number, post) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield letters
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
