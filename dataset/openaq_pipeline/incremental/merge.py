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


def merge(stored: Iterable[Measurement], incoming: Iterable[Measurement]) -> Merged:
    """Return stored and incoming rows as one, unique by key and sorted by (datetime, sensors_id).

    Of rows with one key in `incoming` the last wins: stamps are printed without their fraction, so two rows of one
    second look alike (OPENAQ section 3.3). A revised row keeps the `first_seen` of the stored one; an identical one
    stays as it is stored. `issues`, `source` and `first_seen` make no revision: they are ours.
    """
    rows = {row.key: row for row in stored}
    fresh = {row.key: row for row in incoming}
    new: set[Key] = set()
    revised: set[Key] = set()
    for key, row in fresh.items():
        known = rows.get(key)
        if known is None:
            new.add(key)
            rows[key] = row
        elif not same(known, row):
            revised.add(key)
            rows[key] = msgspec.structs.replace(row, first_seen=known.first_seen)
    return Merged(sorted(rows.values(), key=file_order), new, revised, set(fresh))


def same(one: Measurement, other: Measurement) -> bool:
    """Say whether two rows of one key tell the same."""
    return (
        one.value == other.value
        and one.has_flags == other.has_flags
        and one.units == other.units
        and one.parameters_id == other.parameters_id
        and one.parameter == other.parameter
        and one.interval_seconds == other.interval_seconds
        and one.datetime_local == other.datetime_local
        and one.location_id == other.location_id
    )
