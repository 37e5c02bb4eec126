"""Serving over HTTP, as the status page and the simulator do: a server that ends in order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn

TICK_SECONDS = 1.0
TICKS = 10
"""As many of uvicorn's own ticks as that is: at each tenth it sets the date. Idle, every one costs."""


class Server(uvicorn.Server):
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
        """Tell who waits for it that it answers."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._ready()

    async def main_loop(self) -> None:
        """Serve until it is to end."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + TICKS) % 864_000
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK_SECONDS)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `until_signal`."""
        yield
