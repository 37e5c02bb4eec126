"""A commit in whatever portions: the same rows, the same issues, and counts that add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from openaq_pipeline.commit import Committed, commit
from openaq_pipeline.model import Counts, Key, Measurement
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import SeriesTests, ValidationSettings
from tests.measurements import measurement
from tests.memory import MemoryRejects, MemoryRows

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
SEEN = BEGINNING + timedelta(days=2)
JUDGE = Judge(ValidationSettings(series_tests=SeriesTests(neighbour_hours=2, flat_line_hours={"pm25": 3})))


def row(hour: int, value: float | None) -> Measurement:
    return measurement(value, BEGINNING + timedelta(hours=hour), first_seen=SEEN)


def store(files: MemoryRows, rows: list[Measurement]) -> Committed:
    return commit(7, rows, [], files=files, rejected=MemoryRejects(), judge=JUDGE)


@given(
    values=st.lists(st.sampled_from([1.0, 1.0, 1.0, 1.0, 2.0, 900.0, None]), min_size=1, max_size=40),
    portions=st.lists(st.integers(0, 40), max_size=6),
    data=st.data(),
)
def test_issues_do_not_depend_on_the_portions_in_which_rows_came(
    values: list[float | None], portions: list[int], data: st.DataObject
) -> None:
    rows = data.draw(st.permutations([row(hour, value) for hour, value in enumerate(values)]))
    files = MemoryRows()
    cuts = sorted({0, *(cut for cut in portions if cut < len(rows)), len(rows)})
    for start, end in pairwise(cuts):
        store(files, rows[start:end])
    stored = files.rows[7]
    assert [found.value for found in stored] == values
    assert [found.issues for found in stored] == JUDGE.issues(stored)


def test_a_line_stays_flat_when_it_grows_by_one_row() -> None:
    files = MemoryRows()
    for hour in range(30):
        store(files, [row(hour, 1.0)])
    assert [found.issues for found in files.rows[7]] == [()] * 3 + [("flat_line",)] * 27


def test_a_line_of_wide_steps_stays_flat_when_it_grows() -> None:
    files = MemoryRows()
    for hour in range(0, 30, 2):
        store(files, [row(hour, 1.0)])
    assert [found.issues for found in files.rows[7]] == [()] * 2 + [("flat_line",)] * 13


def test_counts_tell_new_revised_and_identical_apart_and_add_up() -> None:
    files = MemoryRows()
    assert store(files, [row(1, 1.0), row(2, 2.0)]).counts == {71: Counts(new=2, clean=2)}
    counts = store(files, [row(1, 1.0), row(2, 2.5), row(3, None), row(3, None)]).counts
    assert counts == {71: Counts(new=1, revised=1, identical=2, clean=3)}
    assert counts[71].fetched == 4


def test_it_tells_which_rows_were_new() -> None:
    files = MemoryRows()
    assert store(files, [row(1, 1.0), row(3, 3.0)]).new == {row(1, 1.0).key, row(3, 3.0).key}
    found = store(files, [row(1, 1.0), row(2, 2.0), row(2, 2.0), row(3, 3.5)])
    assert found.new == {row(2, 2.0).key}
    assert store(files, []).new == frozenset()


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=6))
def test_each_row_is_new_once_and_as_many_as_are_counted(portions: list[list[int]]) -> None:
    files, seen = MemoryRows(), set[Key]()
    for hours in portions:
        rows = [row(hour, 1.0) for hour in hours]
        found = store(files, rows)
        assert found.new == {each.key for each in rows} - seen
        assert len(found.new) == sum(counts.new for counts in found.counts.values())
        seen |= found.new


def test_a_row_that_came_before_keeps_when_it_was_first_seen() -> None:
    files = MemoryRows()
    store(files, [row(1, 1.0)])
    later = measurement(3.0, BEGINNING + timedelta(hours=1), first_seen=SEEN + timedelta(days=9))
    store(files, [later])
    assert files.rows[7][0].value == 3.0
    assert files.rows[7][0].first_seen == SEEN


def test_nothing_is_written_when_nothing_changed() -> None:
    files = MemoryRows()
    store(files, [row(1, 1.0)])
    before = files.mark(7)
    assert store(files, [row(1, 1.0)]).change is None
    assert files.mark(7) == before


def test_only_what_changed_and_what_lies_behind_it_is_written_anew() -> None:
    files = MemoryRows()
    store(files, [row(hour, float(hour)) for hour in range(30)])
    appended = store(files, [row(29, 29.0), row(30, 30.0)])
    assert appended.change is not None
    assert appended.change.since == row(30, 30.0).datetime
    store(files, [row(31, 900.0)])
    odd = store(files, [row(32, 32.0)])  # now that it has a neighbour on either side, hour 31 is a spike
    assert odd.change is not None
    assert odd.change.since == row(31, 900.0).datetime


def test_rows_of_one_stamp_stay_together_when_one_of_them_changes() -> None:
    files = MemoryRows()
    moment = BEGINNING + timedelta(hours=1)
    store(files, [measurement(1.0, moment, first_seen=SEEN, sensors_id=71 + n) for n in range(3)])
    store(files, [measurement(2.0, moment, first_seen=SEEN, sensors_id=72)])
    assert [found.value for found in files.rows[7]] == [1.0, 2.0, 1.0]


def test_a_row_stamped_in_the_year_1_is_kept_and_named() -> None:
    files = MemoryRows()
    store(files, [measurement(1.0, datetime(1, 1, 1, tzinfo=UTC), first_seen=SEEN), row(1, 1.0)])
    assert [found.issues for found in files.rows[7]] == [("implausible_datetime",), ()]
