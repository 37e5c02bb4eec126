"""Where the book of alerts is while the disk takes nothing: a nameless file in memory, handed from process to process.

The daemon makes it and hands it to its runs, so that what one of them told is known to the next: a full disk is told
once, and so is its end. It does not outlive the daemon.
"""

from __future__ import annotations

import os
from contextlib import suppress

from openaq_pipeline import pulse

VARIABLE = "OPENAQ_PIPELINE_ALERTS_FD"
"""Names the file, as `descriptor:inode`."""


class Spare:
    """The file of the daemon, or the one that a process inherited. It is empty while the disk has the book."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @property
    def name(self) -> str:
        """Return what a child finds under `VARIABLE`."""
        return f"{self.descriptor}:{os.fstat(self.descriptor).st_ino}"

    def read(self) -> bytes:
        """Return what is in it."""
        return os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0)

    def write(self, body: bytes) -> None:
        """Replace what is in it; who is killed meanwhile leaves what can't be read, which is as good as nothing."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, body, 0)

    def stamp(self) -> int:
        """Return a number that changes with every write."""
        return os.fstat(self.descriptor).st_mtime_ns

    def close(self) -> None:
        """Forget it; who inherited it keeps it."""
        os.close(self.descriptor)


def made() -> Spare | None:
    """Return a new one; None where the system has no such files."""
    with suppress(AttributeError, OSError):
        return Spare(os.memfd_create("alerts"))
    return None


def inherited() -> Spare | None:
    """Return the one of the daemon that started this process; None if none did."""
    found = pulse.inherited(VARIABLE)
    return Spare(found) if found is not None and os.fstat(found).st_nlink == 0 else None
