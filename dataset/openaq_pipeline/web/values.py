"""The last value of a parameter at every location, for the map: looked up meanwhile, because there may be thousands."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from openaq_pipeline.reading.latest import Newest, newest

FRESH_SECONDS = 30.0
"""So long values are good; hourly ones are told a few minutes late all the same."""

SHARE = 5
"""Looking values up takes at most one part in so many of a processor."""

PATIENCE_SECONDS = 0.1
"""So long the first who asks waits for them: those of some hundred locations are there by then."""

KEPT_PARAMETERS = 8


class Values(NamedTuple):
    """The values that are known, by location; of `pending` locations it is not known yet whether there is one.

    As long as there is nothing new `found` is the same object.
    """

    found: dict[int, Newest]
    pending: int


class _Pass:
    """One look at all locations."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = ids
        self.found: dict[int, Newest] = {}
        self.looked_at = 0
        self.done = threading.Event()
        self.began, self.took = time.monotonic(), 0.0

    def run(self, folder: Path, parameter: str, now: datetime) -> None:
        """Look at one after the other."""
        try:
            for location_id in self.ids:
                # To publish a new version would copy it a thousand times; who reads meanwhile copies it himself.
                self.found.update(newest(folder, (location_id,), parameter, now))
                self.looked_at += 1
        finally:
            self.took = time.monotonic() - self.began
            self.done.set()

    @property
    def values(self) -> Values:
        """Return what is known so far."""
        if self.done.is_set():
            return Values(self.found, 0)
        return Values(self.found.copy(), len(self.ids) - self.looked_at)

    @property
    def is_due(self) -> bool:
        """Say whether another one should follow."""
        age = time.monotonic() - self.began
        return self.done.is_set() and age > max(FRESH_SECONDS, SHARE * self.took)


class LastValues:
    """The last values of a folder's locations; thread-safe. `now` gives the time."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder, self._now = folder, now
        self._guard = threading.Lock()
        self._current: OrderedDict[str, _Pass] = OrderedDict()
        self._next: dict[str, _Pass] = {}

    def of(self, parameter: str, ids: Sequence[int]) -> Values:
        """Return the values of a parameter that are known by now; what was found before stands until all is new."""
        with self._guard:
            current = self._taken_over(parameter)
            if current is None or (current.is_due and parameter not in self._next):
                begun = self._begun(parameter, ids)
                if current is None:
                    current = self._current[parameter] = begun
                else:
                    self._next[parameter] = begun
            self._current.move_to_end(parameter)
            while len(self._current) > KEPT_PARAMETERS:
                self._next.pop(self._current.popitem(last=False)[0], None)
        if time.monotonic() - current.began < PATIENCE_SECONDS:  # later ones take what is there
            current.done.wait(PATIENCE_SECONDS)
        return current.values

    def _taken_over(self, parameter: str) -> _Pass | None:
        """Return the newest look that is through, or the first one; None: there was none yet."""
        following = self._next.get(parameter)
        if following is not None and following.done.is_set():
            self._current[parameter] = self._next.pop(parameter)
        return self._current.get(parameter)

    def _begun(self, parameter: str, ids: Sequence[int]) -> _Pass:
        made = _Pass(ids)
        now = self._now()
        threading.Thread(target=made.run, args=(self._folder, parameter, now), name="values", daemon=True).start()
        return made
