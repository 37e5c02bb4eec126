"""How often a file that is always rewritten whole may be: the larger it is and the slower the disk, the more seldom."""

from __future__ import annotations

from collections.abc import Callable

SHARE = 20
"""Writing may take one part in so many of the time that passes."""

BYTES_PER_SECOND = 250_000
"""So much may be written on average: an hour of a state of 100,000 sensors every two seconds would be 40 GB."""


class Pace:
    """Says when the next version of one file may be written; in between it waits in memory.

    What a crash costs is asking again for what came since the last version, so small files are written often.
    """

    def __init__(self, clock: Callable[[], float], *, least_seconds: float, written_at: float = float("-inf")) -> None:
        self._clock = clock
        self._least_seconds = least_seconds
        self._pause = least_seconds
        self._written_at = written_at
        self._began = written_at

    def is_due(self) -> bool:
        """Say whether the last version is old enough."""
        return self._clock() - self._written_at >= self._pause

    def begin(self) -> None:
        """Note that a version is about to be written."""
        self._began = self._clock()

    def wrote(self, size_bytes: int) -> None:
        """Note that it is written, and how large it is."""
        self._written_at = self._clock()
        took = self._written_at - self._began
        self._pause = max(self._least_seconds, SHARE * took, size_bytes / BYTES_PER_SECOND)
