"""What holds for every answer, whoever gives it: who may ask what, its headers, and that none is sent twice."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable
from hashlib import blake2b

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

LONGEST_ADDRESS = 2_048
"""So many bytes may path and query of a request have."""

MOST_HEADER_BYTES = 16_384

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}

ENCODING = "Accept-Encoding"
"""What an answer varies with; one without a body has to say so as well (RFC 9110, 15.4.5)."""

Answer = Callable[[Request, int, str, str, "dict[str, str] | None"], Response]

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)


class Manners:
    """Refuses what is no question to this page, and sees to the headers of all answers.

    `local` are the names besides the addresses of this machine under which a page may be asked for that only this
    machine can reach; None: it is open to others, and they may call it what they like. Without that a page of anybody
    could have its name lead here, and read in the visitor's browser what is here (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, answer: Answer, local: frozenset[str] | None) -> None:
        self._app, self._answer, self._local = app, answer, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        reply = _Reply(scope, send)
        if refusal is not None:
            await refusal(scope, receive, reply.send)
            return
        try:
            await self._app({**scope, "method": "GET"}, receive, reply.send)
        except Exception as error:
            log.debug("A bug in the page %s", scope["path"], exc_info=error)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a request that is none for this page; None: it is one."""
        headers, request = Headers(scope=scope), Request(scope)
        close = {"Connection": "close"}
        if self._local is not None and not is_local(headers.get("host", ""), self._local):
            hint = "Ask for it as localhost, or set web.host to an address that others reach."
            return self._answer(request, 400, "This page is not known by that name", hint, close)
        if scope["method"] not in {"GET", "HEAD"}:
            hint = "Nothing can be changed through this page."
            return self._answer(
                request, 405, "Only GET and HEAD are possible here", hint, {"Allow": "GET, HEAD"} | close
            )
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_ADDRESS:
            return self._answer(request, 414, "The address is too long", "Ask for less at once.", close)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADER_BYTES:
            return self._answer(request, 431, "The request has too many headers", "Ask with fewer.", close)
        if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
            return self._answer(request, 413, "A question here has no body", "Put it into the address.", close)
        return None


class _Reply:
    """An answer on its way: with the headers that all have, and short if the asker has it already."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._asked = Headers(scope=scope)
        self._is_head = scope["method"] == "HEAD"
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        """Send a part of it."""
        if message["type"] == "http.response.start":
            _add_headers(message)
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            if not message.get("more_body"):
                message = self._tagged(start, message)
            await self._send(start)
        if self._is_head:
            message = {**message, "body": b""}
        await self._send(message)

    def _tagged(self, start: Message, message: Message) -> Message:
        """Give a whole answer its tag; return it without its body if the asker holds one with this tag."""
        headers = MutableHeaders(raw=start["headers"])
        if start["status"] != 200:
            return message
        if "etag" not in headers:
            # Weak: it stands for what is said, whether it is compressed or not.
            headers["ETag"] = f'W/"{blake2b(message.get("body", b""), digest_size=12).hexdigest()}"'
        # Tags are compared as if all were weak (RFC 9110, 13.1.2): caches may have taken the mark away.
        held = [each.strip().removeprefix("W/") for each in self._asked.get("if-none-match", "").split(",")]
        if headers["ETag"].removeprefix("W/") not in held and "*" not in held:
            return message
        start["status"] = 304
        headers.add_vary_header(ENCODING)
        for name in ("content-length", "content-type"):
            if name in headers:
                del headers[name]
        return {**message, "body": b""}


def _add_headers(start: Message) -> None:
    headers = MutableHeaders(scope=start)
    for name, value in HEADERS.items():
        headers[name] = value
    if (tag := headers.get("etag", "")).startswith('"'):
        headers["ETag"] = f"W/{tag}"  # that of a file: it too is sent compressed or not
    if start["status"] == 304:
        headers.add_vary_header(ENCODING)
    headers.setdefault("Cache-Control", "no-cache")  # it may be kept, and is asked for by its tag


def is_local(host: str, names: frozenset[str]) -> bool:
    """Say whether a `Host` header names this machine: by an address of its own, or by one of `names`."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].strip("[]").lower().removesuffix(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in names
