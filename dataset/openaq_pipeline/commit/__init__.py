"""The commit of one location: merge what was read into what is stored, judge it, write it, count it.

The one place where data are written: rejects first, then the history, then the location file; the state is the
caller's, and last. A crash between any two leaves the state behind the data, never ahead of them, and the next run
heals it by reading the look-back again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from openaq_pipeline.commit.recent import Committed, before, by_sensor, commit_recent
from openaq_pipeline.model import Counts, License, Measurement, Reject
from openaq_pipeline.ports import RejectStore, RowStore
from openaq_pipeline.quality.rules import Judge

__all__ = ["Committed", "commit"]


def commit(
    location_id: int,
    rows: list[Measurement],
    rejects: list[Reject],
    *,
    files: RowStore,
    rejected: RejectStore,
    judge: Judge,
    licenses: Iterable[License] | None = None,
) -> Committed:
    """Store rows of one location, of any of its sensors and in any order; wants the location's lock held.

    When it returns, all of it is durable. Raises `StorageError`, and then nothing of it counts as stored. `licenses`
    are noted in the history files that are written; None: those noted there stay.
    """
    if rejects:
        rejected.add(location_id, rejects)
    stored = _store(location_id, rows, files, judge, licenses) if rows else Committed({}, None)
    counts = {sensors_id: Counts(rejected=n) for sensors_id, n in by_sensor(rejects).items()}
    for sensors_id, found in stored.counts.items():
        counts[sensors_id] = counts.get(sensors_id, Counts()) + found
    return msgspec.structs.replace(stored, counts=counts)


def _store(
    location_id: int, rows: list[Measurement], files: RowStore, judge: Judge, licenses: Iterable[License] | None
) -> Committed:
    """Store rows where they belong: those that reach, with their neighbours in time, into the history take its way."""
    sealed_to = files.sealed_to(location_id)
    if sealed_to is None or before(min(row.datetime for row in rows), judge.reach) >= sealed_to:
        return commit_recent(location_id, rows, files=files, judge=judge)
    from openaq_pipeline.columns import to_table  # noqa: PLC0415 - a plain poll needs no pyarrow
    from openaq_pipeline.commit.across import commit_across  # noqa: PLC0415

    return commit_across(location_id, to_table(rows), files=files, judge=judge, licenses=licenses)
