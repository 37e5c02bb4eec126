"""Ports: having one, and under which address it is found."""

from __future__ import annotations

import ipaddress
import socket

from openaq_pipeline.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes a free one. Raises `OSError` if the address can't be had."""
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


def opened(host: str, port: int) -> socket.socket:
    """Return a bound socket for the status page; raises `ConfigError` if the address can't be had."""
    try:
        return listen(host, port)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no name of a machine"
        raise ConfigError(
            f"The status page can't listen on {host}:{port}: {reason}",
            hint="End what listens there, or choose another web.port.",
        ) from error


def address(listening: socket.socket) -> str:
    """Return where what is served on this socket is found by this machine."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listening: socket.socket) -> bool:
    """Say whether only this machine can reach a socket."""
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback
