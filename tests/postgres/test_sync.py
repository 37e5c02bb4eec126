"""The copy equals the files, and costs what is new."""

from __future__ import annotations

import os
import shutil
import threading
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openaq_pipeline import mirror
from openaq_pipeline.columns import to_table
from openaq_pipeline.mirror import after_run, sync_all
from openaq_pipeline.model import Change, FileMark, Measurement, file_order
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.postgres import files, sink
from openaq_pipeline.storage.postgres.text import Block, block_of_batch, blocks_of_rows
from tests.measurements import measurement
from tests.often import examples
from tests.postgres.copies import Copy, by_key
from tests.postgres.folders import END, SEEN, location, rows, seal, write_history, write_live, write_locations
from tests.postgres.server import Server

PAST = rows(datetime(2025, 12, 31, tzinfo=UTC), 48)
LIVE = rows(END, 30)


@pytest.fixture
def filled(copy: Copy) -> Copy:
    """A copy of a location with history and a live file, in step with them."""
    write_history(copy.folder, 7, PAST, END)
    write_live(copy.folder, 7, LIVE)
    assert copy.sync().complete
    return copy


def changed(copy: Copy, live: list[Measurement], since: datetime) -> Change:
    """Write a location's file as a poll does, and return what it would say of that."""
    store = LocationFiles(copy.folder)
    before = store.mark(7)
    with store.lock(7):
        after = store.replace_tail(7, since, sorted((row for row in live if row.datetime >= since), key=file_order))
    return Change(before, after, since)


def test_a_fresh_database_holds_every_row_of_the_files_as_it_is_there(copy: Copy) -> None:
    write_history(copy.folder, 7, PAST, END)
    write_live(copy.folder, 7, LIVE)
    write_live(copy.folder, 8, others := rows(END, 3, location_id=8, sensors=[81]))
    report = copy.sync()
    assert report.complete
    assert (report.rows, report.written) == (159, 159)
    assert copy.rows() == by_key(PAST, LIVE, others)


def test_a_second_sync_sends_nothing(filled: Copy) -> None:
    before = filled.versions()
    report = filled.sync()
    assert (report.complete, report.rows, report.written) == (True, 0, 0)
    assert filled.versions() == before


def test_files_that_were_written_anew_with_the_same_rows_cost_no_write(filled: Copy) -> None:
    before = filled.versions()
    write_history(filled.folder, 7, PAST, END)
    write_live(filled.folder, 7, LIVE)
    report = filled.sync()
    assert (report.rows, report.written) == (156, 0)
    assert filled.versions() == before
    assert filled.sync().rows == 0, "the new marks are known now"


def test_revised_rows_are_updated_late_ones_added_and_no_other_is_touched(filled: Copy) -> None:
    before = filled.versions()
    late = measurement(3.0, datetime(2026, 1, 1, 0, 30, tzinfo=UTC), first_seen=SEEN, sensors_id=71)
    past = [msgspec.structs.replace(PAST[5], value=None, issues=("gap", 'a "quoted", one')), *PAST[:5], *PAST[6:], late]
    live = [msgspec.structs.replace(LIVE[0], has_flags=True), *LIVE[1:]]
    write_history(filled.folder, 7, past, END)
    write_live(filled.folder, 7, live)
    assert filled.sync().written == 3
    assert filled.rows() == by_key(past, live)
    assert len(set(before) - set(filled.versions())) == 2


@pytest.mark.parametrize(
    "field",
    [
        name
        for name in Measurement.__struct_fields__
        if name not in {"sensors_id", "datetime", "first_seen", "location_id"}
    ],
)
def test_a_difference_in_any_field_is_a_revision(copy: Copy, field: str) -> None:
    other = {"parameters_id": None, "value": 2.5, "interval_seconds": 900, "has_flags": None, "issues": ("gap",)}
    row = LIVE[0]
    write_live(copy.folder, 7, [row])
    copy.sync()
    write_live(copy.folder, 7, [revised := msgspec.structs.replace(row, **{field: other.get(field, "api" * 2)})])
    if field == "source":
        write_live(copy.folder, 7, [revised := msgspec.structs.replace(row, source="latest")])
    assert copy.sync().written == 1
    assert copy.rows() == [revised]


