"""What Slack and webhook share: addresses that are safe to post to, and what an HTTP answer means."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import NamedTuple
from urllib.error import URLError
from urllib.parse import SplitResult, urlsplit

from openaq_pipeline.errors import DeliveryError

Resolve = Callable[[str, int], list[str]]
"""Returns the IP addresses of a name; raises `OSError`."""

_INSIDE = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # where Oracle's cloud tells a machine its secrets
            "168.63.129.16/32",  # and where Azure's does
            "192.88.99.0/24",
            "64:ff9b:1::/48",
            "2001::/23",
            "3fff::/20",
        ),
    )
)
"""Not of the open internet, and not known as such to every Python (3.11.7 takes most of them for public)."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Address(NamedTuple):
    """Where to post. Only `host` may ever be shown: path and query of such an address are its password."""

    secure: bool
    host: str
    port: int
    target: str


def parse(url: str, setting: str, *, allow_plain: Callable[[str], bool]) -> Address:
    """Return the parts of an address. `allow_plain` says for which hosts http will do.

    Raises `DeliveryError` (permanent) that names `setting`, and nothing of the address but its host.
    """
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise _wrong(setting, "is no web address") from None
    if parts.scheme not in {"http", "https"} or not host or port == 0 or not _is_plain_text(url.strip()):
        raise _wrong(setting, "is no web address")
    if "@" in parts.netloc:
        raise _wrong(setting, "must not hold a user name or password")
    secure = parts.scheme == "https"
    if not (secure or allow_plain(host)):
        raise _wrong(setting, "must begin with https://")
    return Address(secure, host, port or (443 if secure else 80), _target(parts))


def _wrong(setting: str, problem: str) -> DeliveryError:
    return DeliveryError(f"{setting} {problem}", permanent=True, hint="Copy it again from the receiving service.")


def _is_plain_text(url: str) -> bool:
    """Say whether an address has only the characters an address may have; a line break could forge a header."""
    return url.isascii() and url.isprintable() and " " not in url


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by its very name; nobody can listen in between."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def resolve(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host, best first. Raises `OSError`."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the open internet, and not one of this machine or of a network behind it."""
    ip = _innermost(ipaddress.ip_address(address.partition("%")[0]))
    inside = ip.is_multicast or ip.is_reserved or (isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local)
    return ip.is_global and not inside and not any(ip in network for network in _INSIDE)


def _innermost(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address inside one that only wraps it: what is reached in the end is what counts."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def check_status(status: int, who: str, reason: str = "") -> None:
    """Raise `DeliveryError` for an answer that is no success; `reason` must hold nothing the receiver made up."""
    if 200 <= status < 300:
        return
    said = f"{who} answered {status}{f' ({reason})' if reason else ''}"
    if 300 <= status < 400:
        raise DeliveryError(
            f"{said}, a redirect, which is not followed", permanent=True, hint="Set the address that it leads to."
        )
    if status in {408, 425, 429} or not 400 <= status < 500:
        raise DeliveryError(said, permanent=False, hint="Check whether it works and can be reached from here.")
    raise DeliveryError(said, permanent=True, hint="Check that the address is the right one and still valid.")


def unreachable(who: str, error: Exception, *, out_of_time: bool) -> DeliveryError:
    """Return what a failed conversation means; of the error only what the system says, which holds no address."""
    if out_of_time or isinstance(error, TimeoutError):
        return DeliveryError(
            f"{who} did not answer in time",
            permanent=False,
            hint="Check whether it works and can be reached from here.",
        )
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return unreachable(who, cause, out_of_time=True)
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
    return DeliveryError(
        f"{who} can't be reached: {said}", permanent=False, hint="Check whether it works and can be reached from here."
    )
