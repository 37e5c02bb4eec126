"""What an audit finds in a data folder: every row that is missing, on its day, and none that is not."""

from __future__ import annotations

import random
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openaq_pipeline.audit import audit
from openaq_pipeline.errors import ConfigError, Stopped
from openaq_pipeline.locks import hold_location
from openaq_pipeline.model import Measurement, Reject
from openaq_pipeline.settings import ArchiveSettings, ValidationSettings
from openaq_pipeline.storage.ledgers import Ledgers
from openaq_pipeline.storage.rejects import Rejects
from openaq_pipeline.storage.sealed import sealed_to
from openaq_pipeline.storage.state import StateFile
from openaq_pipeline.wiring import Stop, utc_now
from tests.archive_files import archive_path, local_day, write_archive
from tests.audit.conftest import days_of, lacking, look, lose
from tests.verify.conftest import Kept

DAY = timedelta(days=1)


def archive(kept: Kept, tmp_path: Path) -> tuple[Kept, Path]:
    """A copy of the archive that a test may change."""
    folder = tmp_path / "archive"
    shutil.copytree(kept.settings.archive.location, folder)
    own = kept.settings.model_copy(update={"archive": ArchiveSettings(location=str(folder))})
    return kept._replace(settings=own), folder


def a_day_ago(kept: Kept, days: int) -> date:
    return local_day(max(kept.rows(), key=lambda row: row.datetime)) - days * DAY


def test_a_whole_copy_is_whole_and_the_next_look_reads_no_file_of_the_archive(kept: Kept) -> None:
    found = audit(kept.settings)
    assert found.is_whole
    assert {kind for kind, days in found.days.items() if days} == {"complete", "not_due"}
    assert found.lacked == 0
    first = look(kept)
    assert first.files == 0
    assert (first.first, first.sensors) == (local_day(kept.rows()[0]), 2)
    assert sum(first.days.values()) == 2 * ((first.last or date.min) - (first.first or date.max)).days + 2
    assert audit(kept.settings) == audit(kept.settings)


def test_without_memory_all_is_found_again(kept: Kept) -> None:
    lose(kept, lambda row: row.datetime.day == 17)
    first = look(kept)
    place = Ledgers(kept.data).path(kept.here)
    for damage in (b"", b"{}", place.read_bytes()[:-100], place.read_bytes().replace(b'"kinds":"', b'"kinds":"c', 1)):
        place.write_bytes(damage)
        again = look(kept)
        assert msgspec.structs.replace(again, files=0) == msgspec.structs.replace(first, files=0)
        assert again.files > 400


def test_nothing_but_the_ledger_is_written(kept: Kept) -> None:
    before = kept.bytes()
    look(kept)
    after = kept.bytes()
    assert {name for name in after if before.get(name) != after[name]} == {
        f".audit/location_{place}.json" for place in (kept.here, kept.there)
    }


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("whole_folder", [True, False])
@pytest.mark.parametrize("place", [0, -1])
def test_a_year_file_that_was_deleted_while_its_seal_stands_is_found(
    kept: Kept, place: int, *, whole_folder: bool, remembered: bool
) -> None:
    if remembered:
        look(kept)
    year = kept.years[place]
    to = sealed_to(kept.data, kept.here)
    assert to is not None
    lost = [row for row in kept.rows() if row.datetime.year == year and row.datetime < to]
    path = kept.year_file(year)
    shutil.rmtree(path.parent) if whole_folder else path.unlink()
    found = look(kept)
    assert not found.is_whole
    assert found.lacked == len(lost)
    assert lacking(found.of("our_gap")) == set(days_of(lost))
    assert {(gap.parameter, gap.units) for gap in found.of("our_gap")} == {("pm25", "µg/m³"), ("pm10", "µg/m³")}


