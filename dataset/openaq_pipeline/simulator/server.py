"""Starting and stopping: in this thread until a signal comes, or in a thread beside a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from openaq_pipeline.listening import listen
from openaq_pipeline.serving import Server
from openaq_pipeline.signals import until_signal
from openaq_pipeline.simulator.app import Options, Simulator
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.control import NewRow, add_rows
from openaq_pipeline.simulator.faults import Faults
from openaq_pipeline.simulator.requests_log import RequestsLog
from openaq_pipeline.simulator.worlds.base import World

STOP_SECONDS = 10
KEEP_ALIVE_SECONDS = 75


class Running:
    """A simulator that answers at `base_url` (which ends in `/v3`)."""

    def __init__(self, simulator: Simulator, host: str, port: int) -> None:
        self._simulator = simulator
        self.root_url = f"http://{host}:{port}"
        self.base_url = f"{self.root_url}/v3"

    @property
    def world(self) -> World:
        """Return the world it shows."""
        return self._simulator.world

    @property
    def clock(self) -> Clock:
        """Return its clock."""
        return self._simulator.clock

    @property
    def requests(self) -> RequestsLog:
        """Return the log of what it was asked."""
        return self._simulator.requests

    @property
    def faults(self) -> Faults:
        """Return the faults, to be armed and cleared."""
        return self._simulator.faults

    def add_rows(self, sensors_id: int, *rows: NewRow) -> None:
        """Add or change rows of a sensor; ValueError for an unknown one."""
        add_rows(self.world, self.clock, sensors_id, list(rows))


class _Protocol(H11Protocol):
    """HTTP with the connection within reach of the application, for the faults that cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            extended: dict[str, Any] = {
                **scope,
                "extensions": {**scope.get("extensions", {}), "simulator.transport": transport},
            }
            await app(extended, receive, send)

        self.app = with_transport


def serve(
    world: World,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    options: Options | None = None,
    clock: Clock | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called with the base URL as soon as it answers."""
    simulator = Simulator(world, options, clock)
    listening = listen(host, port)
    handle = Running(simulator, host, listening.getsockname()[1])
    server = _server(simulator, lambda: ready(handle.base_url) if ready else None)

    def stop() -> None:
        simulator.faults.clear()
        server.stop()

    with closing(listening), until_signal(stop):
        server.run(sockets=[listening])


@contextmanager
def running(
    world: World,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    options: Options | None = None,
    clock: Clock | None = None,
) -> Iterator[Running]:
    """Serve from a thread of this process while the `with` block runs; port 0 takes a free one."""
    simulator = Simulator(world, options, clock)
    listening = listen(host, port)
    answers = threading.Event()
    server = _server(simulator, answers.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="simulator", daemon=True)
    thread.start()
    try:
        if not answers.wait(STOP_SECONDS):
            raise RuntimeError("the simulator did not start")
        yield Running(simulator, host, listening.getsockname()[1])
    finally:
        simulator.faults.clear()
        server.stop()
        thread.join(STOP_SECONDS)
        listening.close()


def _server(simulator: Simulator, ready: Callable[[], None]) -> Server:
    config = uvicorn.Config(
        simulator.application(),
        http=_Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    return Server(config, ready)
