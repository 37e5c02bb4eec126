"""The control API under `/_simulator/`: health, clock, request log, faults, added rows. No key is needed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from openaq_pipeline.simulator.clock import Clock, to_us
from openaq_pipeline.simulator.faults import Fault, Faults
from openaq_pipeline.simulator.requests_log import RequestsLog
from openaq_pipeline.simulator.worlds.additions import Addition
from openaq_pipeline.simulator.worlds.base import World


class ClockOrder(msgspec.Struct, forbid_unknown_fields=True):
    """What to do with the clock, in this order; None leaves it be. `speed` 0 freezes it."""

    set: dt.datetime | None = None
    advance_seconds: float | None = None
    speed: float | None = None


class NewRow(msgspec.Struct, forbid_unknown_fields=True):
    """A row to add: `visible_at` None means at once; a stamp that exists already is replaced."""

    datetime: dt.datetime
    value: float | None
    visible_at: dt.datetime | None = None
    latitude: float | None = None
    longitude: float | None = None


class NewRows(msgspec.Struct, forbid_unknown_fields=True):
    """Rows to add to one sensor."""

    sensors_id: int
    rows: list[NewRow]


def add_rows(world: World, clock: Clock, sensors_id: int, rows: list[NewRow]) -> None:
    """Add rows to a sensor of the world; ValueError if it has no such sensor or a time is naive."""
    if sensors_id not in world.sensors_by_id:
        raise ValueError(f"this world has no sensor {sensors_id}")
    for row in rows:
        if row.datetime.tzinfo is None or (row.visible_at and row.visible_at.tzinfo is None):
            raise ValueError("times need an offset or Z")
        visible_us = to_us(row.visible_at) if row.visible_at else clock.now_us()
        place = None if row.latitude is None or row.longitude is None else (row.latitude, row.longitude)
        world.additions.add(sensors_id, Addition(to_us(row.datetime), row.value, visible_us, place))


def move(clock: Clock, order: ClockOrder) -> None:
    """Carry out an order to the clock; ValueError if its time is naive."""
    if order.set is not None:
        if order.set.tzinfo is None:
            raise ValueError("times need an offset or Z")
        clock.set(order.set)
    if order.advance_seconds is not None:
        clock.advance(order.advance_seconds)
    if order.speed is not None:
        clock.run(speed=order.speed)


class Control:
    """The handlers; each returns what is sent back as JSON."""

    def __init__(self, world: World, clock: Clock, log: RequestsLog, faults: Faults) -> None:
        self._world = world
        self._clock = clock
        self._log = log
        self._faults = faults

    def route(self, api: FastAPI) -> None:
        """Add the routes of the control API."""
        for name, handler, methods in (
            ("health", self._health, ["GET"]),
            ("clock", self._time, ["GET", "POST"]),
            ("requests", self._requests, ["GET", "DELETE"]),
            ("faults", self._mishaps, ["GET", "POST", "DELETE"]),
            ("rows", self._rows, ["POST"]),
        ):
            api.add_route(f"/_simulator/{name}", _as_json(handler), methods=methods)

    async def _health(self, _request: Request) -> Any:
        sensors = len(self._world.sensors_by_id)
        return {"status": "ok", "locations": len(self._world.stations), "sensors": sensors}

    async def _time(self, request: Request) -> Any:
        if request.method == "POST":
            move(self._clock, msgspec.json.decode(await request.body(), type=ClockOrder))
        return {"now": self._clock.now(), "speed": self._clock.speed}

    async def _requests(self, request: Request) -> Any:
        if request.method == "DELETE":
            self._log.clear()
        by_status = {str(status): count for status, count in sorted(self._log.by_status.items())}
        return {"total": self._log.total, "by_status": by_status, "requests": self._log.entries()}

    async def _mishaps(self, request: Request) -> Any:
        if request.method == "DELETE":
            self._faults.clear()
        elif request.method == "POST":
            self._faults.add(msgspec.json.decode(await request.body(), type=Fault))
        return {"faults": self._faults.struck()}

    async def _rows(self, request: Request) -> Any:
        wanted = msgspec.json.decode(await request.body(), type=NewRows)
        add_rows(self._world, self._clock, wanted.sensors_id, wanted.rows)
        return {"added": len(wanted.rows)}


def _as_json(handler: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            told, status = await handler(request), 200
        except (ValueError, msgspec.DecodeError) as error:
            told, status = {"detail": str(error)}, 422
        return Response(msgspec.json.encode(told), status, media_type="application/json")

    return endpoint
