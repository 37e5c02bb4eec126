"""Moving whole months from a location's file into its history, in the order that a crash at any point survives.

1. The rows are written into the history, where they do not count yet.
2. The seal is replaced: from now on they count there, and not in the file any more.
3. The file is written without them.

See docs/decisions/0013-history-layout.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from openaq_pipeline.model import Change, License, Measurement
from openaq_pipeline.ports import RowStore

NEVER = datetime.max.replace(tzinfo=UTC)
"""From when on the rows of a file may be different after a move: those that stay are as they were."""


def seal(location_id: int, to: datetime, *, files: RowStore, licenses: Iterable[License] | None) -> Change | None:
    """Move the rows from before `to`, the start of a month, into the history; wants the location's lock held.

    Returns what that did to the location's file; None: there was nothing to move, and no history is begun for it.
    """
    oldest = files.oldest(location_id)
    if oldest is None or oldest >= to:
        return None
    return open_history(location_id, to, files=files, licenses=licenses)


def open_history(
    location_id: int, to: datetime, *, files: RowStore, licenses: Iterable[License] | None
) -> Change | None:
    """Let the history reach to `to` at least, also where no row is older yet; wants the location's lock held.

    Returns what that did to the location's file, which is made if there was none; None: it reached that far already.
    """
    sealed_to = files.sealed_to(location_id)
    oldest = files.oldest(location_id)
    before = files.mark(location_id)
    if before is not None and sealed_to is not None and sealed_to >= to and (oldest is None or oldest >= sealed_to):
        return None
    if before is None:
        # No poll has stored a row here: its first load is still to come, whatever the history will hold by then.
        files.disclaim(location_id)
    end = to if sealed_to is None else max(to, sealed_to)
    for rows in _months(
        location_id, oldest if sealed_to is None or oldest is None else max(oldest, sealed_to), end, files
    ):
        _archive(location_id, rows, files, licenses)
    return Change(before, files.seal(location_id, end), NEVER)


def _months(location_id: int, start: datetime | None, end: datetime, files: RowStore) -> Iterator[list[Measurement]]:
    """Yield the rows from start to end, those of a month at a time, so that memory does not grow with the file."""
    while start is not None and start < end:
        rows = files.tail(location_id, start, _next_month(start))
        if rows:
            yield rows
        start = _next_month(start)


def _next_month(moment: datetime) -> datetime:
    return (moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


def _archive(location_id: int, rows: list[Measurement], files: RowStore, licenses: Iterable[License] | None) -> None:
    """Write rows of one month into the history; what an interrupted move wrote there before gives way."""
    from openaq_pipeline.columns import to_table  # noqa: PLC0415 - loaded once a month, where rows really move
    from openaq_pipeline.incremental.columns import overlay  # noqa: PLC0415

    history, year = files.history(), rows[0].datetime.year
    table = overlay(history.year(location_id, year), to_table(sorted(rows, key=lambda row: row.key)))
    history.write(location_id, year, table, licenses)
