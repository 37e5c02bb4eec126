"""What is typed behind a flag: text in, a checked value out; what is none raises `argparse.ArgumentTypeError`."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

HUNDRED_YEARS_HOURS = 876_600
"""As `settings.HUNDRED_YEARS_DAYS`, which costs too much to import here."""

DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def location_id(text: str) -> int:
    """Return a location id from the command line."""
    if not re.fullmatch(r"[1-9][0-9]{0,9}", text, re.ASCII) or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a location id (a whole number from 1 to 2147483647)")
    return int(text)


def moment(text: str) -> tuple[datetime, bool]:
    """Return a time in ISO 8601, UTC where it names no zone, and whether it is a date without a time."""
    from dateutil.parser import isoparse  # noqa: PLC0415 - a plain run has no use for it

    try:
        found = isoparse(text)
        found = found.replace(tzinfo=found.tzinfo or UTC, microsecond=0).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2025-01-31 or 2025-01-31T12:00Z") from None
    return found, bool(DATE.fullmatch(text))


def hours(text: str) -> float:
    """Return a number of hours from the command line, above 0 and up to a hundred years."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= HUNDRED_YEARS_HOURS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours above 0")
    return number


def range_end(given: tuple[datetime, bool]) -> datetime:
    """Return where a range ends: a date without a time is meant with its whole day."""
    end, is_date = given
    last = datetime.max.replace(tzinfo=UTC, microsecond=0)
    return min(end, last - timedelta(days=1)) + timedelta(days=1) if is_date else end


def folder(text: str) -> Path:
    """Return a folder, whether it is there or not."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty name is no folder")
    return Path(text)


def positive(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def pause(text: str) -> float:
    """Return seconds from a tenth to a day."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 86400")
    return seconds


def percent(text: str) -> float:
    """Return a share between 0 and 100."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 100")
    return share
