"""Rows of any age, in any portions, on both sides of the seal: the same as if all had come at once into one file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from openaq_pipeline.columns import HISTORY, to_rows, to_table
from openaq_pipeline.commit import commit
from openaq_pipeline.commit.across import commit_across
from openaq_pipeline.commit.seal import open_history, seal
from openaq_pipeline.model import Counts, Measurement, file_order
from openaq_pipeline.ports import RowStore
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import SeriesTests, ValidationSettings
from openaq_pipeline.storage.locations import LocationFiles
from tests.measurements import measurement
from tests.memory import MemoryRejects, MemoryRows
from tests.often import examples

ID = 7
MONTHS = [datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]
MIDDLE = MONTHS[1]
SEEN = datetime(2026, 3, 1, tzinfo=UTC)
EVER = datetime(1, 1, 1, tzinfo=UTC)
JUDGE = Judge(ValidationSettings(series_tests=SeriesTests(neighbour_hours=2, flat_line_hours={"pm25": 3})))

Make = Callable[[], RowStore]


@pytest.fixture(params=["disk", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    made = iter(range(1_000_000))

    def on_disk() -> LocationFiles:
        folder = tmp_path / str(next(made))
        folder.mkdir()
        return LocationFiles(folder)

    return on_disk if request.param == "disk" else MemoryRows


def row(hour: int, value: float | None, sensors_id: int = 71) -> Measurement:
    """A row so many hours from the middle of two years."""
    return measurement(value, MIDDLE + timedelta(hours=hour), first_seen=SEEN, sensors_id=sensors_id)


def stored(store: RowStore) -> list[Measurement]:
    """Return every row that counts, wherever it is."""

    sealed_to = store.sealed_to(ID)
    older = [] if sealed_to is None else to_rows(ID, store.history().read(ID, EVER, sealed_to))
    return sorted([*older, *store.tail(ID, EVER)], key=file_order)


def put(store: RowStore, rows: list[Measurement]) -> dict[int, Counts]:
    done = commit(ID, rows, [], files=store, rejected=MemoryRejects(), judge=JUDGE)
    return dict(done.counts)


portions = st.lists(
    st.one_of(
        st.lists(
            st.builds(
                row,
                st.one_of(st.integers(-12, 12), st.integers(-40 * 24, 20 * 24)),
                st.sampled_from([1.0, 1.0, 1.0, 2.0, 900.0, None]),
                st.integers(71, 72),
            ),
            min_size=1,
            max_size=12,
        ),
        st.sampled_from(MONTHS),
    ),
    max_size=8,
)


@settings(
    max_examples=examples(75),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
@given(portions)
def test_wherever_it_is_sealed_in_between_rows_issues_and_counts_are_as_in_one_file(
    make: Make, steps: list[list[Measurement] | datetime]
) -> None:
    sealed, plain = make(), MemoryRows()
    for step in steps:
        if isinstance(step, datetime):
            open_history(ID, step, files=sealed, licenses=())
        else:
            assert put(sealed, step) == put(plain, step)
        assert stored(sealed) == plain.all(ID)


def test_a_line_that_is_flat_across_the_seal_is_flat_on_both_sides(make: Make) -> None:
    store = make()
    open_history(ID, MIDDLE, files=store, licenses=())
    put(store, [row(hour, 1.0) for hour in range(2, 8)])
    put(store, [row(hour, 1.0) for hour in range(-6, 2)])
    assert [found.issues for found in stored(store)] == [()] * 3 + [("flat_line",)] * 11
    assert store.tail(ID, EVER)[0].issues == ("flat_line",)


def test_a_late_row_for_a_sealed_month_is_merged_into_it(make: Make) -> None:
    store = make()
    put(store, [row(-5, 1.0), row(-3, 2.0), row(5, 3.0)])
    seal(ID, MIDDLE, files=store, licenses=())
    assert put(store, [row(-4, 9.0)]) == {71: Counts(new=1, clean=1)}
    assert put(store, [row(-4, 9.0)]) == {71: Counts(identical=1, clean=1)}
    assert put(store, [row(-3, 2.5)]) == {71: Counts(revised=1, clean=1)}
    assert [found.value for found in stored(store)] == [1.0, 9.0, 2.5, 3.0]
    assert [found.value for found in store.tail(ID, EVER)] == [3.0]


def test_rows_for_a_sealed_month_teach_nothing_about_lateness_and_those_after_it_do(make: Make) -> None:
    store = make()
    open_history(ID, MIDDLE, files=store, licenses=())

    def new(*hours: int) -> set[int]:
        rows = [row(hour, 1.5) for hour in hours]
        found = commit(ID, rows, [], files=store, rejected=MemoryRejects(), judge=JUDGE).new
        return {hour for hour in hours if row(hour, 1.5).key in found}

    assert new(-4, 40) == set()
    assert new(40, 41) == {41}


def test_sealing_moves_whole_months_and_only_once(make: Make) -> None:
    store = make()
    rows = [row(hour, float(hour)) for hour in range(-40 * 24, 24, 6)]
    put(store, rows)
    before = stored(store)
    assert seal(ID, MONTHS[0], files=store, licenses=()) is not None
    assert store.oldest(ID) == MONTHS[0]
    assert seal(ID, MONTHS[0], files=store, licenses=()) is None
    assert seal(ID, MIDDLE, files=store, licenses=()) is not None
    assert store.oldest(ID) == MIDDLE
    assert stored(store) == before


def test_a_seal_never_moves_back(make: Make) -> None:
    store = make()
    put(store, [row(hour, 1.5) for hour in range(-40 * 24, 24, 6)])
    seal(ID, MIDDLE, files=store, licenses=())
    assert open_history(ID, MONTHS[0], files=store, licenses=()) is None
    assert store.sealed_to(ID) == MIDDLE


def test_without_an_older_row_no_history_is_begun(make: Make) -> None:
    store = make()
    put(store, [row(1, 1.5)])
    assert seal(ID, MIDDLE, files=store, licenses=()) is None
    assert store.sealed_to(ID) is None


def test_what_the_archive_has_and_the_api_has_meets_in_one_row_on_both_sides_of_the_seal(make: Make) -> None:
    store = make()
    put(store, [row(-2, 1.0), row(2, 2.0)])
    seal(ID, MIDDLE, files=store, licenses=())
    silent = {"source": "archive", "interval_seconds": None, "has_flags": None, "parameters_id": None}
    archived = [msgspec.structs.replace(row(hour, value), **silent) for hour, value in ((-3, 5.0), (-2, 1.0), (2, 2.0))]
    assert put(store, archived) == {71: Counts(new=1, identical=2, clean=3)}
    assert [found.source for found in stored(store)] == ["archive", "api", "api"]
    assert put(store, [row(-3, 5.0)]) == {71: Counts(identical=1, clean=1)}
    assert [found.has_flags for found in stored(store)] == [False, False, False]


def test_rows_that_change_nothing_write_nothing() -> None:
    written: list[str] = []
    store = MemoryRows(after=written.append)
    put(store, [row(hour, 1.5) for hour in range(-48, 48)])
    seal(ID, MIDDLE, files=store, licenses=())
    written.clear()
    put(store, [row(hour, 1.5) for hour in range(-48, 48)])
    assert written == []


def test_only_the_years_that_change_are_written() -> None:
    written: list[str] = []
    store = MemoryRows(after=written.append)
    put(store, [row(hour, float(hour % 7)) for hour in range(-48, 31 * 24 + 48)])
    seal(ID, MONTHS[2], files=store, licenses=())
    written.clear()
    put(store, [row(-1, 5.5), *[row(hour, float(hour % 7)) for hour in range(48)]])
    assert written == ["history.write"]


def test_no_rows_are_no_work(make: Make) -> None:
    store = make()
    assert not commit_across(ID, HISTORY.empty_table(), files=store, judge=JUDGE, licenses=()).counts
    assert not commit_across(ID, to_table([]), files=store, judge=JUDGE, licenses=()).counts


@pytest.mark.parametrize("year", [1, 9999])
def test_rows_at_the_ends_of_the_calendar_are_stored_like_others(make: Make, year: int) -> None:
    store = make()
    open_history(ID, MIDDLE, files=store, licenses=())
    absurd = measurement(1.0, datetime(year, 1, 1, tzinfo=UTC), first_seen=SEEN)
    put(store, [absurd, row(-1, 1.0)])
    put(store, [absurd])
    assert len(stored(store)) == 2


def test_a_history_that_is_opened_before_any_poll_has_a_file_beside_it_and_no_watermark_stands_on_it(
    make: Make,
) -> None:
    store = make()
    change = open_history(ID, MIDDLE, files=store, licenses=())
    assert change is not None
    assert change.after == store.mark(ID)
    assert open_history(ID, MIDDLE, files=store, licenses=()) is None
    there = row(-72, 1.0)
    put(store, [there])
    assert store.inspect(ID, None, SEEN).latest == {}, "the first load is still to come"
    assert store.inspect(ID, store.mark(ID), SEEN).latest is None
    assert store.inspect(ID, None, SEEN).latest == {71: there.datetime}