def test_when_rows_were_first_seen_is_no_revision(filled: Copy) -> None:
    write_live(filled.folder, 7, [msgspec.structs.replace(row, first_seen=SEEN + timedelta(days=1)) for row in LIVE])
    assert filled.sync().written == 0


def test_what_lies_on_the_wrong_side_of_the_seal_is_never_sent(copy: Copy) -> None:
    left_over = rows(END - timedelta(hours=5), 5, value=900.0)
    write_history(copy.folder, 7, [*PAST, *rows(END, 5, value=800.0)], END)
    write_live(copy.folder, 7, [*left_over, *LIVE])
    assert copy.sync().complete
    assert copy.rows() == by_key(PAST, LIVE)


def test_history_without_a_seal_counts_for_nothing(copy: Copy) -> None:
    write_history(copy.folder, 7, rows(END - timedelta(hours=5), 5, value=900.0), END)
    (copy.folder / ".sealed/location_7.json").unlink()
    write_live(copy.folder, 7, LIVE)
    copy.sync()
    assert copy.rows() == by_key(LIVE)


def test_rows_that_move_to_history_stay_and_each_is_there_once(filled: Copy) -> None:
    end = datetime(2026, 11, 1, tzinfo=UTC)
    newest = rows(end, 2)
    write_history(filled.folder, 7, [*PAST, *LIVE], end)
    write_live(filled.folder, 7, newest)
    assert filled.sync().written == len(newest)
    assert filled.rows() == by_key(PAST, LIVE, newest)


def test_rows_that_were_revised_as_they_moved_to_a_year_that_is_new_are_updated(copy: Copy) -> None:
    write_live(copy.folder, 7, LIVE)
    copy.sync()
    moved = [*LIVE[:-1], msgspec.structs.replace(LIVE[-1], value=77.0), *rows(END + timedelta(days=3), 1)]
    write_history(copy.folder, 7, moved, datetime(2026, 11, 1, tzinfo=UTC))
    write_live(copy.folder, 7, [])
    assert copy.sync().written == 3
    assert copy.rows() == by_key(moved)


