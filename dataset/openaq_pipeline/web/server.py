"""Starting and stopping the page: in this thread until a signal comes, or in a thread beside a test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import uvicorn

from openaq_pipeline.listening import address, is_loopback, listen, opened
from openaq_pipeline.serving import Server
from openaq_pipeline.settings import Settings
from openaq_pipeline.signals import until_signal
from openaq_pipeline.web.app import LOCAL_NAMES, application
from openaq_pipeline.web.gate import HEADER_BYTES, IDLE_SECONDS, Gate
from openaq_pipeline.web.look import Look

STOP_SECONDS = 10
BACKLOG = 128


def serve(
    settings: Settings,
    ready: Callable[[str], None],
    *,
    listening: socket.socket | None = None,
    ledger: Path | None = None,
    leaving: Callable[[Callable[[], None]], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called with the address as soon as it answers.

    `listening` is the socket to serve on, None: as the settings have it; `ledger` is where requests are counted, None:
    where this key's are. `leaving` is told what ends the serving, which may be called from any thread. Raises
    `ConfigError` if the address can't be had.
    """
    with closing(listening or opened(settings.web.host, settings.web.port)) as bound:
        look = Look(settings, ledger)
        look.begin()
        server = _server(look, bound, settings.web.host, lambda: ready(address(bound)))
        leaving(server.stop)
        with until_signal(server.stop):
            server.run(sockets=[bound])


@contextmanager
def running(settings: Settings, look: Look | None = None) -> Iterator[str]:
    """Serve from a thread of this process, on a free port, while the `with` block runs; give the address."""
    answers = threading.Event()
    with closing(listen("127.0.0.1", 0)) as listening:
        server = _server(look or Look(settings), listening, "127.0.0.1", answers.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="page", daemon=True)
        thread.start()
        try:
            if not answers.wait(STOP_SECONDS):
                raise RuntimeError("the status page did not start")
            yield address(listening)
        finally:
            server.stop()
            thread.join(STOP_SECONDS)


def _server(look: Look, listening: socket.socket, host: str, ready: Callable[[], None]) -> Server:
    local = LOCAL_NAMES | {host.lower()} if is_loopback(listening) else None
    config = uvicorn.Config(
        application(look, local=local),
        http=Gate,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="critical",  # what is no HTTP is a sentence to who sent it, and nothing to the log
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    return Server(config, ready)
