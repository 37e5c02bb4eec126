"""What a repair says it has done."""

from __future__ import annotations

import msgspec


class Mended(msgspec.Struct, frozen=True):
    """What was done about a file (by its path in the data folder), in a sentence; `complete`: nothing is left to do."""

    file: str
    what: str
    complete: bool = True
