"""`pipeline.log`: one file for several processes, which rotates without losing or tearing a line.

The daemon and its children write to the same file. The standard library's rotating handler would lose lines there:
each process keeps its own file open and renames it under the others. Here every record is one write under an
`flock` on the file itself, and whoever would cross the limit rotates while holding that lock. Nothing stays open
between records, so a file that was moved or deleted by others is simply made anew (about 20 microseconds a record).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_BYTES = 10_000_000
BACKUPS = 5


class SharedLogFile(logging.Handler):
    """Appends records to a file; at `max_bytes` it becomes `.1`, that `.2`, up to `backups`, and the oldest goes.

    What goes wrong is told to `complain` in one sentence, once until a record could be written again: a log that
    can't be written stops nothing.
    """

    def __init__(
        self,
        path: Path,
        complain: Callable[[str], None],
        *,
        max_bytes: int = MAX_BYTES,
        backups: int = BACKUPS,
    ) -> None:
        super().__init__()
        self._path = Path(os.path.realpath(path))  # rotating must move the file and not a link to it
        self._complain = complain
        self._max_bytes = max_bytes
        self._backups = backups
        self._failing = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one line."""
        try:
            self.write(self.format(record).encode(errors="replace") + b"\n")
        except OSError as error:
            self._fail(error.strerror or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a record with wrong arguments must not end what it tells of
            self._fail(f"a record could not be written ({type(error).__name__})")
        else:
            self._failing = False

    def check(self) -> None:
        """Complain at once if the file can't be written, and not only when something is to be noted."""
        try:
            self.write(b"")
        except OSError as error:
            self._fail(error.strerror or type(error).__name__)

    def write(self, line: bytes) -> None:
        """Append a line, all of it or nothing; raises `OSError`."""
        with self._locked(len(line)) as descriptor:
            end = os.fstat(descriptor).st_size
            if os.write(descriptor, line) != len(line):  # the disk is full: half a line would spoil the next one too
                with suppress(OSError):
                    os.ftruncate(descriptor, end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _locked(self, more_bytes: int) -> Iterator[int]:
        """Give the file that has the name and room for so many bytes more, to this process alone."""
        while True:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if not self._is_current(descriptor):  # another process rotated while this one waited
                    continue
                size = os.fstat(descriptor).st_size
                if size and size + more_bytes > self._max_bytes:
                    self._rotate()
                    continue
                yield descriptor
                return
            finally:
                os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        """Move each file one number up; the name of the current one is free afterwards."""
        for number in range(self._backups - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _fail(self, reason: str) -> None:
        if not self._failing:
            self._failing = True
            self._complain(f"The log file {self._path} can't be written: {reason}. Everything else goes on.")
