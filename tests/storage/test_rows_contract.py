"""What every store of rows does, the one on disk and its twin in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openaq_pipeline.model import Measurement, Stored, file_order
from openaq_pipeline.ports import RowStore
from openaq_pipeline.storage.locations import LocationFiles
from tests.memory import MemoryRows
from tests.often import examples
from tests.storage.rows import ALL, ID, NOW, grid, hour, row

Make = Callable[[], RowStore]


@pytest.fixture(params=["disk", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return a maker of new, empty stores."""
    made = iter(range(1_000_000))

    def on_disk() -> LocationFiles:
        folder = tmp_path / str(next(made))
        folder.mkdir()
        return LocationFiles(folder)

    return on_disk if request.param == "disk" else MemoryRows


@pytest.fixture
def store(make: Make) -> RowStore:
    return make()


def test_an_unknown_location_has_no_mark_no_rows_and_no_stamps(store: RowStore) -> None:
    assert store.mark(ID) is None
    assert store.tail(ID, ALL) == []
    assert store.inspect(ID, None, NOW) == Stored({})


def test_the_lock_is_a_context_and_can_be_taken_again(store: RowStore) -> None:
    for _ in range(2):
        with store.lock(ID):
            pass


def test_what_was_put_comes_back_field_by_field(store: RowStore) -> None:
    rows = [
        row(0),
        row(1, value=None),
        Measurement(
            ID, 2, 9, 'a "quoted" \\ name', "µg/m³", -0.0, hour(2), "x", None, None, ("spike",), "archive", NOW
        ),
        row(2.0001, value=1e300),
    ]
    store.replace_tail(ID, ALL, rows)
    assert store.tail(ID, ALL) == rows


def test_locations_do_not_touch_each_other(store: RowStore) -> None:
    store.replace_tail(ID, ALL, grid(2))
    store.replace_tail(8, ALL, [row(0, location_id=8)])
    assert store.tail(ID, ALL) == grid(2)
    assert store.tail(8, ALL) == [row(0, location_id=8)]


@pytest.mark.parametrize("cut", [-1, 0, 0.5, 1, 3, 4, 4.5, 9])
def test_the_tail_begins_at_its_cut_with_all_sensors_of_that_stamp(store: RowStore, cut: float) -> None:
    store.replace_tail(ID, ALL, grid(5))
    assert store.tail(ID, hour(cut)) == [row for row in grid(5) if row.datetime >= hour(cut)]


@pytest.mark.parametrize("cut", [-1, 0, 0.5, 1, 3, 4, 4.5, 9])
def test_only_what_is_behind_the_cut_is_replaced(store: RowStore, cut: float) -> None:
    store.replace_tail(ID, ALL, grid(5))
    added = [row(20, sensors_id=9)]
    store.replace_tail(ID, hour(cut), added)
    assert store.tail(ID, ALL) == [row for row in grid(5) if row.datetime < hour(cut)] + added


@pytest.mark.parametrize("cut", [-1, 0, 2, 9])
def test_nothing_in_the_place_of_a_tail_removes_it(store: RowStore, cut: float) -> None:
    store.replace_tail(ID, ALL, grid(5))
    store.replace_tail(ID, hour(cut), [])
    assert store.tail(ID, ALL) == [row for row in grid(5) if row.datetime < hour(cut)]


def test_rows_are_appended_at_the_end(store: RowStore) -> None:
    store.replace_tail(ID, ALL, grid(5))
    store.replace_tail(ID, hour(5), [row(5), row(6)])
    assert store.tail(ID, ALL) == [*grid(5), row(5), row(6)]


def test_a_single_row_is_replaced_and_appended_to(store: RowStore) -> None:
    store.replace_tail(ID, ALL, [row(1)])
    store.replace_tail(ID, hour(1), [row(1, value=2)])
    store.replace_tail(ID, hour(2), [row(2)])
    assert store.tail(ID, ALL) == [row(1, value=2), row(2)]


def test_an_emptied_store_can_be_filled_again(store: RowStore) -> None:
    store.replace_tail(ID, ALL, grid(2))
    store.replace_tail(ID, ALL, [])
    assert store.tail(ID, ALL) == []
    assert store.mark(ID) is not None
    store.replace_tail(ID, hour(5), [row(5)])
    assert store.tail(ID, ALL) == [row(5)]


def test_the_mark_returned_is_the_mark_it_has_and_changes_with_every_version(store: RowStore) -> None:
    marks = [store.replace_tail(ID, ALL, grid(hours)) for hours in (1, 2, 3)]
    assert store.mark(ID) == marks[-1]
    assert len(set(marks)) == 3


def test_under_its_mark_a_store_needs_no_look(store: RowStore) -> None:
    mark = store.replace_tail(ID, ALL, grid(2))
    assert store.inspect(ID, mark, NOW) == Stored(None)


@pytest.mark.parametrize("known", [True, False])
def test_under_another_mark_or_none_the_latest_stamp_of_each_sensor_is_told(store: RowStore, *, known: bool) -> None:
    old = store.replace_tail(ID, ALL, [row(0)])
    store.replace_tail(ID, ALL, [row(0, 1), row(1, 2), row(2, 1), row(2, 3)])
    assert store.inspect(ID, old if known else None, NOW) == Stored({1: hour(2), 2: hour(1), 3: hour(2)})


def test_an_emptied_store_has_no_stamps(store: RowStore) -> None:
    store.replace_tail(ID, ALL, [])
    assert store.inspect(ID, None, NOW) == Stored({})


def test_a_look_changes_nothing(store: RowStore) -> None:
    mark = store.replace_tail(ID, ALL, grid(3))
    store.inspect(ID, None, NOW)
    assert store.mark(ID) == mark
    assert store.tail(ID, ALL) == grid(3)


Change = tuple[datetime, list[tuple[int, int, float]]]

cuts = st.integers(-2, 14).map(lambda half: hour(half / 2))
changes = st.tuples(cuts, st.lists(st.tuples(st.integers(0, 12), st.integers(1, 3), st.floats(-5, 5)), max_size=8))


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
@given(steps=st.lists(changes, min_size=1, max_size=6), reads=st.lists(cuts, max_size=3))
def test_any_sequence_of_changes_equals_the_same_on_a_list(
    make: Make, steps: list[Change], reads: list[datetime]
) -> None:
    store, model = make(), list[Measurement]()
    for since, entries in steps:
        unique = {(half, sensor): row(half / 2, sensor, value) for half, sensor, value in entries}
        rows = sorted((one for one in unique.values() if one.datetime >= since), key=file_order)
        mark = store.replace_tail(ID, since, rows)
        model = [one for one in model if one.datetime < since] + rows
        assert store.tail(ID, ALL) == model
        assert store.mark(ID) == mark
        assert store.inspect(ID, None, NOW) == Stored({one.sensors_id: one.datetime for one in model})
    for since in reads:
        assert store.tail(ID, since) == [one for one in model if one.datetime >= since]
