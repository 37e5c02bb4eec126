"""A total deadline for an HTTP answer.

The timeouts of `requests` are per read: a server that sends one byte every second holds a request for ever. Here
every read from the socket, of headers and body, with and without TLS, gets what is left of the whole.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_due = threading.local()


def start(seconds: float, read_seconds: float) -> None:
    """Start the clock for this thread's next request: so long for the whole, and so long for any one silence."""
    _due.at = time.monotonic() + seconds
    _due.read_seconds = read_seconds


def left() -> float:
    """Return the seconds left for this thread's request; raises `TimeoutError` when there are none."""
    remaining: float = getattr(_due, "at", float("inf")) - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("the whole answer took longer than the deadline")
    return remaining


class _DeadlineReader(socket.SocketIO):
    """Reads a socket with what is left of the deadline as its timeout."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection, "r")
        self._connection = connection

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(min(left(), getattr(_due, "read_seconds", 60.0)))
        return super().readinto(buffer)


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        # As `socket.makefile` counts its readers, so that closing this one releases the socket.
        sock._io_refs += 1  # noqa: SLF001
        plain, self.fp = self.fp, io.BufferedReader(_DeadlineReader(sock), 65536)
        plain.close()


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


class DeadlineAdapter(HTTPAdapter):
    """An adapter for a `requests.Session` whose answers obey `start`, also those that come through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make a pool manager whose connections read by the deadline."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the pool manager of a proxy, reading by the deadline too; SOCKS has connections of its own kind."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


class PlainSession(requests.Session):
    """A session that leaves redirects alone.

    Even with `allow_redirects=False` a plain session reads a redirect's whole body, past any size cap, and looks at
    where it leads.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: no answer leads anywhere."""
