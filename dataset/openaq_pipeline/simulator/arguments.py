"""The command line of the simulator; imports nothing heavy, because every start of the program reads it."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

WORLDS = ("demo", "quirks", "bench", "planet", "replay")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must not be below 0: {text}")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1: {text}")
    return number


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a time such as 2026-11-01T00:00:00Z: {text}") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to a parser."""
    parser.add_argument(
        "--world",
        choices=WORLDS,
        default="demo",
        help="demo: ten stations in Kathmandu; quirks: a small station for each oddity of the real API, failures "
        "included; bench: many plain hourly sensors; planet: a mix much like OpenAQ's own; replay: recorded pages of "
        "--folder (default: demo)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8900, help="port to listen on, 0 for a free one (default: 8900)")
    parser.add_argument("--seed", type=int, default=1, help="another number makes other values (default: 1)")
    parser.add_argument(
        "--requests-per-minute",
        type=_count,
        default=60,
        metavar="N",
        help="limit for each key, 0 for none (default: 60)",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="K",
        help="accept only this key (repeatable; default: any)",
    )
    parser.add_argument("--nulls-crash", action="store_true", help="rows without a value are a 500, as before May 2026")
    parser.add_argument(
        "--gzip", action="store_true", help="compress answers over 1,000 bytes if the client accepts it"
    )
    parser.add_argument("--start", type=_time, metavar="T", help="let the clock start at this time")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="seconds per real second, 0 to stand still (default: 1)"
    )
    parser.add_argument(
        "--bench-locations", type=_count, default=10, metavar="N", help="locations of the bench and planet worlds"
    )
    parser.add_argument("--bench-sensors", type=_count, default=5, metavar="N", help="sensors of each, in bench")
    parser.add_argument("--bench-days", type=_count, default=730, metavar="N", help="days of rows it begins with")
    parser.add_argument(
        "--bench-late", type=_share, default=0.0, metavar="SHARE", help="so many of its rows come hours to days late"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="recorded pages, for the replay world")


def main(namespace: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT and return 0; prints one line, the base URL, when it answers."""
    # Here, not above: FastAPI and uvicorn cost half a second that no other command should pay.
    from openaq_pipeline.simulator.command import run  # noqa: PLC0415

    return run(namespace)
