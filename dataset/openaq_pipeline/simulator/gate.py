"""The outermost layer: notes each request and lets an armed fault strike before the application answers."""

from __future__ import annotations

from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.faults import Faults
from openaq_pipeline.simulator.mischief import Case, strike
from openaq_pipeline.simulator.requests_log import LoggedRequest, RequestsLog

CONTROL_PREFIX = "/_simulator/"


class Gate:
    """An ASGI application around another one; calls of the control API pass through unseen."""

    def __init__(self, app: ASGIApp, *, clock: Clock, log: RequestsLog, faults: Faults) -> None:
        self._app = app
        self._clock = clock
        self._log = log
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on what is none."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, receive, send)
            return
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        entry = self._log.arrived(self._clock.now(), scope["method"], path, query, _key(scope))
        noting = self._noting(entry, send)
        fault = self._faults.pick(f"{path}?{query}" if query else path)
        if fault is None:
            await self._app(scope, receive, noting)
        else:
            held = partial(self._faults.holds, fault)
            await strike(Case(fault, scope, receive, noting, held), self._app)

    def _noting(self, entry: LoggedRequest, send: Send) -> Send:
        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._log.answered(entry, message["status"])
            await send(message)

        return noting


def _key(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-api-key"), None)
