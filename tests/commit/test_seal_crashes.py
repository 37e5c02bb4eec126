"""A move that is cut off before any of its writes loses nothing, shows nothing twice, and is taken up again."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openaq_pipeline.columns import to_rows
from openaq_pipeline.commit import commit
from openaq_pipeline.commit.seal import open_history, seal
from openaq_pipeline.errors import FatalError, StorageError
from openaq_pipeline.model import Counts, FileMark, Measurement, file_order
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import ValidationSettings
from openaq_pipeline.storage import history, locations, sealed
from openaq_pipeline.storage.locations import LocationFiles
from tests.crashing import Crash, Crashing
from tests.measurements import measurement
from tests.memory import MemoryRejects

ID = 7
START, MIDDLE = datetime(2025, 11, 15, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
SEEN = datetime(2026, 3, 1, tzinfo=UTC)
EVER = datetime(1, 1, 1, tzinfo=UTC)
JUDGE = Judge(ValidationSettings())
ROWS = [measurement(float(day), START + timedelta(days=day), first_seen=SEEN) for day in range(60)]


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Crashing:
    return Crashing(monkeypatch, (history, locations, sealed), behind=True)


@pytest.fixture
def store(tmp_path: Path) -> LocationFiles:
    found = LocationFiles(tmp_path)
    found.replace_tail(ID, EVER, ROWS)
    return found


def counting(store: LocationFiles) -> list[Measurement]:
    """Return what a reader sees."""
    sealed_to = store.sealed_to(ID)
    older = [] if sealed_to is None else to_rows(ID, store.history().read(ID, EVER, sealed_to))
    return sorted([*older, *store.tail(ID, EVER)], key=file_order)


MOVE_WRITES = 2 * 5  # November, December, the year's file each, the seal, the location file: in front and behind


@pytest.mark.parametrize("writes", range(MOVE_WRITES))
def test_a_reader_sees_every_row_once_wherever_a_move_is_cut_off_and_the_next_one_ends_it(
    store: LocationFiles, crashing: Crashing, writes: int
) -> None:
    crashing.countdown = writes
    try:
        seal(ID, MIDDLE, files=store, licenses=())
    except Crash:
        pass
    else:
        assert writes >= 2 * 4
    assert counting(store) == ROWS
    crashing.countdown = None
    seal(ID, MIDDLE, files=store, licenses=())
    assert counting(store) == ROWS
    assert store.oldest(ID) == MIDDLE
    assert store.sealed_to(ID) == MIDDLE


@pytest.mark.parametrize("writes", range(MOVE_WRITES))
def test_rows_that_come_after_a_move_was_cut_off_are_stored_once(
    store: LocationFiles, crashing: Crashing, writes: int
) -> None:
    crashing.countdown = writes
    with suppress(Crash):
        seal(ID, MIDDLE, files=store, licenses=())
    crashing.countdown = None
    revised = measurement(99.5, ROWS[20].datetime, first_seen=SEEN)
    done = commit(ID, [revised, ROWS[21]], [], files=store, rejected=MemoryRejects(), judge=JUDGE)
    assert done.counts == {71: Counts(revised=1, identical=1, clean=2)}
    seal(ID, MIDDLE, files=store, licenses=())
    assert counting(store) == [*ROWS[:20], revised, *ROWS[21:]]


def test_what_an_interrupted_move_left_in_the_file_goes_with_the_next_write(
    store: LocationFiles, crashing: Crashing
) -> None:
    crashing.countdown = 2 * 3  # everything but the location file
    with pytest.raises(Crash):
        seal(ID, MIDDLE, files=store, licenses=())
    crashing.countdown = None
    assert store.oldest(ID) == START
    later = measurement(1.0, ROWS[-1].datetime + timedelta(hours=1), first_seen=SEEN)
    commit(ID, [later], [], files=store, rejected=MemoryRejects(), judge=JUDGE)
    assert store.oldest(ID) == MIDDLE
    assert counting(store) == [*ROWS, later]


def test_where_the_data_end_is_known_from_the_history_when_the_file_no_longer_tells(store: LocationFiles) -> None:
    silent = measurement(1.0, START, first_seen=SEEN, sensors_id=72)
    commit(ID, [silent], [], files=store, rejected=MemoryRejects(), judge=JUDGE)
    seal(ID, MIDDLE, files=store, licenses=())
    assert store.inspect(ID, FileMark(0, 0), SEEN).latest == {71: ROWS[-1].datetime, 72: START}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"version":1,"sealed_to":"2026-01-01T00:00:00"}', b"\xff"])
def test_a_damaged_seal_is_told_and_nothing_is_guessed(store: LocationFiles, body: bytes) -> None:
    seal(ID, MIDDLE, files=store, licenses=())
    (sealed.seal_path(store.path(ID).parent, ID)).write_bytes(body)
    with pytest.raises(StorageError, match="damaged") as told:
        store.tail(ID, EVER)
    assert "verify" in told.value.hint


def test_a_seal_of_a_newer_version_is_refused(store: LocationFiles) -> None:
    path = sealed.seal_path(store.path(ID).parent, ID)
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"version":2,"sealed_to":"2026-01-01T00:00:00Z","more":1}')
    with pytest.raises(FatalError, match="newer version"):
        store.sealed_to(ID)


def test_a_history_whose_file_was_not_made_yet_gets_it_from_the_next_who_opens_it(
    tmp_path: Path, crashing: Crashing
) -> None:
    store = LocationFiles(tmp_path)
    crashing.countdown = 2 * 2  # the note that no poll was here, and the seal
    with pytest.raises(Crash):
        open_history(ID, MIDDLE, files=store, licenses=())
    assert (store.sealed_to(ID), store.mark(ID)) == (MIDDLE, None)
    crashing.countdown = None
    assert open_history(ID, MIDDLE, files=store, licenses=()) is not None
    assert store.mark(ID) is not None
    assert store.inspect(ID, None, SEEN).latest == {}
