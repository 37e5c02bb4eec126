"""What systemd is told (`Type=notify`, `WatchdogSec=`): ready, alive, stopping. Without systemd nothing happens."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Literal


def tell(state: Literal["READY=1", "WATCHDOG=1", "STOPPING=1"]) -> None:
    """Send a state to the socket that systemd names; a lost one is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(0.0)
        channel.sendto(state.encode(), address)


def longest_silence_seconds() -> float:
    """Return how often systemd wants to hear that the daemon is alive, at the least; infinity without a watchdog."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not (microseconds.isascii() and microseconds.isdigit()):
        return float("inf")
    return int(microseconds) / 2e6  # half of it, as sd_watchdog_enabled(3) advises
