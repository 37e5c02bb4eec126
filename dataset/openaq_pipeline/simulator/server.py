"""Starting and stopping: in this thread until a signal comes, or in a thread beside a test."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from openaq_pipeline.simulator.app import Options, Simulator
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.control import NewRow, add_rows
from openaq_pipeline.simulator.faults import Faults
from openaq_pipeline.simulator.requests_log import RequestsLog
from openaq_pipeline.simulator.worlds.base import World

STOP_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
TICK_SECONDS = 0.1


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


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which ends the process by the signal instead of with code 0."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """End at once instead of at the next tick; may be called from any thread and from a signal handler."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._ready()

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864_000
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK_SECONDS)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
    listening = _listen(host, port)
    handle = Running(simulator, host, listening.getsockname()[1])
    server = _server(simulator, lambda: ready(handle.base_url) if ready else None)

    def stop(_signal: int, _frame: object) -> None:
        simulator.faults.clear()
        server.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()
        for number, handler in before.items():
            signal.signal(number, handler)


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
    listening = _listen(host, port)
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


def _server(simulator: Simulator, ready: Callable[[], None]) -> _Server:
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
    return _Server(config, ready)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle off only then: 40 ms for each small answer.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening
