"""Rows just read against rows stored: one of each key, sorted, and every row knows what became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.incremental.merge import merge, same
from openaq_pipeline.model import Key, Measurement, file_order
from tests.measurements import measurement

START = datetime(2026, 3, 1, tzinfo=UTC)
THEN, NOW = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)


def row(value: float | None, hour: int, sensors_id: int = 71, *, seen: datetime = NOW, **changes: Any) -> Measurement:
    made = measurement(value, START + timedelta(hours=hour), first_seen=seen, sensors_id=sensors_id)
    return msgspec.structs.replace(made, **changes)


values = st.sampled_from([None, 0.0, 1.5, -999.0])


def lists(seen: datetime) -> st.SearchStrategy[list[Measurement]]:
    """Rows of a few sensors and hours, so that keys meet."""
    made = st.builds(
        lambda value, hour, sensor: row(value, hour, sensor, seen=seen), values, st.integers(0, 8), st.integers(71, 73)
    )
    return st.lists(made, max_size=25)


def stored_rows(seen: datetime) -> st.SearchStrategy[list[Measurement]]:
    """Rows as a file has them: sorted and unique."""
    return lists(seen).map(lambda rows: merge([], rows).rows)


@given(stored_rows(THEN), lists(NOW))
def test_the_outcome_is_sorted_and_unique_and_holds_every_key(
    stored: list[Measurement], incoming: list[Measurement]
) -> None:
    merged = merge(stored, incoming)
    keys = [one.key for one in merged.rows]
    assert merged.rows == sorted(merged.rows, key=file_order)
    assert len(keys) == len(set(keys))
    assert set(keys) == {one.key for one in [*stored, *incoming]}
    assert merged.read == {one.key for one in incoming}
    assert merged.new == merged.read - {one.key for one in stored}
    assert merged.revised <= merged.read - merged.new


@given(stored_rows(THEN), lists(NOW))
def test_every_row_is_the_last_one_read_or_the_stored_one(
    stored: list[Measurement], incoming: list[Measurement]
) -> None:
    known = {one.key: one for one in stored}
    last = {one.key: one for one in incoming}
    merged = merge(stored, incoming)
    for one in merged.rows:
        if one.key not in last:
            assert one is known[one.key]
        elif one.key not in known:
            assert one is last[one.key]
        elif known[one.key].value == last[one.key].value:
            assert one is known[one.key]
            assert one.key not in merged.revised
        else:
            assert one == msgspec.structs.replace(last[one.key], first_seen=THEN)
            assert one.key in merged.revised


@given(stored_rows(THEN), lists(NOW))
def test_merging_again_changes_nothing(stored: list[Measurement], incoming: list[Measurement]) -> None:
    once = merge(stored, incoming)
    again = merge(once.rows, incoming)
    assert again.rows == once.rows
    assert (again.new, again.revised) == (set(), set())


@given(stored_rows(THEN), stored_rows(NOW), st.integers(0, 25), st.randoms())
def test_rows_of_distinct_keys_may_come_in_any_order_and_in_any_batches(
    stored: list[Measurement], incoming: list[Measurement], cut: int, random: Any
) -> None:
    whole = merge(stored, incoming)
    shuffled = list(incoming)
    random.shuffle(shuffled)
    first = merge(stored, shuffled[:cut])
    second = merge(first.rows, shuffled[cut:])
    assert second.rows == whole.rows
    assert first.new | second.new == whole.new
    assert first.revised | second.revised == whole.revised


def test_an_identical_row_stays_as_it_is_stored_with_its_issues() -> None:
    stored = row(1.5, 1, seen=THEN, issues=("spike",))
    merged = merge([stored], [row(1.5, 1)])
    assert merged.rows[0] is stored
    assert (merged.new, merged.revised, merged.read) == (set(), set(), {stored.key})


def test_a_revised_row_keeps_when_it_was_first_seen() -> None:
    merged = merge([row(1.5, 1, seen=THEN)], [row(2.5, 1)])
    assert merged.rows == [row(2.5, 1, seen=THEN)]
    assert merged.revised == {Key(71, START + timedelta(hours=1))}


def test_of_two_rows_of_one_second_the_last_wins() -> None:
    merged = merge([], [row(1.0, 1), row(2.0, 1)])
    assert merged.rows == [row(2.0, 1)]


def test_a_value_that_became_null_is_a_revision_and_so_is_its_return() -> None:
    gone = merge([row(1.5, 1)], [row(None, 1)])
    assert [one.value for one in gone.rows] == [None]
    assert gone.revised
    back = merge(gone.rows, [row(1.5, 1)])
    assert [one.value for one in back.rows] == [1.5]
    assert back.revised


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 2.0},
        {"value": None},
        {"has_flags": True},
        {"units": "ppm"},
        {"parameter": "pm10"},
        {"parameters_id": 1},
        {"interval_seconds": 900},
        {"datetime_local": "elsewhere"},
        {"location_id": 8},
    ],
)
def test_what_openaq_tells_differently_is_a_revision(changes: dict[str, Any]) -> None:
    known, told = row(1.5, 1), msgspec.structs.replace(row(1.5, 1), **changes)
    assert not same(known, told)
    assert merge([known], [told]).revised


@pytest.mark.parametrize("changes", [{"issues": ("spike",)}, {"first_seen": THEN}])
def test_what_is_ours_makes_no_revision(changes: dict[str, Any]) -> None:
    known, told = row(1.5, 1), msgspec.structs.replace(row(1.5, 1), **changes)
    assert same(known, told)
    assert not merge([known], [told]).revised


UNTOLD: dict[str, Any] = {"parameters_id": None, "interval_seconds": None, "has_flags": None}


@pytest.mark.parametrize("name", UNTOLD)
def test_what_a_source_does_not_tell_contradicts_nothing_and_is_learnt_from_another(name: str) -> None:
    known, told = row(1.5, 1, seen=THEN, issues=("spike",)), row(1.5, 1)
    silent = msgspec.structs.replace(told, **{name: None})
    assert merge([known], [silent]).rows == [known]
    learnt = merge([msgspec.structs.replace(known, **{name: None})], [told])
    assert learnt.rows == [known]
    assert (learnt.new, learnt.revised) == (set(), set())


def test_a_revision_that_does_not_tell_a_fact_keeps_it() -> None:
    assert merge([row(1.5, 1)], [row(2.5, 1, **UNTOLD)]).rows == [row(2.5, 1)]


def test_the_archive_does_not_change_what_the_api_has_said() -> None:
    said = row(None, 1, seen=THEN)
    merged = merge([said], [row(1.5, 1, source="archive", **UNTOLD)])
    assert merged.rows == [said]
    assert (merged.new, merged.revised, merged.read) == (set(), set(), {said.key})


def test_the_api_takes_the_place_of_the_archive_and_only_another_value_is_a_revision() -> None:
    archived = row(1.5, 1, seen=THEN, source="archive", issues=("spike",), datetime_local="written otherwise", **UNTOLD)
    same_value = merge([archived], [row(1.5, 1)])
    assert same_value.rows == [row(1.5, 1, seen=THEN, issues=("spike",))]
    assert not same_value.revised
    assert merge([archived], [row(2.5, 1)]).revised


def test_a_file_of_the_archive_that_was_written_anew_revises_its_rows() -> None:
    archived = row(1.5, 1, seen=THEN, source="archive", **UNTOLD)
    assert merge([archived], [row(2.5, 1, source="archive", **UNTOLD)]).revised


def test_a_moment_is_one_key_in_every_zone() -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    stored = row(1.5, 1)
    merged = merge([stored], [row(1.5, 1, datetime=stored.datetime.astimezone(kathmandu))])
    assert merged.rows == [stored]
    assert not merged.new


def test_nothing_and_nothing_is_nothing() -> None:
    assert merge([], []).rows == []
