"""In-memory twins of the stores: what is put into them survives a "crash", which is a hook that raises.

Every operation calls `before` with its name (`rows.replace_tail`, `rejects.add`, `state.put`, ...) first; every write
calls `after` with its name once it is done. A hook that raises in `before` is a crash with nothing written, one that
raises in `after` a crash with everything written but nothing returned; in between there is nothing, as a store
writes all at once. A restart is a new ingest on the same twins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from itertools import pairwise

import pyarrow as pa

from openaq_pipeline.columns import HISTORY, to_rows, to_table
from openaq_pipeline.model import FileMark, License, Location, LocationState, Measurement, Reject, Stored, file_order

Hook = Callable[[str], None]


def _nothing(_operation: str) -> None:
    """Let an operation pass."""


class MemoryRows:
    """A `RowStore` of lists. `rows` is what is stored, by location; one that was never written is not in it.

    `sealed` is from where on rows count there; the others are in `older`.
    """

    def __init__(self, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self.before, self.after = before, after
        self.rows: dict[int, list[Measurement]] = {}
        self.sealed: dict[int, datetime] = {}
        self.older = MemoryHistory(before, after)
        self._versions: dict[int, int] = {}
        self._disclaimed: set[int] = set()

    def lock(self, location_id: int) -> AbstractContextManager[None]:  # noqa: ARG002 - RowStore has it
        """Hold nothing: the twins live in one thread."""
        self.before("rows.lock")
        return nullcontext()

    def mark(self, location_id: int) -> FileMark | None:
        """Return the count of rows and the number of the version; None: never written."""
        self.before("rows.mark")
        return self._mark(location_id)

    def inspect(self, location_id: int, mark: FileMark | None, now: datetime) -> Stored:  # noqa: ARG002 - RowStore has it
        """Return the latest stamp of each sensor, unless the store is as `mark` remembers it."""
        self.before("rows.inspect")
        if location_id in self.rows and self._mark(location_id) == mark:
            self._disclaimed.discard(location_id)
            return Stored(None)
        if location_id in self._disclaimed:
            return Stored({})
        return Stored({row.sensors_id: row.datetime for row in self.all(location_id)})

    def all(self, location_id: int) -> list[Measurement]:
        """Return every row that counts, in file order."""
        sealed_to = self.sealed.get(location_id)
        older = [row for row in self.older.rows(location_id) if sealed_to is not None and row.datetime < sealed_to]
        return sorted(older, key=file_order) + self._counting(location_id)

    def history(self) -> MemoryHistory:
        """Return the twin of the history."""
        return self.older

    def sealed_to(self, location_id: int) -> datetime | None:
        """Return from where on rows count here; None: all do."""
        return self.sealed.get(location_id)

    def seal(self, location_id: int, to: datetime) -> FileMark:
        """Let rows before `to` count in the history, and then drop them here."""
        self.before("rows.seal")
        self.sealed[location_id] = to
        self.after("rows.seal")
        return self.replace_tail(location_id, to, self.tail(location_id, to))

    def oldest(self, location_id: int) -> datetime | None:
        """Return the stamp of the first row, whether it counts or not."""
        self.before("rows.oldest")
        return min((row.datetime for row in self.rows.get(location_id, [])), default=None)

    def _counting(self, location_id: int) -> list[Measurement]:
        sealed_to = self.sealed.get(location_id)
        return [row for row in self.rows.get(location_id, []) if sealed_to is None or row.datetime >= sealed_to]

    def disclaim(self, location_id: int) -> None:
        """Let `inspect` say that nothing is stored, until it is given the mark of what is."""
        self.before("rows.disclaim")
        self._disclaimed.add(location_id)
        self.after("rows.disclaim")

    def tail(self, location_id: int, since: datetime, until: datetime | None = None) -> list[Measurement]:
        """Return the rows that count here from `since` on."""
        self.before("rows.tail")
        rows = (row for row in self._counting(location_id) if row.datetime >= since)
        return [row for row in rows if until is None or row.datetime < until]

    def replace_tail(self, location_id: int, since: datetime, rows: Sequence[Measurement]) -> FileMark:
        """Put `rows` in the place of all from `since` on."""
        self.before("rows.replace_tail")
        kept = [row for row in self._counting(location_id) if row.datetime < since]
        self.put_back(location_id, [*kept, *rows])
        self.after("rows.replace_tail")
        mark = self._mark(location_id)
        assert mark is not None
        return mark

    def put_back(self, location_id: int, rows: Sequence[Measurement]) -> None:
        """Make these the stored rows, as another program would (a backup put back); the version changes."""
        order = [file_order(row) for row in rows]
        assert all(one < other for one, other in pairwise(order)), "not sorted or not unique"
        self.rows[location_id] = list(rows)
        self._versions[location_id] = self._versions.get(location_id, 0) + 1

    def _mark(self, location_id: int) -> FileMark | None:
        if location_id not in self.rows:
            return None
        return FileMark(len(self.rows[location_id]), self._versions[location_id])


class MemoryHistory:
    """A `HistoryStore` of tables by location and year."""

    def __init__(self, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self.before, self.after = before, after
        self.tables: dict[tuple[int, int], pa.Table] = {}

    def year(self, location_id: int, year: int) -> pa.Table:
        """Return a year."""
        self.before("history.year")
        return self.tables.get((location_id, year), HISTORY.empty_table())

    def read(self, location_id: int, start: datetime, end: datetime) -> pa.Table:
        """Return the rows with start <= stamp < end."""
        self.before("history.read")
        return to_table([row for row in self.rows(location_id) if start <= row.datetime < end])

    def latest(self, location_id: int, before: datetime) -> dict[int, datetime]:
        """Return the latest stamp before a moment of each sensor."""
        rows = sorted(self.rows(location_id), key=file_order)
        return {row.sensors_id: row.datetime for row in rows if row.datetime < before}

    def write(self, location_id: int, year: int, table: pa.Table, licenses: Iterable[License] | None) -> None:
        """Replace a year."""
        del licenses
        self.before("history.write")
        self.tables[location_id, year] = table
        self.after("history.write")

    def rows(self, location_id: int) -> list[Measurement]:
        """Return all rows, by year."""
        found = sorted((year, table) for (owner, year), table in self.tables.items() if owner == location_id)
        return [row for _, table in found for row in to_rows(location_id, table)]


class MemoryRejects:
    """A `RejectStore` of lists. `rejects` is what is stored, by location."""

    def __init__(self, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self.before, self.after = before, after
        self.rejects: dict[int, list[Reject]] = {}

    def add(self, location_id: int, rejects: Iterable[Reject]) -> None:
        """Keep what is not there yet; when it was seen does not make it another."""
        self.before("rejects.add")
        kept = self.rejects.setdefault(location_id, [])
        known = {(reject.sensors_id, reject.reason, reject.row) for reject in kept}
        for reject in rejects:
            identity = (reject.sensors_id, reject.reason, reject.row)
            if identity not in known:
                known.add(identity)
                kept.append(reject)
        self.after("rejects.add")


class MemoryState:
    """A `StateStore` of a dict. `states` is what is stored; what is put is durable at once."""

    def __init__(self, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self.before, self.after = before, after
        self.states: dict[int, LocationState] = {}

    def get(self, location_id: int) -> LocationState:
        """Return what is remembered; an empty state for an unknown location."""
        self.before("state.get")
        return self.states.get(location_id, LocationState())

    def put(self, location_id: int, state: LocationState) -> None:
        """Remember it for good."""
        self.before("state.put")
        self.states[location_id] = state
        self.after("state.put")


class MemoryMetadata:
    """A `MetadataStore` of a dict. `locations` is what is stored."""

    def __init__(self, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self.before, self.after = before, after
        self.locations: dict[int, Location] = {}

    def get(self, location_id: int) -> Location | None:
        """Return what is known of a location."""
        self.before("metadata.get")
        return self.locations.get(location_id)

    def is_fresh(self, location_id: int, now: datetime) -> bool:
        """Say whether it was asked for within the last day; a time to come is not fresh."""
        self.before("metadata.is_fresh")
        known = self.locations.get(location_id)
        return known is not None and timedelta(0) <= now - known.fetched < timedelta(hours=24)

    def put(self, location: Location) -> None:
        """Remember it for good."""
        self.before("metadata.put")
        self.locations[location.id] = location
        self.after("metadata.put")
