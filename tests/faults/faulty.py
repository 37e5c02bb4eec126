"""A server between the program and the simulator that hands good answers on, or spoils them byte by byte.

It speaks HTTP over plain sockets, so that it can break every rule of it. A manner (tests/faults/manners.py) answers one
request; what is armed strikes the requests whose `path?query` matches, everything else goes through.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import NamedTuple
from urllib.parse import urlsplit

LINGER_SECONDS = 30.0


class Asked(NamedTuple):
    """A request: its `path?query`, when it came by the clock of the server, and its bytes."""

    target: str
    at: float
    raw: bytes


class Exchange:
    """One request on its connection, and what the simulator would answer."""

    def __init__(self, server: Faulty, connection: socket.socket, asked: Asked) -> None:
        self.server, self.connection, self.asked = server, connection, asked
        self._good: tuple[int, bytes] | None = None

    def good(self) -> tuple[int, bytes]:
        """Return status and body of the true answer."""
        if self._good is None:
            self._good = self.server.relay(self.asked)
        return self._good

    def send(self, *pieces: bytes, then: Iterable[bytes] = (), pause: float = 0.0) -> None:
        """Send bytes as they are; what comes `then` is made while the client takes it."""
        for piece in chain(pieces, then):
            self.connection.sendall(piece)
            if pause:
                self.server.stopping.wait(pause)

    def reply(self, body: bytes, status: int = 200, **headers: str) -> bool:
        """Send a well-formed answer; return that the connection stays open. `_` in a name stands for `-`."""
        named = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self.send(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode("latin-1") + body)
        return True

    def wait_until_left(self, seconds: float = LINGER_SECONDS) -> None:
        """Say nothing until the client hangs up."""
        self.connection.settimeout(seconds)
        with suppress(OSError):
            while self.connection.recv(65536):
                pass


Manner = Callable[[Exchange], bool]
"""Answers one request; returns whether the connection stays open for the next."""


class _Armed(NamedTuple):
    manner: Manner
    pattern: re.Pattern[str]
    left: list[int]


class Faulty:
    """The server. `base_url` ends in `/v3`; `asked` has every request that came."""

    def __init__(
        self, upstream: str, *, clock: Callable[[], float] = time.monotonic, tls: ssl.SSLContext | None = None
    ) -> None:
        self._upstream = urlsplit(upstream)
        self._clock, self._tls = clock, tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v3"
        self.asked: list[Asked] = []
        self.stopping = threading.Event()
        self._guard = threading.Lock()
        self._armed: list[_Armed] = []
        self._open: set[socket.socket] = set()
        self._accepts = self._accepting()

    def arm(self, manner: Manner, match: str = "", *, count: int = 1_000_000) -> None:
        """Let a manner answer the next `count` requests whose `path?query` matches; who is armed first goes first."""
        with self._guard:
            self._armed.append(_Armed(manner, re.compile(match), [count]))

    def clear(self) -> None:
        """Be good again."""
        with self._guard:
            self._armed.clear()

    def go_away(self) -> None:
        """End all connections, and let nobody connect until `come_back`."""
        self.stopping.set()
        for busy in (self._listening, *tuple(self._open)):
            with suppress(OSError):
                busy.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepts.join(10)

    def come_back(self) -> None:
        """Listen again, at the same address."""
        self.stopping.clear()
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._accepts = self._accepting()

    def _accepting(self) -> threading.Thread:
        thread = threading.Thread(target=self._accept, name="faulty", daemon=True)
        thread.start()
        return thread

    def relay(self, asked: Asked) -> tuple[int, bytes]:
        """Return what the simulator answers."""
        upstream = http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=30)
        try:
            key = re.search(rb"(?i)\r\nx-api-key: *([^\r]*)", asked.raw)
            upstream.request("GET", asked.target, headers={"X-API-Key": key[1].decode()} if key else {})
            found = upstream.getresponse()
            return found.status, found.read()
        finally:
            upstream.close()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        with connection, suppress(OSError):
            secure = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            while (request := _request(secure)) and self._answer(secure, request):
                pass
        self._open.discard(connection)

    def _answer(self, connection: socket.socket, request: bytes) -> bool:
        asked = Asked(request.split(b" ", 2)[1].decode("latin-1"), self._clock(), request)
        with self._guard:
            self.asked.append(asked)
            manner = self._pick(asked.target)
        exchange = Exchange(self, connection, asked)
        if manner is not None:
            return manner(exchange)
        status, body = exchange.good()
        return exchange.reply(body, status)

    def _pick(self, target: str) -> Manner | None:
        for armed in self._armed:
            if armed.left[0] and armed.pattern.search(target):
                armed.left[0] -= 1
                return armed.manner
        return None


def _request(connection: socket.socket) -> bytes:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        piece = connection.recv(65536)
        if not piece:
            return b""
        request += piece
    return request


@contextmanager
def faulty(
    upstream: str, *, clock: Callable[[], float] = time.monotonic, tls: ssl.SSLContext | None = None
) -> Iterator[Faulty]:
    """Give a server in front of a simulator."""
    server = Faulty(upstream, clock=clock, tls=tls)
    try:
        yield server
    finally:
        server.go_away()
