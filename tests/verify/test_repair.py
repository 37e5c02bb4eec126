"""How a repair goes about it: what it keeps, what it asks and what it says; killed, it is taken up again."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from openaq_pipeline import files, locks
from openaq_pipeline.backfill import backfill
from openaq_pipeline.errors import Stopped
from openaq_pipeline.model import ArchiveStamp, Window
from openaq_pipeline.repair import repair
from openaq_pipeline.run import run_once
from openaq_pipeline.settings import ArchiveSettings, Settings
from openaq_pipeline.storage import history, locations, owed, progress, sealed
from openaq_pipeline.storage.history import WRITING, History
from openaq_pipeline.storage.ledgers import Ledgers
from openaq_pipeline.storage.owed import Owed
from openaq_pipeline.storage.progress import Progress
from openaq_pipeline.verify import verify
from openaq_pipeline.wiring import Stop, utc_now
from tests.crashing import Crash, Crashing
from tests.verify.conftest import Kept

Damage = Callable[[Kept], None]


def keyless(settings: Settings) -> Settings:
    return settings.model_copy(update={"api": settings.api.model_copy(update={"api_key": None})})


def cut_year(kept: Kept) -> None:
    path = kept.year_file()
    path.write_bytes(path.read_bytes()[:-1000])


def cut_live(kept: Kept) -> None:
    kept.live.write_bytes(kept.live.read_bytes()[:-5000])


def lose_seal(kept: Kept) -> None:
    kept.seal.write_bytes(b"")


def everything(kept: Kept) -> None:
    cut_year(kept)
    cut_live(kept)
    lose_seal(kept)
    newest = kept.year_file(kept.years[-1])
    newest.write_bytes(b"PAR1" + newest.read_bytes()[:500])


@pytest.mark.parametrize("whole_folder", [True, False])
@pytest.mark.parametrize("place", [0, -1])
def test_a_year_that_is_gone_is_missed_and_fetched_again(kept: Kept, place: int, *, whole_folder: bool) -> None:
    before, path = kept.facts(), kept.year_file(kept.years[place])
    shutil.rmtree(path.parent) if whole_folder else path.unlink()
    assert kept.rules() == {(kept.name(path), "missing_year")}
    mended = kept.repair()
    assert all(one.complete for one in mended), mended
    assert mended[0].what == "it is gone; its rows are fetched again"
    assert kept.errors() == []
    assert kept.facts() == before


def test_a_year_of_which_openaq_has_nothing_any_more_is_told_once_and_then_given_up(kept: Kept, tmp_path: Path) -> None:
    kept.year_file().unlink()
    (tmp_path / "empty").mkdir()
    nothing = keyless(kept.settings).model_copy(update={"archive": ArchiveSettings(location=str(tmp_path / "empty"))})
    mended = kept.repair(nothing)
    assert [one.what for one in mended if not one.complete] == ["nothing of it was to be had again"]
    assert kept.errors() == []
    assert kept.repair(nothing) == ()


def test_a_history_of_before_years_were_noted_is_sound_and_notes_them_with_the_next_write(kept: Kept) -> None:
    noted = sealed.years(kept.data, kept.here)
    to = sealed.sealed_to(kept.data, kept.here)
    assert to is not None
    assert sorted(noted) == kept.years
    kept.seal.write_text(f'{{"version":1,"sealed_to":"{to:%Y-%m-%dT%H:%M:%SZ}"}}\n')
    assert kept.errors() == []
    store = History(kept.data)
    with locks.hold_location(kept.data, kept.here):
        store.write(kept.here, kept.years[0], store.year(kept.here, kept.years[0]), None)
    assert sealed.years(kept.data, kept.here) == {kept.years[0]: noted[kept.years[0]]}
    with locks.hold_location(kept.data, kept.here):
        locations.LocationFiles(kept.data).seal(kept.here, to)
    assert sealed.years(kept.data, kept.here) == noted


def test_a_ledger_that_is_damaged_is_set_aside(kept: Kept) -> None:
    path = Ledgers(kept.data).path(kept.here)
    path.parent.mkdir()
    path.write_bytes(b"{")
    assert kept.rules() == {(kept.name(path), "damaged_file")}
    assert all(one.complete for one in kept.repair())
    assert kept.errors() == []


def test_rows_in_the_parts_of_a_file_that_are_whole_are_kept_as_they_were(kept: Kept) -> None:
    path, year = kept.year_file(), kept.years[0]
    table = History(kept.data).year(kept.here, year)
    notes = pq.read_metadata(path).metadata
    with pq.ParquetWriter(path, table.schema, **WRITING) as writer:
        writer.write_table(table, row_group_size=1000)
        writer.add_key_value_metadata({key: notes[key] for key in notes if key.startswith(b"openaq")})
    assert verify(kept.data).sound
    rows = kept.rows()
    second = pq.read_metadata(path).row_group(1).column(4)
    body = bytearray(path.read_bytes())
    body[second.data_page_offset + second.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(body)
    mended = [one.what for one in kept.repair()]
    assert f"{table.num_rows - 1000:,} of {table.num_rows:,} rows in it could be read and stay" in mended[0]
    assert mended[1].startswith("1,000 rows were fetched again")
    assert kept.errors() == []
    assert len(set(map(repr, rows)) & set(map(repr, kept.rows()))) == len(rows) - 1000


def test_a_column_of_mere_facts_that_is_lost_takes_no_row_with_it(kept: Kept) -> None:
    path = kept.year_file()
    lost = pq.read_metadata(path).row_group(0).column(7)
    assert lost.path_in_schema == "interval_seconds"
    body = bytearray(path.read_bytes())
    body[lost.dictionary_page_offset + lost.total_compressed_size - 1] ^= 0xFF
    path.write_bytes(body)
    total = pq.read_metadata(path).num_rows
    mended = [one.what for one in kept.repair(keyless(kept.settings))]
    assert f"{total:,} of {total:,} rows in it could be read and stay" in mended[0]
    assert kept.errors() == []


@pytest.mark.parametrize("damage", [lose_seal, everything])
def test_a_repair_that_is_killed_before_any_of_its_writes_loses_nothing_and_is_taken_up_again(
    kept: Kept, damage: Damage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rows = kept.facts()
    damage(kept)
    crashing = crashing_repair(monkeypatch)
    shutil.copytree(kept.data, tmp_path / "damaged")
    # All three at once are many writes: each of them with `--long`, else each seventh from one that chance chooses.
    step = 7 if damage is everything and not request.config.option.long else 1
    for writes in range(random.randrange(step), 1000, step):
        shutil.rmtree(kept.data)
        shutil.copytree(tmp_path / "damaged", kept.data)
        crashing.countdown = writes
        with suppress(Crash):
            kept.repair()
        killed, crashing.countdown = crashing.countdown < 0, None
        assert kept.errors() or kept.facts() == rows, f"killed in front of write {writes}, nobody knows what is missing"
        kept.repair()
        assert kept.errors() == []
        assert kept.facts() == rows
        if not killed:
            break
    assert writes >= 4


def crashing_repair(monkeypatch: pytest.MonkeyPatch) -> Crashing:
    """Files that are replaced, kept or removed up to a number of times, and then the process is gone."""
    crashing = Crashing(monkeypatch, (history, locations, sealed, owed, progress))
    for name in ("keep_aside", "keep_elsewhere", "remove_durably"):
        monkeypatch.setattr(files, name, crashing.counted(getattr(files, name)))
    monkeypatch.setattr(owed, "remove_durably", files.remove_durably)
    monkeypatch.setattr(locations, "keep_aside", files.keep_aside)
    return crashing


def test_without_a_key_the_archive_gives_what_is_old_enough_and_the_rest_is_said_to_be_missing(kept: Kept) -> None:
    rows = kept.facts()
    cut_year(kept)
    cut_live(kept)
    mended = kept.repair(keyless(kept.settings))
    assert any("rows were fetched again" in one.what and not one.complete for one in mended)
    assert any("OPENAQ_API_KEY is not set" in one.what for one in mended)
    name = kept.name(Owed(kept.data).path(kept.here))
    assert kept.rules() == {(name, "unfinished_repair")}
    assert len(kept.facts()) < len(rows)
    assert all(one.complete for one in kept.repair())
    assert kept.errors() == []
    assert kept.facts() == rows


def test_without_a_key_a_year_that_the_archive_has_is_whole_again(kept: Kept) -> None:
    rows = kept.facts()
    cut_year(kept)
    assert all(one.complete for one in kept.repair(keyless(kept.settings)))
    assert kept.errors() == []
    assert kept.facts() == rows


def test_while_openaq_can_not_be_reached_what_is_missing_is_not_forgotten(kept: Kept) -> None:
    rows = kept.facts()
    cut_live(kept)
    away = kept.settings.model_copy(
        update={"api": kept.settings.api.model_copy(update={"base_url": "http://127.0.0.1:9/v3"})}
    )
    assert not all(one.complete for one in kept.repair(away))
    assert {rule for _, rule in kept.rules()} == {"unfinished_repair"}
    assert all(one.complete for one in kept.repair())
    assert kept.facts() == rows


def test_what_openaq_has_no_more_is_said_to_be_gone(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    poorer = kept.settings.model_copy(update={"archive": ArchiveSettings(location=str(tmp_path / "none"))})
    path, year = kept.year_file(), kept.years[0]
    total = pq.read_metadata(path).num_rows
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0xFF
    path.write_bytes(body)
    mended = kept.repair(keyless(poorer))
    assert [one.what for one in mended if not one.complete] == [
        f"0 of the {total:,} rows it had are there; the others were not to be had again"
    ]
    assert kept.errors() == []
    assert year not in kept.years


def test_with_a_key_the_api_is_asked_for_what_the_archive_has_not_or_when_it_is_out_of_reach(
    kept: Kept, tmp_path: Path
) -> None:
    rows = kept.facts()
    (tmp_path / "none").mkdir()
    for archive in (
        ArchiveSettings(location=str(tmp_path / "none")),
        ArchiveSettings(location=str(tmp_path / "nowhere")),
        ArchiveSettings(endpoint="http://127.0.0.1:9"),
    ):
        cut_year(kept)
        poorer = kept.settings.model_copy(update={"archive": archive})
        assert all(one.complete for one in kept.repair(poorer))
        assert kept.errors() == []
        assert kept.facts() == rows


def test_days_noted_as_stored_are_fetched_again(kept: Kept) -> None:
    span = Window(utc_now() - timedelta(days=400), utc_now())
    alone = kept.settings.model_copy(update={"locations": [kept.here]})
    assert backfill(alone, span, source="archive").complete
    noted = Progress(kept.data).stored_files(kept.here)
    rows = kept.facts()
    cut_year(kept)
    assert all(one.complete for one in kept.repair())
    assert kept.facts() == rows
    again, year = Progress(kept.data).stored_files(kept.here), kept.years[0]
    around = {f"{year}-12-31", *(f"{year + 1}-01-{day:02}" for day in (1, 2))}  # only in part of that year: read anew
    whole = {day: stamp for day, stamp in noted.items() if stamp.part is None and day not in around}
    assert whole
    assert whole.items() <= again.items()


def test_only_what_lies_in_a_range_is_forgotten_of_the_progress_of_backfills(kept: Kept) -> None:
    store = Progress(kept.data)
    stamp = ArchiveStamp(1, datetime(2024, 1, 1, tzinfo=UTC))
    year = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    store.stored(9, ((day, stamp) for day in ("2023-12-30", "2023-12-31", "2024-06-01", "2025-01-02", "2025-01-03")))
    store.reached(9, Window(year.start - timedelta(days=9), year.start), {1: year.start})
    store.reached(9, year, {2: year.end - timedelta(days=300)})
    store.forget(9, year)
    assert store.stored_files(9).keys() == {"2023-12-30", "2025-01-03"}
    assert store.rest(9, 2, year) == year
    assert store.rest(9, 1, Window(year.start - timedelta(days=9), year.start)) is None


def test_a_repair_and_polls_go_on_side_by_side(kept: Kept) -> None:
    rows = kept.facts()
    cut_year(kept)
    done = threading.Event()
    reports = []

    def poll() -> None:
        while not done.is_set():
            reports.append(run_once(kept.settings))

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        assert all(one.complete for one in kept.repair())
    finally:
        done.set()
        thread.join()
    assert reports
    assert all(report.complete for report in reports)
    assert kept.errors() == []
    assert set(kept.facts()) >= set(rows)


def test_a_repair_that_is_asked_to_end_ends_and_leaves_what_is_left_to_the_next(kept: Kept) -> None:
    cut_year(kept)
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        repair(kept.settings, verify(kept.data), stop=stop)
    assert kept.errors()


def test_nothing_is_asked_where_nothing_is_lost(kept: Kept) -> None:
    lose_seal(kept)
    before = kept.simulator.requests.total
    kept.repair()
    assert kept.simulator.requests.total == before