@pytest.mark.parametrize("file", ["year", "live"])
def test_a_file_in_the_place_of_which_an_old_backup_was_put_is_found(kept: Kept, file: str) -> None:
    before = kept.rows()
    cut = (datetime(2026, 3, 5, tzinfo=UTC) if file == "year" else utc_now() - 20 * DAY).replace(minute=0)
    backup = kept.year_file(kept.years[-1]) if file == "year" else kept.live
    lose(kept, lambda row: row.datetime > cut)
    old = backup.read_bytes()
    _restore(kept, before)
    assert look(kept).is_whole
    backup.write_bytes(old)
    found = look(kept)
    gone = set(before) - set(kept.rows())
    assert gone
    assert lacking(found.of("our_gap")) == set(days_of(gone))


def _restore(kept: Kept, rows: list[Measurement]) -> None:
    """Put all rows back where they were."""
    from openaq_pipeline.columns import to_table  # noqa: PLC0415
    from openaq_pipeline.commit.across import commit_across  # noqa: PLC0415
    from openaq_pipeline.quality.rules import Judge  # noqa: PLC0415
    from openaq_pipeline.storage.locations import LocationFiles  # noqa: PLC0415

    with hold_location(kept.data, kept.here):
        judge = Judge(ValidationSettings())
        commit_across(kept.here, to_table(rows), files=LocationFiles(kept.data), judge=judge, licenses=None)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_whatever_rows_are_lost_each_is_found_on_its_day(kept: Kept, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    folder = tmp_path / f"data-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept.data, folder)
    copy = kept._replace(settings=kept.settings.model_copy(update={"data_dir": folder}))
    if draw.random() < 0.5:
        look(copy)
    share = draw.choice([0.0002, 0.01, 0.3])
    old = utc_now() - 5 * DAY
    lost = lose(copy, lambda row: row.datetime < old and draw.random() < share)
    first = min(row.datetime for row in copy.rows())
    found = look(copy)
    inside = [row for row in lost if row.datetime >= first or Ledgers(folder).path(kept.here).exists()]
    assert found.lacked == len(inside)
    assert lacking(found.of("our_gap")) == set(days_of(inside))
    assert sum(gap.rows or 0 for gap in found.of("our_gap")) == len(inside)


def test_a_day_that_looks_complete_is_our_gap_too_if_the_archive_has_one_row_more(kept: Kept, tmp_path: Path) -> None:
    kept, folder = archive(kept, tmp_path)
    day = a_day_ago(kept, 40)
    rows = [row for row in kept.rows() if local_day(row) == day]
    extra = msgspec.structs.replace(
        rows[0],
        datetime=rows[0].datetime + timedelta(minutes=7),
        datetime_local=(datetime.fromisoformat(rows[0].datetime_local) + timedelta(minutes=7)).isoformat(),
    )
    assert look(kept).is_whole
    write_archive(folder, [*rows, extra])
    found = look(kept)
    assert found.files == 1, "only what OpenAQ wrote anew is read again"
    assert [(gap.first, gap.days, gap.rows) for gap in found.of("our_gap")] == [(day, 1, 1)]


def test_what_the_archive_lacks_too_is_an_upstream_gap(kept: Kept, tmp_path: Path) -> None:
    kept, folder = archive(kept, tmp_path)
    day, silent = a_day_ago(kept, 60), a_day_ago(kept, 90)
    gone = lose(kept, lambda row: local_day(row) == silent or (local_day(row) == day and row.datetime.hour == 3))
    write_archive(folder, [row for row in kept.rows() if local_day(row) == day])
    (folder / archive_path(kept.here, silent)).unlink()
    found = look(kept)
    assert found.is_whole
    assert lacking(found.of("upstream_gap")) == set(days_of(gone))
    assert {gap.rows for gap in found.of("upstream_gap")} == {1, 24}


def test_a_row_that_was_rejected_is_not_missing_however_it_was_written_down(kept: Kept) -> None:
    day = a_day_ago(kept, 50)
    gone = lose(kept, lambda row: local_day(row) == day and row.datetime.hour < 3)
    api = '{"value": "x", "period": {"datetimeTo": {"utc": "%s", "local": "x"}}}'
    rows = [
        Reject(kept.here, row.sensors_id, "broken", text, utc_now())
        for row in gone
        for text in [
            api % row.datetime.isoformat() if row.datetime.hour else msgspec.json.encode(row).decode(),
        ]
    ]
    assert look(kept).lacked == len(gone)
    with hold_location(kept.data, kept.here):
        Rejects(kept.data).add(kept.here, rows[:-1])
    assert look(kept).lacked == 1
    with hold_location(kept.data, kept.here):
        Rejects(kept.data).add(kept.here, rows)
    found = look(kept)
    assert found.is_whole
    assert lacking(found.of("upstream_gap")) == {(sensor, day) for sensor, day in days_of(gone)}
    Rejects(kept.data).path(kept.here).unlink()
    assert look(kept).lacked == len(gone), "what was found with them is not reused without them"


def test_a_row_of_the_archive_that_would_be_rejected_is_not_missing(kept: Kept, tmp_path: Path) -> None:
    kept, folder = archive(kept, tmp_path)
    day = a_day_ago(kept, 50)
    lose(kept, lambda row: local_day(row) == day)
    rows = [row for row in kept._replace(settings=kept.settings).rows() if local_day(row) == day]
    assert not rows
    empty = [msgspec.structs.replace(row, value=None) for row in _written(folder, kept, day)]
    write_archive(folder, empty)
    assert look(kept).lacked == len(empty), "null is a value that OpenAQ may have"
    required = kept.settings.model_copy(update={"validation": ValidationSettings(required_fields=("value",))})
    found = look(kept._replace(settings=required))
    assert found.is_whole
    assert found.days["upstream_gap"] == 2


def _written(folder: Path, kept: Kept, day: date) -> list[Measurement]:
    """The rows of a day's file in the archive."""
    from openaq_pipeline.columns import to_rows  # noqa: PLC0415
    from openaq_pipeline.model import Window  # noqa: PLC0415
    from openaq_pipeline.openaq.archive import Archive  # noqa: PLC0415

    source = Archive(kept.settings.archive, folder_for_temporary=folder)
    start = datetime.combine(day, datetime.min.time(), UTC)
    files = [file for file in source.files(kept.here, Window(start - DAY, start + DAY)) if file.day == day]
    return to_rows(kept.here, source.read(kept.here, files, utc_now()).table)


def test_of_a_selection_by_parameter_only_its_sensors_are_looked_at(kept: Kept) -> None:
    sensors = {row.parameter: (row.sensors_id, row.parameters_id) for row in kept.rows()}
    lose(kept, lambda row: row.parameter == "pm10" and row.datetime < utc_now() - 30 * DAY)
    assert look(kept).lacked
    number = sensors["pm25"][1]
    assert number is not None
    chosen = kept.settings.model_copy(update={"parameters": {kept.here: frozenset({number})}})
    found = look(kept._replace(settings=chosen))
    assert found.is_whole
    assert found.sensors == 1
    assert look(kept).lacked, "what was found of a part is not taken for the whole"


def test_a_file_of_the_archive_that_cannot_be_read_leaves_its_day_unknown(kept: Kept, tmp_path: Path) -> None:
    kept, folder = archive(kept, tmp_path)
    day = a_day_ago(kept, 70)
    path = folder / archive_path(kept.here, day)
    good = path.read_bytes()
    path.write_bytes(good[:-9])
    for _ in range(2):
        found = look(kept)
        assert not found.is_whole
        assert found.problems == (f"{path.name} is cut off",)
        assert lacking(found.of("unknown")) == {(sensor, day) for sensor, _ in lacking(found.of("unknown"))}
        assert found.days["unknown"] == 2
    path.write_bytes(good)
    assert look(kept).is_whole


def test_offline_no_old_day_is_called_complete_or_an_upstream_gap(kept: Kept) -> None:
    lose(kept, lambda row: row.datetime.day == 11)
    for _ in range(2):
        found = audit(kept.settings, is_offline=True)
        place = found.locations[0]
        young = {gap.first for gap in place.of("late")}
        assert not found.is_whole
        assert found.outage
        assert found.days["upstream_gap"] == 0
        assert found.days["complete"] <= 4 * 4
        assert place.days["unknown"] == sum(place.days.values()) - place.days["complete"] - 2 - len(young)
        assert not (kept.data / ".audit").exists()


def test_offline_what_was_here_at_the_last_look_and_is_gone_is_known(kept: Kept) -> None:
    look(kept)
    ledger = Ledgers(kept.data).path(kept.here).read_bytes()
    gone = lose(kept, lambda row: row.datetime.day == 11)
    found = look(kept, is_offline=True)
    assert lacking(found.of("our_gap")) == set(days_of(gone))
    assert Ledgers(kept.data).path(kept.here).read_bytes() == ledger


def test_rows_that_were_here_and_that_nobody_has_any_more_are_gone_for_good(kept: Kept, tmp_path: Path) -> None:
    kept, folder = archive(kept, tmp_path)
    day = a_day_ago(kept, 60)
    look(kept)
    gone = lose(kept, lambda row: local_day(row) == day and row.datetime.hour == 3)
    write_archive(folder, [row for row in kept.rows() if local_day(row) == day])
    for _ in range(3):
        assert lacking(look(kept).of("our_gap")) == set(days_of(gone))


def test_an_archive_that_is_out_of_reach_leaves_old_days_unknown_and_what_is_known_as_it_was(kept: Kept) -> None:
    look(kept)
    ledger = Ledgers(kept.data).path(kept.here).read_bytes()
    away = ArchiveSettings(location="s3://bucket", endpoint="http://127.0.0.1:9")
    found = audit(kept.settings.model_copy(update={"archive": away}))
    assert not found.is_whole
    assert found.outage
    assert "No connection to s3://bucket" in found.outage
    assert found.days["unknown"] > 800
    assert found.days["upstream_gap"] == 0
    assert Ledgers(kept.data).path(kept.here).read_bytes() == ledger


def test_an_archive_that_is_none_is_a_mistake_of_the_settings(kept: Kept, tmp_path: Path) -> None:
    nowhere = ArchiveSettings(location=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="nowhere"):
        audit(kept.settings.model_copy(update={"archive": nowhere}))


def test_some_days_are_looked_at_and_what_is_known_of_the_others_stays(kept: Kept) -> None:
    gone = lose(kept, lambda row: row.datetime.month in {4, 6})
    look(kept)
    start, end = date(2026, 6, 1), date(2026, 6, 30)
    place = Ledgers(kept.data)
    before = place.get(kept.here)
    found = look(kept, start=start, end=end)
    assert (found.first, found.last) == (start, end)
    assert lacking(found.of("our_gap")) == {key for key in days_of(gone) if start <= key[1] <= end}  # type: ignore[operator]
    after = place.get(kept.here)
    assert before is not None
    assert after is not None
    assert msgspec.structs.replace(after, audited=before.audited) == before
    assert look(kept, start=date(2025, 1, 1), end=date(2025, 1, 31)).days["complete"] == 0
    wide = place.get(kept.here)
    assert wide is not None
    assert (wide.first, wide.last) == (date(2025, 1, 1), before.last)
    assert wide.of(before.first, before.last).sensors == before.sensors
    assert look(kept).first == before.first, "looking further back once makes no more days due"


def test_a_parked_sensor_is_broken_since_its_last_row(kept: Kept, tmp_path: Path) -> None:
    kept, folder = archive(kept, tmp_path)
    sensor = kept.rows()[0].sensors_id
    since = a_day_ago(kept, 9)
    lose(kept, lambda row: row.sensors_id == sensor and local_day(row) >= since)
    days = {local_day(row) for row in kept.rows()}
    for day in days:
        if day >= since:
            write_archive(folder, [row for row in kept.rows() if local_day(row) == day])
    newest = max(row.datetime for row in kept.rows() if row.sensors_id == sensor)
    store = StateFile(kept.data)
    store.load(utc_now())
    state = store.get(kept.here)
    parked = msgspec.structs.replace(
        state.sensors[sensor], watermark=newest, parked_until=utc_now() + DAY, failures=9, last_error="500"
    )
    store.put(kept.here, msgspec.structs.replace(state, sensors=state.sensors | {sensor: parked}))
    store.save()
    found = look(kept)
    (gap,) = found.of("broken_sensor")
    assert (gap.sensors_id, gap.first) == (sensor, since)
    assert gap.last >= a_day_ago(kept, 1)
    assert found.is_whole, "it is nobody's fault here"


def test_a_location_file_that_is_gone_is_our_gap_up_to_the_watermark(kept: Kept) -> None:
    look(kept)
    to = sealed_to(kept.data, kept.here)
    rows = [row for row in kept.rows() if to is not None and row.datetime >= to]
    kept.live.unlink()
    found = look(kept)
    assert set(days_of(rows)) == lacking(found.of("our_gap"))
    Ledgers(kept.data).path(kept.here).unlink()
    found = look(kept)
    assert {day for _, day in lacking(found.of("our_gap"))} == {local_day(row) for row in rows}
    assert not found.is_whole


def test_what_is_stored_while_the_archive_is_read_is_not_missing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    from openaq_pipeline.openaq.archive import Archive  # noqa: PLC0415

    before = kept.rows()
    lose(kept, lambda row: row.datetime.day == 11)
    read = Archive.read

    def and_meanwhile(self: Archive, *arguments: object) -> object:
        found = read(self, *arguments)  # type: ignore[arg-type]
        _restore(kept, before)
        return found

    monkeypatch.setattr(Archive, "read", and_meanwhile)
    assert look(kept).is_whole


def test_a_damaged_file_is_told_and_the_other_location_is_looked_at(kept: Kept) -> None:
    kept.year_file().write_bytes(b"PAR1")
    found = audit(kept.settings)
    assert not found.is_whole
    here, there = found.locations
    assert "is damaged" in here.problems[0]
    assert "verify --repair" in here.problems[0]
    assert there.is_whole


def test_a_location_of_which_nothing_is_stored_is_not_whole(kept: Kept) -> None:
    found = audit(kept.settings.model_copy(update={"locations": [kept.here, 4711]}))
    assert not found.is_whole
    assert found.locations[1].problems == ("nothing of it is stored yet",)


def test_a_folder_without_anything_is_a_mistake(kept: Kept, tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        with pytest.raises(ConfigError, match="There are no data"):
            audit(kept.settings.model_copy(update={"data_dir": folder, "locations": []}))


def test_without_a_description_days_are_those_of_the_rows_offset(kept: Kept) -> None:
    lost = lose(kept, lambda row: row.datetime.day == 11)
    (kept.data / "locations.json").unlink()
    found = look(kept)
    assert found.timezone == "UTC+05:45"
    assert lacking(found.of("our_gap")) == set(days_of(lost))


def test_a_stop_ends_it_before_the_next_year_and_nothing_is_remembered(kept: Kept) -> None:
    class Soon(Stop):
        """A stop that is asked for at the third look."""

        looks = 0

        def check(self) -> None:
            self.looks += 1
            if self.looks > 2:
                raise Stopped("the run was stopped")

    with pytest.raises(Stopped):
        audit(kept.settings.model_copy(update={"locations": [kept.here]}), stop=Soon())
    assert not (kept.data / ".audit").exists()
