"""What the tests of the source share: a clock that only sleeping moves, a server that misbehaves, a client for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from openaq_pipeline.openaq.budget import Budget
from openaq_pipeline.openaq.session import Client

KEY = "0123456789abcdef-canary"
GOOD = b'{"results":[]}'

Answer = Callable[[socket.socket, bytes], bool]
"""Answers one request on its connection; returns whether the connection stays open for the next."""


class FakeTime:
    """A monotonic clock that moves by sleeping alone; `slept` holds every wait."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def reply(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Return an answer that is well-formed HTTP, with keep-alive."""

    def send(connection: socket.socket, _request: bytes) -> bool:
        named = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        connection.sendall(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body)
        return True

    return send


class RawServer:
    """A TCP server that answers as told, however wrong; `requests` and `connections` tell what came."""

    def __init__(self, host: str, answers: tuple[Answer, ...]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.socket(family, socket.SOCK_STREAM)
        self._listening.bind((host, 0))
        self._listening.listen()
        self.port: int = self._listening.getsockname()[1]
        self.base_url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v3"
        self.answers = answers
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """End all connections and wait for their threads."""
        self.stopping.set()
        for busy in (self._listening, *self._open):
            with suppress(OSError):
                busy.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        with connection, suppress(OSError):
            while (request := self._request(connection)) and self._answer(connection, request):
                pass

    def _request(self, connection: socket.socket) -> bytes:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            piece = connection.recv(65536)
            if not piece:
                return b""
            request += piece
        return request

    def _answer(self, connection: socket.socket, request: bytes) -> bool:
        with self._guard:
            number = len(self.requests)
            self.requests.append(request)
        return self.answers[min(number, len(self.answers) - 1)](connection, request)


Serve = Callable[..., RawServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start raw servers that end with the test; the n-th request gets the n-th answer, the last one goes on."""
    with ExitStack() as stack:

        def start(*answers: Answer, host: str = "127.0.0.1") -> RawServer:
            server = RawServer(host, answers)
            stack.callback(server.close)
            return server

        yield start


Answering = Callable[..., Answer]


@pytest.fixture
def answering() -> Answering:
    """Make an answer of a status, a body and headers (with `_` for `-`)."""
    return reply


@pytest.fixture
def good() -> Answer:
    """An empty page."""
    return reply(200, GOOD)


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def budget(tmp_path: Path, fake_time: FakeTime) -> Iterator[Budget]:
    """A budget wide enough never to wait by itself, on the fake clock."""
    made = Budget(
        tmp_path / "budget.sqlite", per_minute=10_000, per_hour=10_000, sleep=fake_time.sleep, clock=fake_time
    )
    yield made
    made.close()


Ask = Callable[..., Client]


@pytest.fixture
def client_for(budget: Budget, fake_time: FakeTime) -> Ask:
    """Make a client that sleeps on the fake clock; everything can be overridden but key and budget."""

    def make(
        base_url: str,
        *,
        timeout_seconds: float = 5.0,
        jitter: float = 0.0,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> Client:
        return Client(
            base_url,
            KEY,
            budget,
            timeout_seconds=timeout_seconds,
            sleep=fake_time.sleep,
            jitter=lambda: jitter,
            checkpoint=checkpoint,
        )

    return make


@pytest.fixture
def key() -> str:
    return KEY
