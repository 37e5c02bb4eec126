"""What a look at single files finds: rot of any byte, rows of every kind of wrong, and what counts where."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from openaq_pipeline import files
from openaq_pipeline.columns import to_table
from openaq_pipeline.errors import StorageError
from openaq_pipeline.model import LocationState, SensorState, Window
from openaq_pipeline.quality.rules import RULES
from openaq_pipeline.storage.checks import live, remembered, year
from openaq_pipeline.storage.checks.boundary import Boundary
from openaq_pipeline.storage.checks.keys import Keys, number
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.owed import Owed
from tests.reading.folders import at, series
from tests.storage.rows import as_file, grid, row

YEAR = 2025


def written(folder: Path) -> Path:
    history = History(folder)
    rows = sorted(series(5, at("2025-01-01"), 48), key=lambda row: row.key)
    history.write(5, YEAR, to_table(rows), ())
    return history.path(5, YEAR)


@pytest.mark.parametrize("start", range(4))
def test_whatever_byte_of_a_year_rots_it_is_told_or_changes_no_row(
    tmp_path: Path, start: int, request: pytest.FixtureRequest
) -> None:
    path = written(tmp_path)
    good, history = path.read_bytes(), History(tmp_path)
    rows = history.year(5, YEAR)
    # The four look at every byte with `--long`, else at a quarter of them that chance chooses.
    step, first = (4, start) if request.config.option.long else (16, start + 4 * random.randrange(4))
    told = 0
    for place in range(first, len(good), step):
        body = bytearray(good)
        body[place] ^= 1 << (place // step % 8)
        path.write_bytes(body)
        found = year.look(path, YEAR, None, RULES)
        assert found is not None
        if any(finding.severity == "error" for finding in found.findings):
            told += 1
        else:
            assert history.year(5, YEAR).equals(rows), f"byte {place}"
    assert told > len(good) / step * 0.6


def test_statistics_that_hide_rows_from_readers_are_told(tmp_path: Path) -> None:
    path = written(tmp_path)
    rows = History(tmp_path).year(5, YEAR)
    newest = int(np.asarray(rows.column("datetime").combine_chunks().cast("int64")).max())
    body = path.read_bytes()
    places = [at_ for at_ in range(len(body)) if body.startswith(newest.to_bytes(8, "little"), at_)]
    path.write_bytes(body[: places[-1]] + (newest - 3_600_000_000).to_bytes(8, "little") + body[places[-1] + 8 :])
    found = year.look(path, YEAR, None, RULES)
    assert found is not None
    assert [finding.rule for finding in found.findings] == ["wrong_statistics"]
    assert "datetime" in found.findings[0].message


def test_every_fault_of_rows_is_counted_with_its_first_place(tmp_path: Path) -> None:
    rows = grid(5)
    rows[4], rows[5] = rows[5], rows[4]
    rows = [*rows, rows[0], msgspec.structs.replace(row(9), location_id=8, issues=("spike", "made_up"))]
    (tmp_path / "x.json").write_bytes(as_file(rows))
    found = live.look(tmp_path / "x.json", 7, rows[3].datetime, RULES)
    assert found is not None
    assert [(finding.rule, finding.severity, finding.count) for finding in found.findings] == [
        ("wrong_location", "error", 1),
        ("duplicate_key", "error", 1),
        ("not_sorted", "error", 2),
        ("left_over", "info", 4),
        ("unknown_issue", "info", 1),
    ]
    assert (
        found.findings[1].message
        == "1 row whose sensor and time is there twice; first: sensor 1 at 2026-10-01T00:00:00Z"
    )
    assert found.rows == len(rows) == len(found.keys.stamps if found.keys else ())


def test_a_time_without_a_zone_is_no_measurement(tmp_path: Path) -> None:
    body = as_file(grid(2)).replace(b'Z","datetime_local"', b'","datetime_local"', 1)
    (tmp_path / "x.json").write_bytes(body)
    found = live.look(tmp_path / "x.json", 7, None, RULES)
    assert found is not None
    assert [finding.rule for finding in found.findings] == ["undecodable_row"]


def keys(*hours: int, sensor: int = 1) -> Keys:
    stamps = [number(at("2025-03-31") + timedelta(hours=hour)) for hour in hours]
    return Keys(np.full(len(hours), sensor), np.array(stamps, np.int64))


@pytest.mark.parametrize(
    ("sealed", "here", "old", "rules", "to"),
    [
        ("2025-04-01", (24, 25), (0, 1), [], "2025-04-01"),
        ("2025-04-01", (0, 1, 24), (0, 1), [], None),
        ("2025-04-01", (0, 1, 24), (0,), ["late_seal"], None),
        ("2025-03-01", (24,), (0, 1), ["early_seal"], "2025-04-01"),
        ("2025-03-01", (0, 24), (0, 24), [], None),
        (None, (0, 1, 24), (0, 1), [], None),
        (None, (24,), (0, 1), ["lost_seal"], "2025-04-01"),
        (None, (1, 24), (0, 1), ["lost_seal"], "2025-04-01"),
        ("2025-05-01", (24, 25), (0, 1), ["late_seal"], "2025-04-01"),
    ],
)
def test_the_seal_belongs_where_every_row_counts_once(
    sealed: str | None, here: tuple[int, ...], old: tuple[int, ...], rules: list[str], to: str | None
) -> None:
    boundary = Boundary(at(sealed) if sealed else None, keys(*here))
    boundary.year(2025, keys(*old))
    assert [finding.rule for finding in boundary.findings()] == rules
    assert boundary.worked_out() == (at(to) if to else None)


def test_rows_of_a_year_that_can_not_be_read_are_not_missed_in_it() -> None:
    boundary = Boundary(at("2025-04-01"), keys(0, 24))
    boundary.year(2025, None)
    assert list(boundary.findings()) == []


def test_rows_from_before_the_seal_whose_year_has_no_file_are_missed() -> None:
    boundary = Boundary(at("2025-04-01"), keys(0, 24))
    boundary.year(2024, keys(-24 * 200))
    assert [finding.rule for finding in boundary.findings()] == ["late_seal"]


def test_the_latest_rows_are_those_that_count() -> None:
    boundary = Boundary(at("2025-04-01"), keys(0, 24))
    boundary.year(2025, Keys(np.array([1, 2]), np.array([keys(30).stamps[0], keys(3).stamps[0]])))
    assert boundary.latest() == {1: at("2025-04-01"), 2: at("2025-03-31T03:00")}


def test_a_sensor_that_nobody_knows_any_more_is_told_and_no_error() -> None:
    now = at("2025-04-02")
    state = LocationState(now, now, None, {1: SensorState(now), 2: SensorState(), 3: SensorState(now)})
    found = remembered.look(7, state, latest={1: now}, known={1}, mark=None, now=now)
    assert [(finding.rule, finding.severity) for finding in found] == [
        ("unknown_sensor", "info"),
        ("unknown_sensor", "info"),
        ("state_ahead", "error"),
    ]


def test_ranges_that_touch_are_owed_as_one_and_what_was_fetched_is_taken_out(tmp_path: Path) -> None:
    owed = Owed(tmp_path)
    day = [datetime(2025, 1, number, tzinfo=UTC) for number in range(1, 10)]
    owed.add(5, Window(day[4], day[6]))
    owed.add(5, Window(day[0], day[2]))
    owed.add(5, Window(day[2], day[3]))
    assert owed.spans(5) == (Window(day[0], day[3]), Window(day[4], day[6]))
    owed.settle(5, Window(day[1], day[5]))
    assert owed.spans(5) == (Window(day[0], day[1]), Window(day[5], day[6]))
    owed.settle(5, Window(day[0], day[8]))
    assert not owed.path(5).exists()
    owed.path(5).write_bytes(b"{")
    with pytest.raises(StorageError, match="damaged"):
        owed.spans(5)
    owed.add(5, Window(day[0], day[1]))
    assert owed.spans(5) == (Window(day[0], day[1]),)


def test_a_file_that_is_kept_elsewhere_takes_nobodys_name(tmp_path: Path) -> None:
    path, now = tmp_path / "history" / "x.parquet", datetime(2025, 1, 1, tzinfo=UTC)
    path.parent.mkdir()
    path.write_bytes(b"one")
    first = files.keep_elsewhere(path, tmp_path / "damaged" / "5.x.parquet", now)
    files.remove_durably(path)
    path.write_bytes(b"two")
    second = files.keep_elsewhere(path, tmp_path / "damaged" / "5.x.parquet", now)
    assert (first.name, second.name) == (
        "5.x.parquet.damaged-20250101T000000Z",
        "5.x.parquet.damaged-20250101T000000Z-2",
    )
    assert (first.read_bytes(), second.read_bytes(), path.read_bytes()) == (b"one", b"two", b"two")
