"""How far a backfill has come: never too much is taken for done, and as little as can be is done again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openaq_pipeline.errors import StorageError
from openaq_pipeline.model import ArchiveStamp, Window
from openaq_pipeline.storage.progress import Progress
from tests.storage.rows import ID, hour

SPAN = Window(hour(0), hour(100))
SENSOR, OTHER = 1, 2
DAY = "2026-10-01"
STAMP = ArchiveStamp(1000, datetime(2026, 10, 5, 3, 0, 0, 123456, tzinfo=UTC))


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path)


def test_nothing_is_done_before_anything_was(progress: Progress, tmp_path: Path) -> None:
    assert progress.rest(ID, SENSOR, SPAN) == SPAN
    assert progress.stored_files(ID) == {}
    progress.finish(ID)
    assert not list(tmp_path.iterdir()), "looking writes nothing"


def test_a_backfill_goes_on_where_each_sensor_was(tmp_path: Path) -> None:
    Progress(tmp_path).reached(ID, SPAN, {SENSOR: hour(40)})
    Progress(tmp_path).reached(ID, SPAN, {OTHER: hour(70)})
    again = Progress(tmp_path)
    assert again.rest(ID, SENSOR, SPAN) == Window(hour(40), hour(100))
    assert again.rest(ID, OTHER, SPAN) == Window(hour(70), hour(100))
    assert again.rest(ID, 3, SPAN) == SPAN
    assert again.rest(ID + 1, SENSOR, SPAN) == SPAN


def test_what_was_read_to_its_end_is_not_asked_again_until_all_is_done(progress: Progress) -> None:
    progress.reached(ID, SPAN, {SENSOR: hour(100)})
    assert progress.rest(ID, SENSOR, SPAN) is None
    assert progress.rest(ID, SENSOR, Window(hour(10), hour(90))) is None
    progress.finish(ID)
    assert progress.rest(ID, SENSOR, SPAN) == SPAN


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ((10, 100), (40, 100)),
        ((39, 50), (40, 50)),
        ((40, 100), (40, 100)),
        ((-10, 100), (-10, 100)),
        ((-10, 40), (-10, 40)),
        ((50, 60), (50, 60)),
        ((0, 500), (40, 500)),
    ],
)
def test_another_range_is_asked_for_all_that_was_not_read_behind_its_start(
    progress: Progress, asked: tuple[int, int], left: tuple[int, int]
) -> None:
    progress.reached(ID, SPAN, {SENSOR: hour(40)})
    assert progress.rest(ID, SENSOR, Window(*map(hour, asked))) == Window(*map(hour, left))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60), st.integers(1, 60)), max_size=8))
def test_whatever_ranges_were_begun_and_stopped_only_what_was_read_is_skipped(
    tmp_path_factory: pytest.TempPathFactory, starts: list[tuple[int, int, int]]
) -> None:
    progress = Progress(tmp_path_factory.mktemp("progress"))
    read: set[int] = set()  # hours, each the one that ends with its number
    for start, length, came in starts:
        span = Window(hour(start), hour(start + length))
        rest = progress.rest(ID, SENSOR, span)
        wanted = set(range(start + 1, start + length + 1))
        left = set() if rest is None else {n for n in wanted if rest.start < hour(n) <= rest.end}
        assert wanted - left <= read
        if rest is None:
            continue
        end = min(rest.start + timedelta(hours=came), rest.end)
        read |= {n for n in wanted if rest.start < hour(n) <= end}
        progress.reached(ID, span, {SENSOR: end})


def test_files_of_the_archive_stay_known_for_good(progress: Progress, tmp_path: Path) -> None:
    later = ArchiveStamp(7, STAMP.modified_utc, SPAN)
    progress.reached(ID, SPAN, {SENSOR: hour(4)})
    progress.stored(ID, [(DAY, STAMP)])
    progress.stored(ID, [("2026-10-02", later)])
    progress.finish(ID)
    assert Progress(tmp_path).stored_files(ID) == {DAY: STAMP, "2026-10-02": later}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"version":2,"sensors":{"1":{"start":"2026-10-01T00:00:00Z","end":"2026-10-09T00:00:00Z"}}}',
        b'{"version":1,"sensors":{"1":{"start":"2026-10-01T00:00:00","end":"2026-10-09T00:00:00"}}}',
    ],
)
def test_a_progress_that_can_not_be_read_costs_reading_again_and_nothing_else(
    progress: Progress, tmp_path: Path, body: bytes
) -> None:
    progress.reached(ID, SPAN, {SENSOR: hour(40)})
    (path,) = (tmp_path / ".backfill").iterdir()
    path.write_bytes(body)
    assert progress.rest(ID, SENSOR, SPAN) == SPAN
    progress.reached(ID, SPAN, {SENSOR: hour(50)})
    assert progress.rest(ID, SENSOR, SPAN) == Window(hour(50), hour(100))


def test_a_progress_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / ".backfill").write_text("")
    with pytest.raises(StorageError, match=r"\.backfill"):
        Progress(tmp_path).reached(ID, SPAN, {SENSOR: hour(40)})


# --- which part of a file is stored ---


def part(start: float, end: float) -> ArchiveStamp:
    return ArchiveStamp(STAMP.size_bytes, STAMP.modified_utc, Window(hour(start), hour(end)))


def test_a_file_is_stored_as_long_as_it_looks_the_same() -> None:
    assert STAMP.holds(STAMP)
    assert not STAMP.holds(ArchiveStamp(1001, STAMP.modified_utc))
    assert not STAMP.holds(ArchiveStamp(1000, STAMP.modified_utc + timedelta(microseconds=1)))


@pytest.mark.parametrize(("wanted", "held"), [((0, 5), True), ((1, 4), True), ((0, 6), False), ((-1, 5), False)])
def test_of_a_file_at_the_edge_of_a_range_only_what_lay_in_it_is_stored(wanted: tuple[int, int], held: bool) -> None:
    assert part(0, 5).holds(part(*wanted)) is held
    assert STAMP.holds(part(*wanted))
    assert not part(*wanted).holds(STAMP)


def test_abutting_ranges_are_read_without_a_gap(progress: Progress) -> None:
    for start, end in pairwise(range(0, 101, 25)):
        span = Window(hour(start), hour(end))
        assert progress.rest(ID, SENSOR, span) == span
        progress.reached(ID, span, {SENSOR: hour(end)})
    assert progress.rest(ID, SENSOR, SPAN) is None
