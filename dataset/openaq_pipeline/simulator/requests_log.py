"""What was asked of the simulator: a bounded list of requests with exact totals."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from datetime import datetime

import msgspec

KEPT = 20_000


class LoggedRequest(msgspec.Struct):
    """One request: virtual and monotonic time of arrival, what was asked, and the answer's status.

    `status` is None until an answer begins, and stays None for a request that never gets one. `key` is None
    when none was sent.
    """

    at: datetime
    monotonic_seconds: float
    method: str
    path: str
    query: str
    key: str | None
    status: int | None = None


class RequestsLog:
    """The last requests (a ring) and the exact counts of all; control calls are not in it."""

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=kept)
        self._lock = threading.Lock()
        self.total = 0
        self.by_status: Counter[int] = Counter()

    def arrived(self, at: datetime, method: str, path: str, query: str, key: str | None) -> LoggedRequest:
        """Note a request and return its entry, to be given to `answered` later."""
        entry = LoggedRequest(at, time.monotonic(), method, path, query, key)
        with self._lock:
            self._entries.append(entry)
            self.total += 1
        return entry

    def answered(self, entry: LoggedRequest, status: int) -> None:
        """Note the status of an answer that has begun."""
        with self._lock:
            entry.status = status
            self.by_status[status] += 1

    def entries(self) -> list[LoggedRequest]:
        """Return the kept requests, oldest first."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget all requests and start counting at zero."""
        with self._lock:
            self._entries.clear()
            self.total = 0
            self.by_status.clear()
