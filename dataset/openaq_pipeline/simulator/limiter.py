"""OpenAQ's rate limit as in its code: a count per key and calendar minute, told in four headers (4.3)."""

from __future__ import annotations

from typing import NamedTuple

MINUTE_US = 60_000_000
NO_LIMIT = 1_000_000


class Allowance(NamedTuple):
    """What the headers of an answer say; `reset_seconds` is the remaining life of the counter."""

    allowed: bool
    limit: int
    used: int
    reset_seconds: int

    def headers(self) -> dict[str, str]:
        """Return the `x-ratelimit-*` headers of a 200 or a 429."""
        return {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-used": str(self.used),
            "x-ratelimit-remaining": str(self.limit - self.used),
            "x-ratelimit-reset": str(self.reset_seconds),
        }


class Limiter:
    """Counts requests by key and minute; `per_minute` 0 means a limit nobody reaches."""

    def __init__(self, per_minute: int, by_key: dict[str, int] | None = None) -> None:
        self._per_minute = per_minute or NO_LIMIT
        self._by_key = by_key or {}
        self._counters: dict[tuple[str, int], tuple[int, int]] = {}

    def spend(self, key: str, now_us: int) -> Allowance:
        """Count a request and say whether it passes; a refused one is not counted."""
        limit = self._by_key.get(key, self._per_minute)
        minute = now_us // MINUTE_US
        used, begun_us = self._counters.get((key, minute), (0, now_us))
        if allowed := used < limit:
            used += 1
            self._forget_others(key, minute)
            self._counters[key, minute] = (used, begun_us)
        # The counter lives 60 s from its first request, not until the minute's end: the wait is overstated.
        reset = 60 - round((now_us - begun_us) / 1_000_000)
        return Allowance(allowed, limit, used, reset)

    def _forget_others(self, key: str, minute: int) -> None:
        for counter in [other for other in self._counters if other[0] == key and other[1] != minute]:
            del self._counters[counter]
