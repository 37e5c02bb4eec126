"""What stands in an address, put right."""

from __future__ import annotations

import re


def time_in(text: str) -> str:
    """Return a time as it was meant: in an address a plus sign is a space, which nowhere else precedes an offset."""
    return re.sub(r" (\d\d:\d\d)$", r"+\1", text.strip())
