"""What a connection may cost: how many there are, how long one may take over its request and its answer.

Who sends a header a minute, or takes an answer a byte at a time, is cut off; while there are too many connections those
that have said least for longest make room. So nobody who asks in order has to wait for somebody who does not.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from operator import attrgetter

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 200
"""Each takes an open file, and a process may have 1,024."""

HEADER_BYTES = 16_384
"""The most that the lines of a request's head take, its address included."""

REQUEST_SECONDS = 10.0
"""So long may a request take to come, from the connection or the answer before."""

IDLE_SECONDS = 5
"""So long is a connection held after an answer for another request to begin."""

TAKE_SECONDS = 30.0
"""So long may an answer wait for its reader: 48 kB go within it, or he is cut off."""

LOOK_SECONDS = 1.0

AT_ONCE = struct.pack("ii", 1, 0)


class Gate(H11Protocol):
    """A connection that nobody can hold."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, and have another one go if there are too many."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self._paused_at: float | None = None
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        """Have another one go: one that is served only if all are, and then the one that takes longest over it."""
        others = [each for each in self.connections if isinstance(each, Gate) and not each.transport.is_closing()]
        if len(others) > MOST_CONNECTIONS:
            others.remove(self)
            min([each for each in others if each.is_waiting] or others, key=attrgetter("since")).cut()

    @property
    def is_waiting(self) -> bool:
        """Say whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self.since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note when the reader was given enough for a while."""
        self._paused_at = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the reader has taken it."""
        self._paused_at = None
        super().resume_writing()

    def _look(self) -> None:
        """Cut it off if it has taken too long over something."""
        now = self.loop.time()
        unread = self.transport.get_write_buffer_size() > 0
        stuck = self._paused_at is not None and now - self._paused_at > TAKE_SECONDS
        late = self.is_waiting and now - self.since > (TAKE_SECONDS if unread else REQUEST_SECONDS)
        if stuck or late:
            self.cut()
        else:
            self._timer = self.loop.call_later(LOOK_SECONDS, self._look)

    def cut(self) -> None:
        """End it at once, and what the kernel still holds for its reader too."""
        with suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; nothing more is expected of it."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.abort()
