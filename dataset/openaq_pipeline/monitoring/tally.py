"""What a run has done so far."""

from __future__ import annotations

import threading


class Tally:
    """What a run has done so far, for those who watch it; thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self.rows = self.asked = self.files_found = self.files_done = 0

    def add(self, *, rows: int = 0, asked: int = 0, files_found: int = 0, files_done: int = 0) -> None:
        """Count new rows, requests of the plan that are behind us, and files of the archive to be stored and stored."""
        with self._guard:
            self.rows += rows
            self.asked += asked
            self.files_found += files_found
            self.files_done += files_done
