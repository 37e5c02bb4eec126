"""Which requests go wrong, how, and how often: the faults that tests and demos inject."""

from __future__ import annotations

import re
import threading
from typing import Literal

import msgspec

Kind = Literal[
    "status",
    "hang",
    "drip",
    "truncate",
    "reset",
    "html200",
    "bad_json",
    "huge",
    "gzip_bomb",
    "deep",
    "redirect",
    "nan",
    "delay",
]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes wrong with requests whose `path?query` matches the regular expression `match` somewhere.

    `count` is how many requests it strikes (None: all), `every` that it strikes each n-th matching one.
    `seconds` is the wait of `delay`, the pause between bytes of `drip`, or the longest `hang` (None: 1, 1, an
    hour). `reset` is the `x-ratelimit-reset` of a 429 (None: no rate headers at all). `body` replaces the
    official body of `status`; `url` is where `redirect` leads; `size_bytes` is what `huge` and `gzip_bomb` grow
    to, and the depth of `deep` (None: 100 MB, 100,000 levels).
    """

    kind: Kind
    match: str = ""
    count: int | None = None
    every: int = 1
    status: int = 500
    reset: int | None = None
    seconds: float | None = None
    body: str | None = None
    url: str = ""
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.match)
        except re.error as error:
            raise ValueError(f"match is no regular expression: {error}") from error
        if self.every < 1:
            raise ValueError("every must be at least 1")


class _Armed:
    """A fault with the number of requests it matched and struck."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.pattern = re.compile(fault.match)
        self.matched = 0
        self.struck = 0

    def strikes(self, target: str) -> bool:
        if self.fault.count is not None and self.struck >= self.fault.count:
            return False
        if not self.pattern.search(target):
            return False
        self.matched += 1
        if self.matched % self.fault.every:
            return False
        self.struck += 1
        return True


class Faults:
    """The armed faults; the first that strikes a request decides what becomes of it."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        # Re-entrant: a signal may clear the faults while this very thread looks at them.
        self._lock = threading.RLock()

    def add(self, fault: Fault) -> None:
        """Arm a fault, after those already armed."""
        with self._lock:
            self._armed.append(_Armed(fault))

    def inject(self, kind: Kind, match: str = "", **fields: object) -> None:
        """Arm a fault given by its kind and the fields of `Fault`."""
        self.add(msgspec.convert({"kind": kind, "match": match, **fields}, Fault))

    def clear(self) -> None:
        """Disarm all."""
        with self._lock:
            self._armed.clear()

    def pick(self, target: str) -> Fault | None:
        """Return the fault that strikes a request for `path?query`, None if it is to go well."""
        if not self._armed:
            return None
        with self._lock:
            return next((armed.fault for armed in self._armed if armed.strikes(target)), None)

    def holds(self, fault: Fault) -> bool:
        """Return whether this very fault is still armed: clearing ends what hangs or drips."""
        with self._lock:
            return any(armed.fault is fault for armed in self._armed)

    def struck(self) -> list[dict[str, object]]:
        """Return each armed fault with the number of requests it struck."""
        with self._lock:
            return [{"fault": msgspec.to_builtins(armed.fault), "struck": armed.struck} for armed in self._armed]
