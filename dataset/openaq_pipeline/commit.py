"""The commit of one location: merge what was read into what is stored, judge it, write it, count it.

Rejects first, then the location file; the state is the caller's, and last. A crash between any two leaves the state
behind the data, never ahead of them, and the next run heals it by reading the look-back again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from openaq_pipeline.incremental.merge import Merged, merge
from openaq_pipeline.model import Counts, FileMark, Key, Measurement, Reject
from openaq_pipeline.ports import RejectStore, RowStore
from openaq_pipeline.quality.rules import Judge

BEGINNING = datetime.min.replace(tzinfo=UTC)


class Committed(msgspec.Struct, frozen=True):
    """What a commit did: rows by sensor and by what became of them, and the file's mark (None: nothing to write)."""

    counts: Mapping[int, Counts]
    mark: FileMark | None


def commit(
    location_id: int,
    rows: list[Measurement],
    rejects: list[Reject],
    *,
    files: RowStore,
    rejected: RejectStore,
    judge: Judge,
) -> Committed:
    """Store rows of one location, of any of its sensors and in any order; wants the location's lock held.

    When it returns, all of it is durable. Raises `StorageError`, and then nothing of it counts as stored.
    """
    counts = {sensors_id: Counts(rejected=n) for sensors_id, n in _by_sensor(rejects).items()}
    if rejects:
        rejected.add(location_id, rejects)
    if not rows:
        return Committed(counts, None)
    first = min(row.datetime for row in rows)
    # Rows up to `context` in front of the first may look odd now, and judging them needs as much again.
    since = _before(first, 2 * judge.context)
    before = files.tail(location_id, since)
    merged = merge(before, rows)
    after = _judged(merged, judge, _before(first, judge.context))
    mark = files.replace_tail(location_id, since, after) if after != before else None
    for sensors_id, stored in _counts(merged, after, _by_sensor(rows)).items():
        counts[sensors_id] = counts.get(sensors_id, Counts()) + stored
    return Committed(counts, mark)


def _before(moment: datetime, span: timedelta) -> datetime:
    """Return the time so long before, or the first there is: OpenAQ's stamps may lie in the year 1."""
    return moment - span if moment - BEGINNING > span else BEGINNING


def _judged(merged: Merged, judge: Judge, since: datetime) -> list[Measurement]:
    """Return the merged rows, those of changed sensors from `since` on with their issues as they are now."""
    changed = {key.sensors_id for key in merged.new | merged.revised}
    rows = list(merged.rows)
    places = [place for place, row in enumerate(rows) if row.sensors_id in changed]
    for place, issues in zip(places, judge.issues([rows[place] for place in places]), strict=True):
        if issues != rows[place].issues and rows[place].datetime >= since:
            rows[place] = msgspec.structs.replace(rows[place], issues=issues)
    return rows


def _counts(merged: Merged, after: list[Measurement], sent: Counter[int]) -> dict[int, Counts]:
    """Return by sensor what became of the rows sent; one sent twice in one read is identical to itself."""
    new, revised = _by_sensor(merged.new), _by_sensor(merged.revised)
    issues = {row.key: row.issues for row in after}
    clean = Counter(key.sensors_id for key in merged.read if not issues[key])
    repeated = sent - _by_sensor(merged.read)
    return {
        sensors_id: Counts(
            new=new[sensors_id],
            revised=revised[sensors_id],
            identical=count - new[sensors_id] - revised[sensors_id],
            clean=clean[sensors_id] + repeated[sensors_id],
        )
        for sensors_id, count in sent.items()
    }


def _by_sensor(items: Iterable[Measurement | Reject | Key]) -> Counter[int]:
    """Return how many of the items belong to each sensor."""
    return Counter(item.sensors_id for item in items)
