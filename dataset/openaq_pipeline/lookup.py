"""Looking up names within a time: the system's own look-up has no deadline, and one that hangs hangs for ever."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

T = TypeVar("T")

LOST_SECONDS = 60.0
"""A look-up that takes longer will hardly come to an end: the next question for the name begins another one."""

MOST_LOST = 4
"""So many look-ups of one name may hang at a time: a daemon with a dead resolver must not grow by one a run."""


class _Going(NamedTuple):
    began: float
    found: Future[list[str]]


_guard = threading.Lock()
_going: dict[tuple[str, int], list[_Going]] = {}


def addresses(host: str, port: int, seconds: float) -> list[str]:
    """Return the IP addresses of a host, best first.

    Raises `TimeoutError` if they do not come within so many seconds, else what `socket.getaddrinfo` raises. Who asks
    for a name that somebody waits for already waits for the same answer.
    """
    with _guard:
        found = _joined(host, port)
    try:
        return found.result(max(0.0, seconds))
    except TimeoutError:
        raise TimeoutError(f"looking up {host} took longer than {max(0.0, seconds):.1f} s") from None


def _joined(host: str, port: int) -> Future[list[str]]:
    """Return the look-up under way, or a new one where there is none, or it seems lost."""
    going = [each for each in _going.get((host, port), []) if not each.found.done()]
    fresh = going and (time.monotonic() - going[-1].began < LOST_SECONDS or len(going) >= MOST_LOST)
    if not fresh:
        going.append(_Going(time.monotonic(), in_thread(lambda: _look_up(host, port), f"look-up {host}")))
    _going[host, port] = going
    return going[-1].found


def _look_up(host: str, port: int) -> list[str]:
    found = (str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return list(dict.fromkeys(found))


def in_thread(work: Callable[[], T], name: str) -> Future[T]:
    """Begin a piece of work in a thread of its own, which the end of the program does not wait for.

    Return what will come of it.
    """
    promise: Future[T] = Future()

    def do() -> None:
        try:
            promise.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            promise.set_exception(error)

    threading.Thread(target=do, name=name, daemon=True).start()
    return promise
