"""The commit of a poll: recent rows, all of them and their neighbours in the location's file. Needs no pyarrow."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from openaq_pipeline.incremental.merge import Merged, merge
from openaq_pipeline.model import Change, Counts, Key, Measurement, Reject
from openaq_pipeline.ports import RowStore
from openaq_pipeline.quality.rules import Judge

BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Committed(msgspec.Struct, frozen=True):
    """What a commit did: rows by sensor and by what became of them, and to the location's file (None: nothing).

    `new` tells which of the rows were new, so that it can be learnt how late they came. It is empty where rows went
    across into the history: rows of months ago tell nothing of how far a poll has to look back.
    """

    counts: Mapping[int, Counts]
    change: Change | None
    new: frozenset[Key] = frozenset()


def commit_recent(location_id: int, rows: list[Measurement], *, files: RowStore, judge: Judge) -> Committed:
    """Store rows of one location, none of whose neighbours in time are in its history; wants the lock held."""
    first = min(row.datetime for row in rows)
    stored = files.tail(location_id, before(first, judge.reach))
    cut = bisect_left(stored, first, key=_stamp)  # no row in front of it can be one of those given
    merged = merge(stored[cut:], rows)
    after = _judged(stored[:cut] + merged.rows, merged, judge, before(first, judge.ahead))
    same = _alike(stored, after)
    change = replace(location_id, after[same].datetime, after[same:], files) if same < len(after) else None
    return Committed(_counts(merged, after[cut:], by_sensor(rows)), change, frozenset(merged.new))


def _alike(stored: list[Measurement], after: list[Measurement]) -> int:
    """Return how many rows at the beginning are as they were stored, up to one with a stamp of its own.

    A file is cut between two stamps; what lies in front of the cut is copied and not written anew.
    """
    same = next((n for n, (one, other) in enumerate(zip(stored, after, strict=False)) if one != other), len(stored))
    return bisect_left(after, after[same].datetime, key=_stamp) if same < len(after) else same


def _stamp(row: Measurement) -> datetime:
    return row.datetime


def replace(location_id: int, since: datetime, rows: list[Measurement], files: RowStore) -> Change:
    """Put rows in the place of all from `since` on in a location's file, and return what that did to it."""
    mark = files.mark(location_id)
    return Change(mark, files.replace_tail(location_id, since, rows), since)


def behind(moment: datetime, span: timedelta) -> datetime:
    """Return the time so much later, or the last there is."""
    return moment + span if END - moment > span else END


def before(moment: datetime, span: timedelta) -> datetime:
    """Return the time so long before, or the first there is: OpenAQ's stamps may lie in the year 1."""
    return moment - span if moment - BEGINNING > span else BEGINNING


def _judged(rows: list[Measurement], merged: Merged, judge: Judge, since: datetime) -> list[Measurement]:
    """Return the rows, those of changed sensors from `since` on with their issues as they are now."""
    changed = {key.sensors_id for keys in (merged.new, merged.revised) for key in keys}
    places = [place for place, row in enumerate(rows) if row.sensors_id in changed]
    for place, issues in zip(places, judge.issues([rows[place] for place in places]), strict=True):
        if issues != rows[place].issues and rows[place].datetime >= since:
            rows[place] = msgspec.structs.replace(rows[place], issues=issues)
    return rows


def _counts(merged: Merged, after: list[Measurement], sent: Counter[int]) -> dict[int, Counts]:
    """Return by sensor what became of the rows sent; one sent twice in one read is identical to itself.

    `after` are the judged rows of the span of those sent.
    """
    new, revised = by_sensor(merged.new), by_sensor(merged.revised)
    odd = {row.key for row in after if row.issues}
    clean = by_sensor(merged.read - odd)
    repeated = sent - by_sensor(merged.read)
    return {
        sensors_id: Counts(
            new=new[sensors_id],
            revised=revised[sensors_id],
            identical=count - new[sensors_id] - revised[sensors_id],
            clean=clean[sensors_id] + repeated[sensors_id],
        )
        for sensors_id, count in sent.items()
    }


def by_sensor(items: Iterable[Measurement | Reject | Key]) -> Counter[int]:
    """Return how many of the items belong to each sensor."""
    return Counter(item.sensors_id for item in items)
