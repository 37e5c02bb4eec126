"""The watermark of the copy: which version of each file the database holds."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from openaq_pipeline.model import FileMark

LIVE = "live"
"""The part that is a location's file; the others are years of its history, named as their folders: year=2024."""

DESCRIPTIONS = (0, "locations.json")
"""Where the mark of `locations.json` stands; no location has the id 0."""


class Mark(NamedTuple):
    """What the database says of one file: which version of it, and up to where the history counted then."""

    file: FileMark
    sealed_to: datetime | None
