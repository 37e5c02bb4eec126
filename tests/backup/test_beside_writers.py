"""A backup is made while others write: of each location one moment, of the state none that is later than the data."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from openaq_pipeline import locks
from openaq_pipeline.backup import writing
from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import replacing
from openaq_pipeline.locks import hold_location
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.sealed import sealed_to
from openaq_pipeline.verify import verify
from tests.backup.archives import content, files, made, put_back, written
from tests.faults import light, oracle
from tests.faults.whole import started, whole
from tests.reading.folders import series, store
from tests.reading.test_while_moving import MONTHS, move


def test_a_poll_between_the_state_and_the_data_leaves_the_watermark_behind_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    assert light.store(folder, 0, 1, lambda _: None) == 0
    real = locks.hold_location
    rounds = iter(range(2, 2 + len(light.LOCATIONS)))

    def after_a_poll(folder: Path, location_id: int) -> object:
        number = next(rounds)
        assert light.store(folder, number, number, lambda _: None) == 0
        return real(folder, location_id)

    monkeypatch.setattr(writing, "hold_location", after_a_poll)
    back = put_back(made(folder), tmp_path / "back")
    oracle.check(back)
    assert light.store(back, 4, 4, lambda _: None) == 0
    assert light.store(folder, 4, 4, lambda _: None) == 0
    oracle.check(back, expected=oracle.content(folder), restarted=True)


def test_a_poll_after_the_data_is_not_told_of_by_the_state(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert light.store(folder, 0, 1, lambda _: None) == 0

    def poll(done: int, of: int) -> None:
        if done == of:
            assert light.store(folder, 2, 2, lambda _: None) == 0

    oracle.check(put_back(made(folder, watch=poll), tmp_path / "back"))


@pytest.mark.parametrize("between", range(1, 4))
def test_live_file_history_and_seal_are_of_one_moment_though_a_month_wants_to_move_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: int
) -> None:
    folder, real, opened = tmp_path / "data", writing._open, iter(range(100))
    rows = store(folder, 5, series(5, MONTHS[0], 24 * 365, step=24), MONTHS[3])
    expected = oracle.content(folder)

    def move_a_month() -> None:
        with hold_location(folder, 5):
            move(folder, rows, MONTHS[6])

    mover = threading.Thread(target=move_a_month)

    def open_while_it_moves(path: Path, name: str) -> object:
        if "location" in name and next(opened) == between:
            mover.start()
            mover.join(0.3)  # it gets no further, for the lock is held
        return real(path, name)

    monkeypatch.setattr(writing, "_open", open_while_it_moves)
    back = put_back(made(folder), tmp_path / "back")
    mover.join()
    assert oracle.content(back) == expected
    assert oracle.content(folder) == expected
    assert sealed_to(folder, 5) == MONTHS[6]


def test_no_lock_is_held_while_files_are_copied(folder: Path) -> None:
    def write(body: bytes) -> None:
        del body
        for path in (folder / ".locks").glob("*.lock"):
            locks.let_go(locks.take_lock(path, 0))
        with locks.hold_folder(folder):
            pass

    writing.back_up(folder, write, light.BEGINNING)
    assert (folder / ".locks/location_7.lock").exists()


def test_a_file_that_is_replaced_while_it_is_copied_is_in_it_as_it_was(folder: Path) -> None:
    expected = files(folder)

    def replace() -> None:
        with hold_location(folder, 7), replacing(folder / "location_7.json") as file:
            file.write(b"later")

    assert content(made(folder, check=replace)) | {"location_7.json": b""} == expected | {"location_7.json": b""}
    with hold_location(folder, 7), replacing(folder / "location_7.json") as file:
        file.write(expected["location_7.json"])
    opened = iter(range(100))
    found = content(made(folder, check=lambda: replace() if next(opened) == 2 else None))
    assert found == expected


def test_a_file_that_another_program_cuts_short_meanwhile_ends_it(folder: Path) -> None:
    def cut() -> None:
        with (folder / "location_7.json").open("r+b") as file:
            file.truncate(3)

    steps = iter(range(100))
    with pytest.raises(StorageError, match="was cut short"):
        made(folder, check=lambda: cut() if next(steps) == 2 else None)


def test_twenty_backups_beside_a_daemon_that_polls_are_each_sound_and_go_on_from_where_they_were(
    tmp_path: Path,
) -> None:
    with whole(tmp_path, locations=3, sensors=2, days=40) as program, started(program, seconds=0.5) as daemon:
        daemon.logs("Run of 3 locations complete")
        rows = []
        for number in range(20):
            program.hours_pass(6)
            _, body = written(program.data)
            back = put_back(body, tmp_path / f"back-{number}")
            rows.append(len(oracle.check(back)))
            assert verify(back).sound
        assert daemon.stop() == 0
        assert rows == sorted(rows)
        assert rows[-1] > rows[0], "the daemon stored nothing meanwhile"
        held = oracle.content(back)
        program.data = program.program.data = back
        program.program.env["DATA_DIR"] = str(back)
        assert LocationFiles(back).mark(program.ids[0]) is not None
        program.comes_through(held)
