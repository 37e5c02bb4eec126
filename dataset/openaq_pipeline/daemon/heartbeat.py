"""A sign for a watcher outside: one GET after each run that leaves everything current, so that silence means trouble.

Under the daemon a run says whether it is so (`pulse`), and the daemon alone has the address. A run by itself sends it.
"""

from __future__ import annotations

import logging
import threading
from urllib.parse import urlsplit

from pydantic import SecretStr

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0


class Heartbeat:
    """Beats in a thread of its own, one beat at a time: a slow watcher delays no run."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def beat(self, url: SecretStr | None) -> None:
        """Send a beat if there is an address and the last one is through; what goes wrong is logged."""
        if url is None or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=_send, args=(url.get_secret_value(),), name="heartbeat", daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Give a beat under way so long to arrive."""
        if self._thread is not None:
            self._thread.join(seconds)


def _send(url: str) -> None:
    """GET an address, whose path is a secret: nothing but its host is ever logged."""
    from openaq_pipeline.openaq import deadline  # noqa: PLC0415 - only those with a heartbeat pay for its memory

    try:
        with deadline.PlainSession() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, deadline.DeadlineAdapter())
            deadline.start(HEARTBEAT_SECONDS, HEARTBEAT_SECONDS)
            with session.get(url, timeout=HEARTBEAT_SECONDS, allow_redirects=False, stream=True) as answer:
                status = answer.status_code
    except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold the address
        log.warning("The heartbeat to %s failed: %s", _host(url), type(error).__name__)
        return
    if not 200 <= status < 300:
        log.warning("The heartbeat to %s was answered with %d", _host(url), status)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "its address"
    except ValueError:
        return "its address"
