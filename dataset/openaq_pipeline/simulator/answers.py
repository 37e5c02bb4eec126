"""Envelopes and errors with the bodies and headers of the official server."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

JSON = "application/json"
CACHED = {"cache-control": "public, max-age=900", "vary": "Accept-Encoding"}
"""OpenAQ sends these on every GET answer below 500, errors included (OPENAQ section 3.7)."""

ERRORS_URL = "https://errors.pydantic.dev/2.11/v/"


class Refusal(Exception):
    """An answer other than 200: its status and its body (bytes of JSON)."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body

    def response(self, headers: dict[str, str] | None = None) -> Response:
        """Return it as a response, with further headers if given."""
        return Response(self.body, self.status, {**(headers or {}), **CACHED}, JSON)


class Crash(Exception):
    """What the official server trips over: becomes a 500 in plain text."""


def crashed() -> Response:
    """Return the official server's answer to its own unhandled errors."""
    return Response(b"Internal Server Error", 500, media_type="text/plain")


def success(body: bytes, headers: dict[str, str]) -> Response:
    """Return a 200 with this JSON body."""
    return Response(body, 200, {**headers, **CACHED}, JSON)


def detail(status: int, text: str) -> Refusal:
    """Return a refusal with the body `{"detail": text}`."""
    return Refusal(status, msgspec.json.encode({"detail": text}))


def not_found(what: str) -> Refusal:
    """Return the 404 of one resource, such as `Location not found`."""
    return detail(404, f"{what} not found")


def sentence(text: str) -> Refusal:
    """Return a 422 whose body is a JSON string."""
    return Refusal(422, msgspec.json.encode(text))


def unparsed(problems: list[dict[str, Any]]) -> Refusal:
    """Return a 422 whose body is a JSON string that wraps a Python repr: a value that could not be read."""
    return sentence(repr(problems))


def out_of_range(kind: str, name: str, message: str, given: int, bound: dict[str, int]) -> Refusal:
    """Return the 422 of a number outside its bounds; upstream says `query` for path parameters too."""
    problem = {
        "type": kind,
        "loc": ["query", name],
        "msg": message,
        "input": given,
        "ctx": bound,
        "url": ERRORS_URL + kind,
    }
    return Refusal(422, msgspec.json.encode({"detail": [problem]}))


def envelope(results: list[Any], found: int | str, *, page: int = 1, limit: int = 100) -> bytes:
    """Return the body that every list comes in."""
    return wrapped(msgspec.json.encode(results)[1:-1], found, page=page, limit=limit)


def wrapped(rows: bytes, found: int | str, *, page: int, limit: int) -> bytes:
    """Return the envelope around rows that are JSON already, joined by commas."""
    told = f'"{found}"' if isinstance(found, str) else str(found)
    meta = f'{{"name":"openaq-api","website":"/","page":{page},"limit":{limit},"found":{told}}}'
    return b'{"meta":' + meta.encode() + b',"results":[' + rows + b"]}"


def found_on_page(rows: int, limit: int) -> int | str:
    """Return `found` where OpenAQ does not count: `">N"` for a full page, else the page's own rows."""
    return f">{limit}" if rows == limit else rows
