"""What is told to whoever looks at a page, without the paths of folders: they are nobody's business."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from openaq_pipeline.monitoring.alerts import Book, OpenCondition, Outgoing, PastCondition
from openaq_pipeline.monitoring.metrics import LocationMetrics, RunMetrics
from openaq_pipeline.overview import Overview
from openaq_pipeline.reports import LocationHealth

E = TypeVar("E", LocationHealth, LocationMetrics, RunMetrics)
C = TypeVar("C", OpenCondition, PastCondition)


class Discretion:
    """Takes some folders out of texts: a file in them goes by its name alone. Only `told` is for many threads."""

    def __init__(self, folders: Iterable[Path]) -> None:
        # A relative one is a word such as `data`, and the root is every slash.
        absolute = {str(folder) for folder in folders if folder.is_absolute() and folder != Path("/")}
        self._folders = sorted(absolute, key=len, reverse=True)
        self._runs: list[tuple[RunMetrics, RunMetrics]] = []

    def told(self, text: str) -> str:
        """Return a text without the folders."""
        for folder in self._folders:
            if folder in text:
                text = text.replace(f"{folder}/", "").replace(folder, "").replace("  ", " ")
        return text

    def overview(self, found: Overview, more_warnings: Iterable[str]) -> Overview:
        """Return an overview without them, with more warnings."""
        places = tuple(map(self._error, found.health.locations))
        # A run of 10,000 locations stays the same from look to look; while it is held here its id is its own.
        known = {id(run): told for run, told in self._runs}
        self._runs = [(run, known.get(id(run)) or self._run(run)) for run in found.runs]
        return replace(
            found,
            health=replace(found.health, locations=places),
            runs=tuple(told for _, told in self._runs),
            warnings=tuple(map(self.told, (*found.warnings, *more_warnings))),
        )

    def book(self, book: Book) -> Book:
        """Return the book of alerts without them."""
        return replace(
            book,
            open={key: self._condition(each) for key, each in book.open.items()},
            past=tuple(map(self._condition, book.past)),
            outbox=tuple(map(self._notice, book.outbox)),
            undelivered=tuple(map(self._notice, book.undelivered)),
        )

    def _run(self, run: RunMetrics) -> RunMetrics:
        return replace(self._error(run), locations=tuple(map(self._error, run.locations)))

    def _error(self, found: E) -> E:
        told = self.told(found.error) if found.error else found.error
        return found if told == found.error else replace(found, error=told)

    def _condition(self, found: C) -> C:
        told = self.told(found.condition.message)
        return (
            found
            if told == found.condition.message
            else replace(found, condition=replace(found.condition, message=told))
        )

    def _notice(self, found: Outgoing) -> Outgoing:
        return replace(found, last_error=self.told(found.last_error)) if found.last_error else found
