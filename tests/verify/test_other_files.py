"""Damage to anything but the years of a history: location files, seals, the state, the small files."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from openaq_pipeline import files, locks
from openaq_pipeline.columns import to_table
from openaq_pipeline.errors import FatalError
from openaq_pipeline.model import Measurement
from openaq_pipeline.run import run_once
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.sealed import seal, sealed_to
from openaq_pipeline.verify import verify
from tests.storage.rows import as_file
from tests.verify.conftest import Kept


def live_rows(kept: Kept) -> list[Measurement]:
    return msgspec.json.decode(kept.live.read_bytes(), type=list[Measurement])


def cut(kept: Kept) -> None:
    kept.live.write_bytes(kept.live.read_bytes()[:-5000])


def empty(kept: Kept) -> None:
    kept.live.write_bytes(b"")


def flip(kept: Kept) -> None:
    body = bytearray(kept.live.read_bytes())
    place = body.index(b"value", len(body) // 2)
    body[place] ^= 0xFF
    kept.live.write_bytes(body)


def unsorted(kept: Kept) -> None:
    kept.live.write_bytes(as_file(live_rows(kept)[::-1]))


def twice(kept: Kept) -> None:
    rows = live_rows(kept)
    kept.live.write_bytes(as_file([*rows[:10], msgspec.structs.replace(rows[9], value=-1.0), *rows[10:]]))


def of_another_location(kept: Kept) -> None:
    rows = live_rows(kept)
    rows[20] = msgspec.structs.replace(rows[20], location_id=kept.there)
    kept.live.write_bytes(as_file(rows))


def by_another_program(kept: Kept) -> None:
    kept.live.write_text(json.dumps(json.loads(kept.live.read_bytes()), indent=1))


@pytest.mark.parametrize(
    ("damage", "rules"),
    [
        (cut, {"undecodable_row", "state_ahead"}),
        (empty, {"undecodable_row", "state_ahead"}),
        (flip, {"undecodable_row"}),
        (unsorted, {"not_sorted"}),
        (twice, {"duplicate_key"}),
        (of_another_location, {"wrong_location"}),
        (by_another_program, {"not_our_form"}),
    ],
)
def test_a_damaged_location_file_is_named_and_repaired_and_its_rows_are_back(
    kept: Kept, damage: Callable[[Kept], None], rules: set[str]
) -> None:
    rows, before = kept.facts(), kept.bytes()
    damage(kept)
    assert {rule for file, rule in kept.rules() if file == kept.live.name} == rules - {"state_ahead"}
    mended = kept.repair()
    assert [one for one in mended if not one.complete] == []
    assert kept.errors() == []
    assert kept.facts() == rows
    after = kept.bytes()
    theirs = {file: body for file, body in before.items() if str(kept.there) in file or file.startswith("history")}
    assert {file: after[file] for file in theirs} == theirs


def test_a_location_file_that_is_gone_is_missed_because_the_state_knows_of_its_rows(kept: Kept) -> None:
    rows = kept.facts()
    kept.live.unlink()
    assert {rule for _, rule in kept.rules()} == {"state_ahead"}
    assert kept.errors()[0].file == ".state.json"
    assert all(one.complete for one in kept.repair())
    assert kept.errors() == []
    assert kept.facts() == rows


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (None, "lost_seal"),
        (b"", "damaged_file"),
        (b'{"version":1,"sealed_to":"soon"}', "damaged_file"),
        (b'{"version":1,"sealed_to":"2026-01-02T00:00:00Z"}', "absurd_seal"),
        (b'{"version":1,"sealed_to":"2999-01-01T00:00:00Z"}', "absurd_seal"),
        (b'{"version":1,"sealed_to":"2026-01-01T00:00:00Z"}', "early_seal"),
    ],
)
def test_a_seal_that_is_not_the_one_written_is_worked_out_from_the_rows(
    kept: Kept, body: bytes | None, rule: str
) -> None:
    before, rows, was = kept.bytes(), kept.rows(), sealed_to(kept.data, kept.here)
    kept.seal.unlink()
    if body is not None:
        kept.seal.write_bytes(body)
    assert kept.rules() == {(kept.name(kept.seal), rule)}
    assert all(one.complete for one in kept.repair())
    assert kept.errors() == []
    assert sealed_to(kept.data, kept.here) == was
    assert kept.rows() == rows
    after = kept.bytes()
    assert [after[file] for file in after.keys() - before.keys()] == ([] if body is None else [body])
    assert {file: after[file] for file in before} == before


def test_a_seal_that_runs_ahead_of_the_move_is_taken_back_so_that_the_rows_count_again(kept: Kept) -> None:
    rows, was = kept.rows(), sealed_to(kept.data, kept.here)
    assert was is not None
    seal(kept.data, kept.here, (was + timedelta(days=32)).replace(day=1))
    assert len(kept.rows()) < len(rows)
    assert kept.rules() >= {(kept.name(kept.seal), "late_seal")}
    assert all(one.complete for one in kept.repair())
    assert kept.errors() == []
    assert (kept.rows(), sealed_to(kept.data, kept.here)) == (rows, was)


def test_a_first_move_that_was_cut_off_before_its_seal_is_no_error(kept: Kept) -> None:
    there = kept.data / f"location_{kept.there}.json"
    rows = msgspec.json.decode(there.read_bytes(), type=list[Measurement])
    moved = sorted(rows[:100], key=lambda row: row.key)
    History(kept.data).write(kept.there, moved[0].datetime.year, to_table(moved), ())
    found = verify(kept.data)
    assert found.sound
    before = kept.bytes()
    assert kept.repair() == ()
    assert kept.bytes() == before


def test_what_an_interrupted_move_left_in_the_location_file_is_no_error(kept: Kept) -> None:
    to = sealed_to(kept.data, kept.here)
    moved = [row for row in kept.rows() if to is not None and row.datetime < to][-50:]
    kept.live.write_bytes(as_file([*moved, *live_rows(kept)]))
    found = verify(kept.data)
    assert found.sound
    assert [(finding.rule, finding.count) for finding in found.findings if finding.file == kept.live.name] == [
        ("left_over", 50)
    ]


def change_state(kept: Kept, change: Callable[[datetime], datetime]) -> None:
    path = kept.data / ".state.json"
    state = json.loads(path.read_text())
    sensor = next(iter(state["locations"][str(kept.here)]["sensors"].values()))
    moved = change(datetime.fromisoformat(sensor["watermark"]))
    sensor["watermark"] = moved.isoformat()
    path.write_text(json.dumps(state))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda stamp: stamp + timedelta(minutes=1), "state_ahead"),
        (lambda _: datetime(2999, 1, 1, tzinfo=UTC), "watermark_ahead"),
    ],
)
def test_a_state_that_says_more_than_the_data_is_held_back(
    kept: Kept, change: Callable[[datetime], datetime], rule: str
) -> None:
    before = kept.bytes()
    change_state(kept, change)
    assert kept.rules() == {(".state.json", rule)}
    assert all(one.complete for one in kept.repair())
    assert kept.errors() == []
    after = kept.bytes()
    was, now = json.loads(before[".state.json"]), json.loads(after[".state.json"])
    assert {key: value["sensors"] for key, value in now["locations"].items()} == {
        key: value["sensors"] for key, value in was["locations"].items()
    }


def test_while_a_run_holds_the_folder_its_state_is_left_to_it_and_that_is_said(kept: Kept) -> None:
    change_state(kept, lambda stamp: stamp + timedelta(minutes=1))
    state = (kept.data / ".state.json").read_bytes()
    with locks.hold_folder(kept.data):
        mended = kept.repair()
    assert [one.what for one in mended if not one.complete] == [
        f"a run is at work on this folder; its next one holds location {kept.here} back to what is stored"
    ]
    assert (kept.data / ".state.json").read_bytes() == state
    assert run_once(kept.settings).complete
    assert kept.errors() == []


SMALL = [
    "locations.json",
    "metrics.json",
    "licenses.json",
    ".alerts.json",
    ".selections.json",
    ".state.json",
    "rejects",
    ".backfill",
]


@pytest.mark.parametrize("name", SMALL)
def test_a_damaged_small_file_is_named_and_set_aside(kept: Kept, name: str) -> None:
    path = kept.data / name
    if path.is_dir():
        path = next(path.glob(f"location_{kept.here}.*"))
    path.write_bytes(b'{"version": 1, "x"')
    rows = kept.rows()
    assert kept.rules() == {(kept.name(path), "damaged_file")}
    assert all(one.complete for one in kept.repair())
    assert kept.errors() == []
    assert [place.read_bytes() for place in path.parent.glob(f"{path.name}.damaged-*")] == [b'{"version": 1, "x"']
    assert kept.rows() == rows


@pytest.mark.parametrize("name", [".state.json", ".sealed", ".backfill"])
def test_what_a_newer_version_wrote_is_told_and_left_alone(kept: Kept, name: str) -> None:
    path = kept.data / name
    if path.is_dir():
        path = next(path.glob(f"location_{kept.here}.*"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 9}))
    assert (kept.name(path), "newer_version") in kept.rules()
    before = kept.bytes()
    with suppress(FatalError):
        kept.repair()
    assert kept.bytes() == before


def test_a_lost_line_among_the_rejects_costs_no_other(kept: Kept) -> None:
    path = kept.data / "rejects" / f"location_{kept.here}.jsonl"
    good = path.read_bytes()
    path.write_bytes(b"\xff broken\n" + good)
    assert kept.rules() == {(kept.name(path), "damaged_file")}
    kept.repair()
    assert path.read_bytes() == good


def test_half_written_files_and_what_is_kept_aside_are_told_and_only_the_halves_go(kept: Kept) -> None:
    halves = [files.temporary_of(path) for path in (kept.live, kept.year_file(), kept.seal, kept.data / ".state.json")]
    for path in halves:
        path.write_bytes(b"half")
    kept_aside = files.keep_aside(kept.live, datetime.now(UTC))
    found = verify(kept.data)
    assert found.sound
    told = {(finding.file, finding.rule) for finding in found.findings}
    assert told >= {(kept.name(path), "left_behind") for path in halves} | {(kept_aside.name, "set_aside")}
    assert len(kept.repair()) == len(halves)
    assert not any(path.exists() for path in halves)
    assert kept_aside.exists()


def test_what_a_start_tries_the_folder_out_with_is_not_taken_away_under_it(kept: Kept) -> None:
    with locks.probing(kept.data) as probe:
        half = files.temporary_of(probe)
        half.write_bytes(b"")
        repair = threading.Thread(target=kept.repair)
        repair.start()
        repair.join(1)
        assert half.exists()
    repair.join()
    assert not half.exists()


def test_what_is_not_ours_in_the_history_is_told_and_left_alone(kept: Kept) -> None:
    strangers = [
        kept.year_file().with_name("copy.parquet"),
        kept.data / "history" / "location_id=x",
        kept.data / "history" / "a.txt",
    ]
    for path in strangers:
        path.write_bytes(b"mine")
    found = verify(kept.data)
    assert {(finding.file, finding.rule) for finding in found.findings if finding.severity == "warning"} == {
        (kept.name(path), "foreign_file") for path in strangers
    }
    assert found.sound
    kept.repair()
    assert all(path.read_bytes() == b"mine" for path in strangers)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_no_damaged_one(kept: Kept) -> None:
    kept.year_file().chmod(0)
    assert {rule for _, rule in kept.rules()} == {"unreadable_file"}
