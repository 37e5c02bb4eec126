"""Starting and stopping the page: in this thread until a signal comes, or in a thread beside a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import uvicorn

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.serving import Server, listen, until_signal
from openaq_pipeline.settings import Settings
from openaq_pipeline.web.app import application

STOP_SECONDS = 10


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called with the address as soon as it answers.

    Raises `ConfigError` if the address can't be had.
    """
    web = settings.web
    try:
        listening = listen(web.host, web.port)
    except OSError as error:
        raise ConfigError(
            f"The status page can't listen on {web.host}:{web.port}: {error.strerror}",
            hint="End what listens there, or choose another web.port.",
        ) from error
    server = _server(settings, lambda: ready(_address(web.host, listening.getsockname()[1])))
    with closing(listening), until_signal(server.stop):
        server.run(sockets=[listening])


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Serve from a thread of this process, on a free port, while the `with` block runs; give the address."""
    answers = threading.Event()
    with closing(listen("127.0.0.1", 0)) as listening:
        server = _server(settings, answers.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="page", daemon=True)
        thread.start()
        try:
            if not answers.wait(STOP_SECONDS):
                raise RuntimeError("the status page did not start")
            yield _address("127.0.0.1", listening.getsockname()[1])
        finally:
            server.stop()
            thread.join(STOP_SECONDS)


def _server(settings: Settings, ready: Callable[[], None]) -> Server:
    config = uvicorn.Config(
        application(settings),
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return Server(config, ready)


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
