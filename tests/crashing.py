"""A process that is gone in front of a write, or behind it: what is on disk then is what the next start finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO

import pytest

from openaq_pipeline import files


class Crash(BaseException):
    """The process is gone."""


class Crashing:
    """`files.replacing` of some modules, that crashes in front of the write whose number is `countdown`.

    `behind`: a write counts a second time when it is done. None: nothing crashes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, modules: Iterable[ModuleType], *, behind: bool = False) -> None:
        self.countdown: int | None = None
        self._behind = behind
        for module in modules:
            monkeypatch.setattr(module, "replacing", self.replacing)

    def tick(self) -> None:
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown < 0:
                raise Crash

    @contextmanager
    def replacing(self, path: Path) -> Iterator[IO[bytes]]:
        self.tick()
        with files.replacing(path) as file:
            yield file
        if self._behind:
            self.tick()

    def counted(self, function: Callable[..., object]) -> Callable[..., object]:
        """Return a function that counts as a write too."""

        def call(*arguments: object) -> object:
            self.tick()
            return function(*arguments)

        return call