def test_rows_of_a_new_year_that_are_there_in_part_are_all_there_afterwards(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK_ROWS", 10)
    write_live(copy.folder, 7, LIVE[25:35])
    copy.sync()
    write_history(copy.folder, 7, LIVE, datetime(2026, 11, 1, tzinfo=UTC))
    assert copy.sync().written == 50
    assert copy.rows() == by_key(LIVE)


def test_of_a_file_that_is_damaged_in_its_middle_nothing_is_written(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK_ROWS", 10)

    def broken(location_id: int, batch: pa.RecordBatch, end: datetime) -> Block:
        if batch["sensors_id"][0].as_py() != 71:
            raise pa.ArrowInvalid("made on purpose")
        return real(location_id, batch, end)

    real = files._block
    write_history(copy.folder, 7, PAST, END)
    with monkeypatch.context() as patch:
        patch.setattr(files, "_block", broken)
        assert len(copy.sync().problems) == 2
    assert copy.ask("SELECT count(*) FROM openaq.measurements") == [(0,)]
    assert copy.ask("SELECT count(*) FROM openaq.sync_marks") == [(0,)]
    assert copy.sync().complete
    assert copy.rows() == by_key(PAST)


def test_rows_that_count_only_once_the_seal_moves_are_sent_then(copy: Copy) -> None:
    end = datetime(2026, 11, 1, tzinfo=UTC)
    write_history(copy.folder, 7, [*PAST, *LIVE], END)
    copy.sync()
    assert copy.rows() == by_key(PAST)
    seal(copy.folder, 7, end)
    copy.sync()
    assert copy.rows() == by_key(PAST, LIVE)
    assert copy.sync().rows == 0


def test_after_a_poll_only_what_it_changed_is_sent(filled: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = spied(monkeypatch)
    live = [*LIVE, *rows(END + timedelta(hours=30), 2)]
    change = changed(filled, live, END + timedelta(hours=28))
    assert after_run(filled.settings, {7: change}) is None
    assert filled.rows() == by_key(PAST, live)
    assert (reports[-1].rows, reports[-1].written) == (8, 4)


def test_what_somebody_else_changed_meanwhile_is_sent_as_well(filled: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = spied(monkeypatch)
    backfilled = [*LIVE, *rows(END + timedelta(minutes=30), 1)]
    live = [*backfilled, *rows(END + timedelta(hours=30), 2)]
    change = changed(filled, [*LIVE, *live[-4:]], END + timedelta(hours=28))
    changed(filled, live, END)  # a backfill, after the poll
    assert after_run(filled.settings, {7: change}) is None
    assert filled.rows() == by_key(PAST, live)
    before = changed(filled, live[1:], END)  # and one in front of a poll
    change = changed(filled, [*live[1:], *rows(END + timedelta(hours=40), 1)], END + timedelta(hours=40))
    assert before.after == change.before
    after_run(filled.settings, {7: change})
    assert reports[-1].rows == len(live) - 1 + 2, "the whole file, since the database knew an older one"


def test_two_changes_of_a_poll_are_one(filled: Copy) -> None:
    more, most = [*LIVE, *rows(END + timedelta(hours=30), 2)], [*LIVE, *rows(END + timedelta(hours=30), 4)]
    change = changed(filled, more, END + timedelta(hours=25)).then(changed(filled, most, END + timedelta(hours=32)))
    assert change is not None
    assert change.since == END + timedelta(hours=25)
    assert after_run(filled.settings, {7: change}) is None
    assert filled.rows() == by_key(PAST, most)


def spied(monkeypatch: pytest.MonkeyPatch) -> list[mirror.MirrorReport]:
    """Keep what each sync reports."""
    kept: list[mirror.MirrorReport] = []
    real = mirror._sync

    def sync(*arguments: object, **more: object) -> mirror.MirrorReport:
        kept.append(real(*arguments, **more))  # type: ignore[arg-type]
        return kept[-1]

    monkeypatch.setattr(mirror, "_sync", sync)
    return kept


def test_a_damaged_year_is_named_and_passed_over(filled: Copy) -> None:
    write_history(filled.folder, 7, past := [*PAST, *rows(datetime(2024, 5, 1, tzinfo=UTC), 4)], END)
    broken = filled.folder / "history/location_id=7/year=2025/measurements.parquet"
    body = bytearray(broken.read_bytes())
    body[60:90] = bytes(30)
    broken.write_bytes(body)
    report = filled.sync()
    assert len(report.problems) == 1
    assert str(broken) in report.problems[0]
    assert filled.rows() == by_key(past, LIVE), "2024 and 2026 were sent"
    assert len(filled.sync().problems) == 1, "it is looked at again"
    assert "year=2025" in str(after_run(filled.settings, {}))


@pytest.mark.parametrize("cut", [1, 3, 500])
def test_a_damaged_live_file_is_named_and_nothing_of_it_is_sent(copy: Copy, cut: int) -> None:
    write_live(copy.folder, 7, LIVE)
    write_live(copy.folder, 8, others := rows(END, 3, location_id=8, sensors=[81]))
    path = copy.folder / "location_7.json"
    path.write_bytes(path.read_bytes()[:-cut])
    report = copy.sync()
    assert str(path) in report.problems[0]
    assert copy.rows() == by_key(others)


def test_a_damaged_seal_is_named_and_stops_no_other_location(copy: Copy) -> None:
    write_history(copy.folder, 7, PAST, END)
    write_live(copy.folder, 8, others := rows(END, 3, location_id=8, sensors=[81]))
    (copy.folder / ".sealed/location_7.json").write_text("{")
    assert ".sealed" in copy.sync().problems[0]
    assert copy.rows() == by_key(others)


def test_rows_that_postgresql_can_not_hold_are_the_problem_of_their_file(copy: Copy) -> None:
    write_live(copy.folder, 7, [msgspec.structs.replace(LIVE[0], interval_seconds=2**40)])
    write_live(copy.folder, 8, others := rows(END, 3, location_id=8, sensors=[81]))
    assert "out of range" in copy.sync().problems[0]
    assert copy.rows() == by_key(others)
    assert [row[0] for row in copy.ask("SELECT location_id FROM openaq.sync_marks")] == [8]


def test_two_syncs_at_once_write_every_row_once(copy: Copy) -> None:
    for number in range(1, 9):
        write_history(copy.folder, number, rows(PAST[0].datetime, 40, location_id=number, sensors=[number]), END)
    written: list[int] = []
    threads = [threading.Thread(target=lambda: written.append(sync_all(copy.settings).written)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(written) == 8 * 40
    assert len(written) == 3
    assert copy.ask("SELECT count(*) FROM openaq.measurements") == [(320,)]


def test_a_location_that_another_sync_holds_is_named_and_the_others_go_on(
    copy: Copy, cluster: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "HOLD_SECONDS", 0.3)
    write_live(copy.folder, 7, LIVE)
    write_live(copy.folder, 8, others := rows(END, 3, location_id=8, sensors=[81]))
    with psycopg.connect(cluster.dsn(copy.name), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s, 7)", [sink.LOCK_CLASS])
        assert copy.sync().problems == ("Another sync works on location 7 in PostgreSQL. Let it end, then sync again.",)
    assert copy.rows() == by_key(others)
    assert copy.sync().complete
    assert copy.rows() == by_key(LIVE, others)


def test_locations_and_their_sensors_are_described_as_in_their_file(copy: Copy) -> None:
    write_locations(copy.folder, location(7), location(8, None, [81]))
    copy.sync()
    write_locations(copy.folder, msgspec.structs.replace(location(7, "New name"), fetched=SEEN + timedelta(days=1)))
    assert copy.sync().complete
    assert copy.ask("SELECT location_id, name, country_code, licenses FROM openaq.locations ORDER BY 1") == [
        (7, "New name", "NP", []),
        (8, None, "NP", []),
    ]
    assert copy.ask("SELECT sensors_id, location_id, parameter FROM openaq.sensors ORDER BY 1") == [
        (71, 7, "pm25"),
        (72, 7, "pm25"),
        (81, 8, "pm25"),
    ]


def test_only_what_was_asked_anew_is_described_again(copy: Copy) -> None:
    write_locations(copy.folder, location(7), location(8, None, [81]))
    sync_all(copy.settings)
    copy.do("UPDATE openaq.locations SET name = 'as it was'")
    later = msgspec.structs.replace(location(8, "New name", [81, 82]), fetched=SEEN + timedelta(days=1))
    write_locations(copy.folder, location(7), later)
    sync_all(copy.settings)
    found = copy.ask("SELECT location_id, name FROM openaq.locations ORDER BY 1")
    assert found == [(7, "as it was"), (8, "New name")]
    assert (82,) in copy.ask("SELECT sensors_id FROM openaq.sensors")


def test_whoever_was_sent_longest_ago_comes_first(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    for location_id in (7, 8, 9):
        write_live(copy.folder, location_id, rows(END, 2, location_id=location_id, sensors=[location_id]))
    sync_all(copy.settings)
    for location_id in (9, 7, 8):
        write_live(copy.folder, location_id, rows(END, 3, location_id=location_id, sensors=[location_id]))
    reports = spied(monkeypatch)
    os.utime(copy.folder / "location_8.json", (1, 1))
    sync_all(copy.settings)
    write_live(copy.folder, 6, rows(END, 2, location_id=6, sensors=[6]))
    after_run(copy.settings, {})
    assert [done.location_id for done in reports[-1].locations] == [6, 8, 9, 7]


def test_each_month_has_a_partition_and_absurd_stamps_have_one_on_either_side(copy: Copy) -> None:
    stamps = [(1, 1, 1), (1969, 12, 31), (1970, 1, 1), (2024, 2, 29), (2024, 12, 31), (2099, 12, 1), (9999, 12, 31)]
    live = [measurement(1.0, datetime(*day, tzinfo=UTC), first_seen=SEEN) for day in stamps]
    write_live(copy.folder, 7, live)
    assert copy.sync().problems == ()
    assert copy.rows() == by_key(live)
    assert [
        name for (name,) in copy.ask("SELECT tableoid::regclass::text FROM openaq.measurements ORDER BY datetime")
    ] == [
        f"openaq.measurements_{name}"
        for name in ("before_1970", "before_1970", "1970_01", "2024_02", "2024_12", "2099_12", "from_2100")
    ]


def test_absurd_stamps_in_history_are_sent_as_well(copy: Copy) -> None:
    past = [measurement(1.0, datetime(year, 1, 1, tzinfo=UTC), first_seen=SEEN) for year in (1, 999, 1969, 2024)]
    write_history(copy.folder, 7, past, END)
    assert copy.sync().problems == ()
    assert copy.rows() == by_key(past)


def test_the_daily_view_gives_figures_by_the_day_of_the_stamp(copy: Copy) -> None:
    odd = msgspec.structs.replace(LIVE[2], value=None, issues=("gap",))
    write_live(copy.folder, 7, [*LIVE[:2], odd, *rows(END + timedelta(days=1), 1)])
    copy.sync()
    found = copy.ask("""SELECT day::text, mean, minimum, maximum, "values", rows, rows_with_issues
                        FROM openaq.measurements_daily WHERE sensors_id = 71 ORDER BY day""")
    assert [(day[:10], *rest) for day, *rest in found] == [
        ("2026-10-01", 1.0, 1.0, 1.0, 1, 2, 1),
        ("2026-10-02", 1.0, 1.0, 1.0, 1, 1, 0),
    ]


TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(TEXT, TEXT, TEXT),
    st.lists(TEXT, max_size=3),
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    st.datetimes(timezones=st.just(UTC)),
)
def test_any_text_and_any_number_arrive_as_they_are_from_either_kind_of_file(
    copy: Copy, texts: tuple[str, str, str], issues: list[str], value: float | None, stamp: datetime
) -> None:
    row = msgspec.structs.replace(
        LIVE[0],
        parameter=texts[0],
        units=texts[1],
        datetime_local=texts[2],
        issues=tuple(issues),
        value=value,
        datetime=stamp,
    )
    (block,) = blocks_of_rows([row])
    assert block_of_batch(7, to_table([row]).to_batches()[0]).months == block.months
    write_live(copy.folder, 7, [row])
    copy.sync()
    expected = msgspec.convert(without_nul(msgspec.to_builtins(row)), Measurement)
    assert copy.rows() == [expected]
    write_history(copy.folder, 7, [row], datetime.max.replace(tzinfo=UTC))
    report = copy.sync()
    assert (report.problems, report.written) == ((), 0), "the text from Parquet says the same"
    shutil.rmtree(copy.folder)
    copy.do("TRUNCATE openaq.measurements, openaq.sync_marks")


def without_nul(value: object) -> object:
    """The one character that PostgreSQL does not take is replaced."""
    if isinstance(value, dict):
        return {name: without_nul(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nul(item) for item in value]
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def test_a_mark_is_of_the_version_that_was_read(filled: Copy) -> None:
    stat = (filled.folder / "location_7.json").stat()
    size, mtime = filled.ask("SELECT size_bytes, mtime_ns FROM openaq.sync_marks WHERE part = 'live'")[0]
    assert FileMark(size, mtime) == FileMark(stat.st_size, stat.st_mtime_ns)
