"""Carrying a fault out: the broken answer itself."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openaq_pipeline.simulator.answers import CACHED, JSON, crashed
from openaq_pipeline.simulator.faults import Fault

CHUNK = b" " * 1_000_000
DEFAULT_SIZE_BYTES = 100_000_000
DEFAULT_DEPTH = 100_000
LONGEST_HANG_SECONDS = 3600.0
GLANCE_SECONDS = 0.1

OFFICIAL_BODIES = {
    401: '{"detail":"Invalid credentials"}',
    403: '{"message":"Forbidden. violation of rate limit policy. Contact dev@openaq.org"}',
    404: '{"detail":"Not Found"}',
    408: ('{"detail":"Connection timed out: Try to provide more specific query parameters or a smaller time frame."}'),
    410: (
        '{"message":"Gone. Version 1 and Version 2 API endpoints are retired and no longer available. '
        'Please migrate to Version 3 endpoints."}'
    ),
    422: "\"[{'type': 'int_parsing', 'loc': ('query', 'limit'), 'msg': 'Input should be a valid integer'}]\"",
    429: '{"detail":"Too many requests"}',
    502: '{"message":"Internal server error"}',
    503: '{"message":"Service Unavailable"}',
    504: '{"message":"Endpoint request timed out"}',
}


class _Taken:
    """An answer of the application, caught instead of sent."""

    def __init__(self) -> None:
        self.start: Message = {}
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")

    def response(self, body: bytes | None = None) -> Response:
        """Return it again, with another body if one is given."""
        response = Response(self.body if body is None else body, self.start["status"])
        kept = [pair for pair in self.start["headers"] if pair[0] != b"content-length"]
        response.raw_headers = [*kept, (b"content-length", str(len(response.body)).encode())]
        return response


class Case(NamedTuple):
    """A request that is struck; `held` says whether the fault is still armed, for those that take their time."""

    fault: Fault
    scope: Scope
    receive: Receive
    send: Send
    held: Callable[[], bool]

    @property
    def transport(self) -> asyncio.Transport:
        """Return the connection."""
        transport: asyncio.Transport = self.scope["extensions"]["simulator.transport"]
        return transport


async def strike(case: Case, app: ASGIApp) -> None:
    """Answer a request as its fault says; `app` makes the answers that are spoilt afterwards."""
    kind = case.fault.kind
    if kind in SPOILERS:
        taken = _Taken()
        await app(case.scope, case.receive, taken.send)
        await SPOILERS[kind](case, taken)
    elif kind in BREAKERS:
        await BREAKERS[kind](case)
    else:
        await _made_up(case.fault)(case.scope, case.receive, case.send)


def _made_up(fault: Fault) -> Response:
    if fault.kind == "html200":
        return HTMLResponse(fault.body or "<html><body>Please log in to the hotel network</body></html>")
    if fault.kind == "redirect":
        return RedirectResponse(fault.url, fault.status if 300 <= fault.status < 400 else 302)
    if fault.kind == "deep":
        depth = fault.size_bytes or DEFAULT_DEPTH
        return Response(b'{"meta":{},"results":' + b"[" * depth + b"]" * depth + b"}", 200, media_type=JSON)
    if fault.kind == "huge":
        return StreamingResponse(_huge(fault.size_bytes or DEFAULT_SIZE_BYTES), media_type=JSON)
    if fault.kind == "gzip_bomb":
        body = bomb(fault.size_bytes or DEFAULT_SIZE_BYTES)
        return Response(body, 200, {"content-encoding": "gzip"}, JSON)
    return _status(fault)


def _status(fault: Fault) -> Response:
    official = OFFICIAL_BODIES.get(fault.status)
    if fault.body is None and official is None:
        return crashed() if fault.status == 500 else Response(b"{}", fault.status, CACHED, JSON)
    headers = dict(CACHED) if fault.status < 500 else {}
    if fault.status == 429 and fault.reset is not None:
        headers |= {"x-ratelimit-limit": "60", "x-ratelimit-used": "60", "x-ratelimit-remaining": "0"}
        headers["x-ratelimit-reset"] = str(fault.reset)
    body = official if fault.body is None else fault.body
    return Response(body, fault.status, headers, JSON)


async def _huge(size_bytes: int) -> AsyncIterator[bytes]:
    yield b'{"meta":{"name":"openaq-api","website":"/","page":1,"limit":1000,"found":0},"results":['
    for _ in range(max(size_bytes // len(CHUNK), 1)):
        yield CHUNK
        await asyncio.sleep(0)
    yield b"]}"


def bomb(size_bytes: int) -> bytes:
    """Return a gzip stream a thousandth of `size_bytes` long that unpacks to that many blanks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(CHUNK) for _ in range(max(size_bytes // len(CHUNK), 1))]
    return b"".join([*parts, packer.flush()])


async def _hang(case: Case) -> None:
    left = LONGEST_HANG_SECONDS if case.fault.seconds is None else case.fault.seconds
    gone = asyncio.ensure_future(_gone(case.receive))
    while left > 0 and case.held() and not gone.done():
        await asyncio.wait([gone], timeout=min(left, GLANCE_SECONDS))
        left -= GLANCE_SECONDS
    case.transport.abort()
    await gone


async def _reset(case: Case) -> None:
    # Closing with a linger of zero seconds makes the kernel send RST instead of FIN.
    connection: socket.socket = case.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    case.transport.abort()
    await _gone(case.receive)


async def _delay(case: Case, taken: _Taken) -> None:
    await asyncio.sleep(1.0 if case.fault.seconds is None else case.fault.seconds)
    await taken.response()(case.scope, case.receive, case.send)


async def _drip(case: Case, taken: _Taken) -> None:
    pause = 1.0 if case.fault.seconds is None else case.fault.seconds
    await case.send(taken.start)
    for index in range(len(taken.body)):
        piece = taken.body[index : index + 1]
        await case.send({"type": "http.response.body", "body": piece, "more_body": True})
        if not case.held():
            case.transport.abort()
            return
        await asyncio.sleep(pause)
    await case.send({"type": "http.response.body", "body": b""})


async def _truncate(case: Case, taken: _Taken) -> None:
    await case.send(taken.start)
    half = taken.body[: len(taken.body) // 2]
    await case.send({"type": "http.response.body", "body": half, "more_body": True})
    case.transport.close()
    await _gone(case.receive)


async def _bad_json(case: Case, taken: _Taken) -> None:
    await taken.response(taken.body[:-2])(case.scope, case.receive, case.send)


async def _nan(case: Case, taken: _Taken) -> None:
    spoilt = re.sub(rb'"value":[^,]*', b'"value":NaN', taken.body, count=1)
    await taken.response(spoilt)(case.scope, case.receive, case.send)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


SPOILERS: dict[str, Callable[[Case, _Taken], Awaitable[None]]] = {
    "delay": _delay,
    "drip": _drip,
    "truncate": _truncate,
    "bad_json": _bad_json,
    "nan": _nan,
}
BREAKERS: dict[str, Callable[[Case], Awaitable[None]]] = {"hang": _hang, "reset": _reset}
