"""Notices, and receivers that behave as real ones do: well, badly, slowly or not at all."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple

from openaq_pipeline.monitoring.channels.wording import Origin
from openaq_pipeline.monitoring.telling import Policy
from openaq_pipeline.reports import Condition, Notice, Severity

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
COOLDOWN = timedelta(hours=24)
ORIGIN = Origin("staging", "box-7")


def condition(key: str = "quality", severity: Severity = "warning", message: str = "It is bad.") -> Condition:
    return Condition(key, severity, f"About {key}", message, "Look at it.")


def policy(*receivers: str, **others: Any) -> Policy:
    """Who is told, all levels; without pauses, quiet hours and escalation unless they are given."""
    return Policy(dict.fromkeys(receivers, "info"), **{"cooldown": COOLDOWN, **others})


def notice(
    told: Condition | None = None, *, kind: Literal["begun", "recovered", "test"] = "begun", number: int = 1
) -> Notice:
    return Notice(f"id-{number}", kind, told or condition(), NOW, NOW if kind == "recovered" else None)


class Received(NamedTuple):
    """What came in with one request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """An HTTP server; `answer` decides how it behaves and may be changed at any time."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.arrived = threading.Event()
        self.over = threading.Event()
        self.host = "127.0.0.1"
        self.port = 0
        self.scheme = "http"

    def url(self, path: str = "/hook") -> str:
        return f"{self.scheme}://{self.host}:{self.port}{path}"


Answer = Callable[["Handler", Receiver], None]


class Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        received = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        self.receiver.received.append(received)
        self.receiver.arrived.set()
        with suppress(OSError):
            self.receiver.answer(self, self.receiver)

    do_GET = do_POST  # noqa: N815 - the name is the base class's

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        del format, args


def status(code: int, text: str = "ok", **headers: str) -> Answer:
    def answer(handler: Handler, _receiver: Receiver) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text.encode())

    return answer


def hang(_handler: Handler, receiver: Receiver) -> None:
    receiver.over.wait(30)


def drip(handler: Handler, receiver: Receiver) -> None:
    """Send a header for ever, a byte at a time, never silent for long."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not receiver.over.wait(0.05):
        handler.wfile.write(b"a")


@contextmanager
def receiver(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver on a free port of loopback."""
    made = Receiver(answer)
    handler = type("OneHandler", (Handler,), {"receiver": made})
    with ThreadingHTTPServer((made.host, 0), handler) as server:
        server.daemon_threads = True
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            made.scheme = "https"
        made.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            made.over.set()
            server.shutdown()
            thread.join()


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        return int(server.server_address[1])
