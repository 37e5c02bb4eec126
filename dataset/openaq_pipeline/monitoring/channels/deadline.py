"""An end for a conversation as a whole.

A socket's timeout is per read: a server that sends one byte now and then holds its reader for ever. Here the sockets
of a conversation are shut when its time is up, which ends a read that waits.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Cutter:
    """Shuts the sockets it was given once `cut` is called, and those given later at once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.is_cut = False

    def watch(self, connection: socket.socket) -> None:
        """Take note of a socket of the conversation; giving it again, or a TLS socket over it, does no harm."""
        with self._guard:
            self._sockets.append(connection)
            if self.is_cut:
                _shut(connection)

    def check(self) -> None:
        """Raise `TimeoutError` if it was cut: half an answer looks like a whole one to who reads to the end."""
        if self.is_cut:
            raise TimeoutError("the conversation took longer than its deadline")

    def cut(self) -> None:
        """End the conversation."""
        with self._guard:
            self.is_cut = True
            for connection in self._sockets:
                _shut(connection)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        # A TLS socket's own `shutdown` would take the ciphers away from the thread that reads.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


@contextmanager
def cutting(seconds: float) -> Iterator[Cutter]:
    """Give a cutter that cuts after so many seconds, unless the block has ended by then."""
    cutter = Cutter()
    timer = threading.Timer(seconds, cutter.cut)
    timer.daemon = True
    timer.start()
    try:
        yield cutter
    finally:
        timer.cancel()
