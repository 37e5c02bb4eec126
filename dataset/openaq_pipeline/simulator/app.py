"""The application: which path is answered by what, after key and rate limit were checked."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from openaq_pipeline.simulator.answers import Crash, Refusal, crashed, detail, success
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.control import Control
from openaq_pipeline.simulator.faults import Faults
from openaq_pipeline.simulator.gate import Gate
from openaq_pipeline.simulator.limiter import Limiter
from openaq_pipeline.simulator.metadata import Metadata
from openaq_pipeline.simulator.query import path_id
from openaq_pipeline.simulator.reference import NAMES, Reference
from openaq_pipeline.simulator.requests_log import RequestsLog
from openaq_pipeline.simulator.rollups import BY_DATE, BY_TIME, Rollups
from openaq_pipeline.simulator.series import Series
from openaq_pipeline.simulator.worlds.base import World

GZIP_FROM_BYTES = 1000
GZIP_LEVEL = 5

Endpoint = Callable[[Request], Awaitable[Response]]
IdAnswer = Callable[[int, Mapping[str, str], int], bytes]


class Options(msgspec.Struct, frozen=True):
    """How strict the simulator is.

    `requests_per_minute` 0 means a limit of a million; `limits_by_key` overrides it. `keys` are those accepted
    (empty: any). `nulls_crash` brings back the server of before 2026-05-12. `compress` gzips answers over 1,000
    bytes for clients that accept it, as production does; off by default because it costs more than the loopback
    saves.
    """

    requests_per_minute: int = 60
    limits_by_key: dict[str, int] = {}
    keys: frozenset[str] = frozenset()
    nulls_crash: bool = False
    compress: bool = False


class Simulator:
    """A world with its clock, request log and faults, and the ASGI application that shows it."""

    def __init__(self, world: World, options: Options | None = None, clock: Clock | None = None) -> None:
        self.world = world
        self.options = options or Options()
        self.clock = clock or Clock()
        self.requests = RequestsLog()
        self.faults = Faults()
        self._limiter = Limiter(self.options.requests_per_minute, self.options.limits_by_key)

    def application(self) -> ASGIApp:
        """Return the ASGI application."""
        api = FastAPI(
            openapi_url=None,
            redirect_slashes=False,
            exception_handlers={HTTPException: _no_route},
        )
        self._route_series(api)
        self._route_metadata(api)
        self._route_reference(api)
        Control(self.world, self.clock, self.requests, self.faults).route(api)
        return Gate(api, clock=self.clock, log=self.requests, faults=self.faults)

    def _route_series(self, api: FastAPI) -> None:
        series = Series(self.world, nulls_crash=self.options.nulls_crash)
        rollups = Rollups(self.world, nulls_crash=self.options.nulls_crash)
        self._by_id(api, "/v3/sensors/{id}/measurements", "sensors_id", series.measurements)
        for endpoint in (*BY_TIME, *BY_DATE):

            def answer(found: int, query: Mapping[str, str], now_us: int, endpoint: str = endpoint) -> bytes:
                return rollups.answer(endpoint, found, query, now_us)

            self._by_id(api, f"/v3/sensors/{{id}}/{endpoint}", "sensors_id", answer)

    def _route_metadata(self, api: FastAPI) -> None:
        made = Metadata(self.world)
        self._listed(api, "/v3/locations", made.locations)
        location, sensor = "/v3/locations/{id}", "/v3/sensors/{id}"
        self._by_id(api, location, "locations_id", lambda found, _, now: made.location(found, now))
        self._by_id(
            api,
            f"{location}/sensors",
            "locations_id",
            lambda found, _, now: made.location_sensors(found, now),
        )
        self._by_id(api, f"{location}/latest", "locations_id", made.location_latest)
        self._by_id(
            api,
            f"{location}/flags",
            "locations_id",
            lambda found, query, _: made.location_flags(found, query),
        )
        self._by_id(api, sensor, "sensors_id", lambda found, _, now: made.sensor(found, now))
        self._by_id(api, f"{sensor}/flags", "sensor_id", lambda found, query, _: made.sensor_flags(found, query))
        self._by_id(api, "/v3/parameters/{id}/latest", "parameters_id", made.parameter_latest)

    def _route_reference(self, api: FastAPI) -> None:
        made = Reference(self.world)
        for kind in NAMES:

            def page(query: Mapping[str, str], now_us: int, kind: str = kind) -> bytes:
                return made.page(kind, query, now_us)

            def one(found: int, _: Mapping[str, str], now_us: int, kind: str = kind) -> bytes:
                return made.one(kind, found, now_us)

            self._listed(api, f"/v3/{kind}", page)
            self._by_id(api, f"/v3/{kind}/{{id}}", f"{kind}_id", one)
        self._by_id(
            api,
            "/v3/manufacturers/{id}/instruments",
            "manufacturers_id",
            lambda found, _, __: made.instruments_of(found),
        )

    def _by_id(self, api: FastAPI, path: str, name: str, answer: IdAnswer) -> None:
        def answered(request: Request, now_us: int) -> bytes:
            return answer(path_id(request.path_params["id"], name), request.query_params, now_us)

        api.add_route(path, self._guarded(answered), methods=["GET"])

    def _listed(self, api: FastAPI, path: str, answer: Callable[[Mapping[str, str], int], bytes]) -> None:
        def answered(request: Request, now_us: int) -> bytes:
            return answer(request.query_params, now_us)

        api.add_route(path, self._guarded(answered), methods=["GET"])

    def _guarded(self, answer: Callable[[Request, int], bytes]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            if request.method != "GET":
                raise HTTPException(405)
            now_us = self.clock.now_us()
            key = request.headers.get("x-api-key")
            if not key or (self.options.keys and key not in self.options.keys):
                return detail(401, "Invalid credentials").response()
            allowance = self._limiter.spend(key, now_us)
            if not allowance.allowed:
                return detail(429, "Too many requests").response(allowance.headers())
            try:
                body = answer(request, now_us)
            except Refusal as refusal:
                return refusal.response()
            except Crash:
                return crashed()
            return self._sent(body, request, allowance.headers())

        return endpoint

    def _sent(self, body: bytes, request: Request, headers: dict[str, str]) -> Response:
        wanted = "gzip" in request.headers.get("accept-encoding", "")
        if self.options.compress and wanted and len(body) > GZIP_FROM_BYTES:
            headers["content-encoding"] = "gzip"
            body = gzip.compress(body, GZIP_LEVEL)
        return success(body, headers)


async def _no_route(_request: Request, error: HTTPException) -> Response:
    return detail(error.status_code, error.detail).response()
