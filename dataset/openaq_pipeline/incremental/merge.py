"""What is new: rows just read against rows stored, by (sensors_id, datetime)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from openaq_pipeline.model import Key, Measurement, file_order


class Merged(msgspec.Struct, frozen=True):
    """The outcome of a merge: all `rows` in file order, and the keys that were read, by what became of them."""

    rows: list[Measurement]
    new: set[Key]
    revised: set[Key]
    read: set[Key]


FACTS = ("parameters_id", "interval_seconds", "has_flags")
"""What a source may not tell; None there says nothing. A `value` of None does: OpenAQ has rows without a value."""


def merge(stored: Iterable[Measurement], incoming: Iterable[Measurement]) -> Merged:
    """Return stored and incoming rows as one, unique by key and sorted by (datetime, sensors_id).

    Of rows with one key in `incoming` the last wins: stamps are printed without their fraction, so two rows of one
    second look alike (OPENAQ section 3.3). A revised row keeps the `first_seen` of the stored one; an identical one
    stays as it is stored, but for facts that were not known of it. `issues`, `source` and `first_seen` make no
    revision: they are ours. What the API has said of a row, the archive does not change: its files are days older. A
    `latest` row, which tells the least, only ever adds.
    """
    before = {row.key: row for row in stored}
    fresh = {row.key: row for row in incoming}
    rows = before | fresh
    revised: set[Key] = set()
    for key in before.keys() & fresh.keys():
        known, row = before[key], fresh[key]
        if not may_change(known, row):
            rows[key] = known
        elif not same(known, row):
            revised.add(key)
            rows[key] = _with_known(known, row)
        elif _tells_more(known, row):
            rows[key] = msgspec.structs.replace(_with_known(known, row), issues=known.issues)
        else:
            rows[key] = known
    return Merged(sorted(rows.values(), key=file_order), set(fresh).difference(before), revised, set(fresh))


def may_change(known: Measurement, row: Measurement) -> bool:
    """Say whether a row may change a known one of the same key, by where both come from."""
    return row.source == "api" or row.source == "archive" == known.source


def same(one: Measurement, other: Measurement) -> bool:
    """Say whether two rows of one key tell the same, as far as both tell it; two sources may write local time apart."""
    return (
        one.value == other.value
        and one.units == other.units
        and one.parameter == other.parameter
        and one.location_id == other.location_id
        and (one.datetime_local == other.datetime_local or one.source != other.source)
        and _agree(one.has_flags, other.has_flags)
        and _agree(one.interval_seconds, other.interval_seconds)
        and _agree(one.parameters_id, other.parameters_id)
    )


def _agree(one: int | None, other: int | None) -> bool:
    """Say whether two facts do not contradict each other: what is not told contradicts nothing."""
    return one == other or one is None or other is None


def _tells_more(known: Measurement, row: Measurement) -> bool:
    """Say whether a row that tells the same has facts that were not known, or is the API's own at last."""
    if known.source != row.source:
        return True
    return any(getattr(known, name) is None and getattr(row, name) is not None for name in FACTS)


def _with_known(known: Measurement, row: Measurement) -> Measurement:
    """Return a row that takes the place of a known one, with what that one knew beyond it."""
    kept = {name: getattr(known, name) for name in FACTS if getattr(row, name) is None}
    return msgspec.structs.replace(row, first_seen=known.first_seen, **kept)
