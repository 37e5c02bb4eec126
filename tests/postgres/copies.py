"""A data folder and its copy in a database, and how the two compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, LiteralString

import msgspec
import psycopg

from openaq_pipeline.mirror import MirrorReport, sync_all
from openaq_pipeline.model import Measurement
from openaq_pipeline.settings import Settings

FIELDS = Measurement.__struct_fields__


class Copy:
    """The copy under test: `folder` is what it must equal."""

    def __init__(self, settings: Settings, connect: Callable[[], psycopg.Connection], name: str) -> None:
        self.settings = settings
        self.folder: Path = settings.data_dir
        self.name = name
        self._connect = connect

    def sync(self) -> MirrorReport:
        return sync_all(self.settings)

    def ask(self, query: LiteralString) -> list[tuple[Any, ...]]:
        with self._connect() as connection:
            return connection.execute(query).fetchall()

    def do(self, statement: LiteralString) -> None:
        with self._connect() as connection:
            connection.execute(statement)

    def rows(self) -> list[Measurement]:
        """Return what the database holds, by key."""
        found = self.ask("SELECT * FROM openaq.measurements ORDER BY sensors_id, datetime")
        return [msgspec.convert(dict(zip(FIELDS, row, strict=True)), Measurement) for row in found]

    def versions(self) -> list[tuple[Any, ...]]:
        """Return which transaction wrote each row: unchanged where nothing was written."""
        return self.ask("SELECT tableoid, ctid, xmin FROM openaq.measurements ORDER BY sensors_id, datetime")


def by_key(*groups: list[Measurement]) -> list[Measurement]:
    """Return rows as `Copy.rows` does."""
    return sorted((row for group in groups for row in group), key=lambda row: row.key)
