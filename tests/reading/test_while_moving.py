"""Reading without locks while rows are moved to the history: never a row lost, never one twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import cycle
from pathlib import Path

import pytest

from openaq_pipeline import load
from openaq_pipeline.errors import RetriableError
from openaq_pipeline.model import Measurement
from openaq_pipeline.reading import location, query
from tests.reading.folders import at, series, store, write_history, write_live, write_sealed

MONTHS = [at(f"{year}-{month:02}-01") for year in (2023, 2024, 2025) for month in range(1, 13)]
SUMS = "SELECT count(*) AS n, sum(value) AS values FROM measurements"


def move(folder: Path, rows: list[Measurement], to: datetime) -> None:
    """Seal the rows before `to` as the program does: history, boundary, location file, each durable before the next."""
    location_id = rows[0].location_id
    write_history(folder, location_id, [row for row in rows if row.datetime < to])
    write_sealed(folder, location_id, to)
    write_live(folder, location_id, [row for row in rows if row.datetime >= to])


@contextmanager
def mover(folder: Path, rows: list[Measurement], *, pause_seconds: float = 0) -> Iterator[threading.Thread]:
    """Seal month after month beside the test."""

    def work() -> None:
        for month in MONTHS[1:]:
            move(folder, rows, month)
            time.sleep(pause_seconds)

    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    thread.join()


@pytest.fixture
def found(folder: Path) -> list[Measurement]:
    return store(folder, 5, series(5, MONTHS[0], 24 * 365 * 3, step=24), None)


def test_load_sees_every_row_once_whenever_it_looks(folder: Path, found: list[Measurement]) -> None:
    expected, looks = [row.value for row in found], 0
    with mover(folder, found) as thread:
        while thread.is_alive():
            assert load(data_dir=folder).column("value").to_pylist() == expected
            looks += 1
    assert looks > 5
    assert load(data_dir=folder).column("value").to_pylist() == expected


def test_a_query_sees_every_row_once_or_says_that_it_can_not(folder: Path, found: list[Measurement]) -> None:
    expected, looks, sql = [row.value for row in found], 0, "SELECT value FROM measurements ORDER BY value"
    with mover(folder, found, pause_seconds=0.2) as thread:
        while thread.is_alive():
            try:
                table = query.run(folder, sql, lambda rows: rows.read_all(), sleep=lambda _: None)
            except RetriableError:
                continue
            assert table.column("value").to_pylist() == sorted(expected)  # type: ignore[type-var]
            looks += 1
    assert looks > 0


def test_a_query_is_asked_again_when_rows_move_under_it(folder: Path, found: list[Measurement]) -> None:
    months = iter(MONTHS[1:])
    slept: list[float] = []

    def while_moving(rows: object) -> int:
        total = sum(batch.num_rows for batch in rows)  # type: ignore[attr-defined]
        if len(slept) < 2:
            move(folder, found, next(months))
        return total

    sql = "SELECT * FROM measurements"
    assert query.run(folder, sql, while_moving, sleep=slept.append) == len(found)
    assert len(slept) == 2
    with pytest.raises(RetriableError, match="changed all the time"):
        query.run(folder, sql, lambda _: move(folder, found, next(months)), sleep=lambda _: None)


def test_rows_that_move_between_the_look_at_the_boundary_and_the_file_are_not_lost(
    folder: Path, found: list[Measurement], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, months = location._bytes, iter(MONTHS[1:3])

    def late(path: Path) -> bytes:
        if month := next(months, None):
            move(folder, found, month)
        return real(path)

    monkeypatch.setattr(location, "_bytes", late)
    assert load(data_dir=folder).column("value").to_pylist() == [row.value for row in found]


def test_a_history_file_that_is_replaced_under_a_query_never_gives_half_an_answer(folder: Path) -> None:
    found = series(5, MONTHS[0], 24 * 365 * 2)
    store(folder, 5, found, MONTHS[18])
    stop = threading.Event()

    def churn() -> None:
        for month in cycle(MONTHS[18:]):  # what lies behind the boundary does not count, but makes other files
            if stop.is_set():
                return
            write_history(folder, 5, [row for row in found if row.datetime < month])

    def check() -> None:
        (told,) = query.run(folder, SUMS, lambda rows: rows.read_all().to_pylist(), sleep=lambda _: None)
        assert told == {"n": len(found), "values": pytest.approx(sum(row.value or 0 for row in found))}

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(3):
            with suppress(RetriableError):
                check()
            assert load(data_dir=folder, start=MONTHS[17]).num_rows == sum(row.datetime > MONTHS[17] for row in found)
    finally:
        stop.set()
        thread.join()
    check()
