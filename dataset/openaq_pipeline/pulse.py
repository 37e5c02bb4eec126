"""The sign of life that a run gives the daemon: a byte into a pipe whenever it gets on, also while it waits in order.

It comes from the work itself and never from a thread that only ticks: a run that is stuck falls silent. At its end it
says in the same way that everything is current, if it is: to find that out takes more memory than the daemon has.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections.abc import Callable
from contextlib import suppress

VARIABLE = "OPENAQ_PIPELINE_PULSE_FD"
"""Names the pipe that the daemon hands to the run it starts, as `descriptor:inode`."""


CURRENT = b"!"


class Pulse:
    """The daemon's end of the pipe; it serves one run after the other."""

    def __init__(self) -> None:
        self._hears, self.descriptor = os.pipe()
        self._all_is_current = False
        os.set_blocking(self._hears, False)
        os.set_blocking(self.descriptor, False)

    @property
    def name(self) -> str:
        """Return what the run finds under `VARIABLE`."""
        return f"{self.descriptor}:{os.fstat(self.descriptor).st_ino}"

    def heard(self) -> bool:
        """Say whether a sign of life has come since this was last asked; never waits."""
        found = False
        with suppress(BlockingIOError):
            while said := os.read(self._hears, 65536):
                found = True
                self._all_is_current |= CURRENT in said
        return found

    def heard_that_all_is_current(self) -> bool:
        """Say whether a run has said so since this was last asked; never waits."""
        self.heard()
        said, self._all_is_current = self._all_is_current, False
        return said

    def close(self) -> None:
        """Listen no more."""
        os.close(self._hears)
        os.close(self.descriptor)


def beat() -> None:
    """Tell the daemon, if one started this process, that the work gets on; never waits, and never fails."""
    _say(b".")


def all_is_current() -> None:
    """Tell the daemon, if one started this process, that everything is current."""
    _say(CURRENT)


def _say(sign: bytes) -> None:
    if (descriptor := _own_end()) is not None:
        with suppress(OSError):  # a full pipe says it all already; a daemon that is gone needs no sign
            os.write(descriptor, sign)


def when_orphaned(call: Callable[[], None]) -> None:
    """Have `call` called from another thread as soon as the daemon is gone that started this process, if one did."""
    if (descriptor := _own_end()) is None:
        return
    ears = select.poll()
    ears.register(descriptor, 0)  # that nobody listens any more is told without being asked for

    def wait() -> None:
        ears.poll()
        call()

    threading.Thread(target=wait, name="orphan", daemon=True).start()


def _own_end() -> int | None:
    """Return this process's end of the pipe; None if no daemon has started it."""
    found = inherited(VARIABLE)
    return found if found is not None and stat.S_ISFIFO(os.fstat(found).st_mode) else None


def inherited(variable: str) -> int | None:
    """Return the open file that a variable names as `descriptor:inode`; None if this process was not given it."""
    number, _, inode = os.environ.get(variable, "").partition(":")
    if not (number.isascii() and number.isdigit()):
        return None
    try:
        found = os.fstat(int(number))
    except (OSError, OverflowError):
        return None
    # The number alone could be any file of a process that got the variable in another way.
    return int(number) if str(found.st_ino) == inode else None
