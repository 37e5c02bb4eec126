"""A total deadline for an HTTP answer.

The timeouts of `requests` are per read: a server that sends one byte every second holds a request for ever. Here
every read from the socket, of headers and body, with and without TLS, gets what is left of the whole. So do the
look-up of the name, which has no timeout at all, and the tries of its addresses, each of which has one of its own.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection
from urllib3.util.ssl_ import create_urllib3_context

from openaq_pipeline import lookup

LOOKUP_SECONDS = 10.0
"""A resolver that is well answers in less than one; glibc asks a second one after 5."""

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

    def _new_conn(self) -> socket.socket:
        return _dial(self)


class _SecureConnection(HTTPSConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _dial(self)


def _dial(connection: HTTPConnection) -> socket.socket:
    """Return a socket to the first address of a host that answers; raises the errors of urllib3."""
    try:
        found = lookup.addresses(connection.host, connection.port, min(left(), LOOKUP_SECONDS))
        return _first(found, connection)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, f"No connection to {connection.host} in time") from error
    except (OSError, UnicodeError) as error:
        raise NewConnectionError(connection, f"Failed to establish a new connection: {error}") from error


def _first(found: list[str], connection: HTTPConnection) -> socket.socket:
    problem: OSError = OSError("the name has no address")
    for address in found:
        seconds = connection.timeout if isinstance(connection.timeout, int | float) else LOOKUP_SECONDS
        try:
            return create_connection(
                (address, connection.port),
                min(left(), seconds),
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            problem = error
    raise problem


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


class DeadlineAdapter(HTTPAdapter):
    """An adapter for a `requests.Session` whose answers obey `start`, also those that come through a proxy.

    `trust` is what certificates are checked with where there is no proxy in between; None: each connection reads the
    authorities anew.
    """

    def __init__(self, trust: ssl.SSLContext | None = None, **kwargs: Any) -> None:
        self._trust = trust
        super().__init__(**kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Tell a pool which authorities to read: none where they are known."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        if self._trust is not None and conn.proxy is None:
            conn.ca_certs = conn.ca_cert_dir = None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make a pool manager whose connections read by the deadline."""
        super().init_poolmanager(*args, ssl_context=self._trust, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the pool manager of a proxy, reading by the deadline too; SOCKS has connections of its own kind."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


def trusting(bundle: str) -> ssl.SSLContext:
    """Return what certificates are checked with: the authorities in a file or folder. Reading them takes 20 ms."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    place = Path(bundle)
    context.load_verify_locations(*((None, place) if place.is_dir() else (place, None)))
    return context


class PlainSession(requests.Session):
    """A session that leaves redirects alone.

    Even with `allow_redirects=False` a plain session reads a redirect's whole body, past any size cap, and looks at
    where it leads.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: no answer leads anywhere."""
