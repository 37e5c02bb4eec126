"""What `--fix` fetches: just what is missing, whatever was noted of it as stored, and nothing that lies outside."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from openaq_pipeline.audit import audit
from openaq_pipeline.audit.fix import Fixed, fix, runs
from openaq_pipeline.backfill import backfill
from openaq_pipeline.errors import Stopped
from openaq_pipeline.model import Window
from openaq_pipeline.settings import ArchiveSettings, Settings
from openaq_pipeline.storage.progress import Progress
from openaq_pipeline.wiring import Stop, utc_now
from tests.archive_files import local_day, write_archive
from tests.audit.conftest import days_of, look, lose
from tests.verify.conftest import Kept

DAY = timedelta(days=1)


def keyless(kept: Kept, **changes: object) -> Kept:
    own = kept.settings.model_copy(
        update={"api": kept.settings.api.model_copy(update={"api_key": None}), "locations": [kept.here], **changes}
    )
    return kept._replace(settings=own)


def mend(settings: Settings) -> tuple[Fixed, ...]:
    return fix(settings, audit(settings))


def test_what_a_backfill_noted_as_stored_is_read_again_if_it_is_gone(kept: Kept) -> None:
    kept, before = keyless(kept), kept.facts()
    assert backfill(kept.settings, Window(utc_now() - 500 * DAY, utc_now()), source="archive").complete
    assert look(kept).is_whole
    noted = Progress(kept.data).stored_files(kept.here)
    shutil.rmtree(kept.year_file().parent)
    lost = len(before) - len(kept.facts())
    (fixed,) = mend(kept.settings)
    assert (fixed.rows, fixed.problem) == (lost, None)
    assert kept.facts() == before
    assert Progress(kept.data).stored_files(kept.here) == noted
    assert look(kept).is_whole


def test_only_the_files_of_days_that_lack_something_are_read(kept: Kept) -> None:
    kept, before = keyless(kept), kept.facts()
    gone = lose(kept, lambda row: row.datetime.day == 17 and row.datetime.hour == 5)
    days = {str(day) for _, day in days_of(gone)}
    assert not Progress(kept.data).stored_files(kept.here)
    (fixed,) = mend(kept.settings)
    assert (fixed.rows, fixed.days) == (len(gone), len(days))
    assert set(Progress(kept.data).stored_files(kept.here)) == days
    assert kept.facts() == before


def test_what_the_archive_has_of_the_first_day_from_before_the_first_row_is_not_missing_and_not_fetched(
    kept: Kept, tmp_path: Path
) -> None:
    shutil.copytree(kept.settings.archive.location, tmp_path / "archive")
    kept = keyless(kept, archive=ArchiveSettings(location=str(tmp_path / "archive")))
    before, first = kept.facts(), kept.rows()[0]
    day = [row for row in kept.rows() if local_day(row) == local_day(first)]
    early = [
        msgspec.structs.replace(
            first,
            datetime=first.datetime - timedelta(hours=hours),
            datetime_local=(datetime.fromisoformat(first.datetime_local) - timedelta(hours=hours)).isoformat(),
        )
        for hours in range(1, 6)
    ]
    write_archive(tmp_path / "archive", [*early, *day])
    assert look(kept).is_whole
    lose(kept, lambda row: local_day(row) == local_day(first) and row.sensors_id != first.sensors_id)
    assert mend(kept.settings)[0].problem is None
    assert kept.facts() == before
    assert look(kept).is_whole


def test_a_sensor_that_must_have_what_the_archive_does_not_tell_is_asked_of_the_api(kept: Kept) -> None:
    rules = kept.settings.validation.model_copy(update={"required_fields": ("interval_seconds",)})
    settings = kept.settings.model_copy(update={"validation": rules, "locations": [kept.here]})
    own, before = kept._replace(settings=settings), kept.facts()
    assert look(own).days["upstream_gap"] == 0, "of these no row of the archive is a measurement"
    gone = lose(own, lambda row: row.datetime.month == 5)
    found = look(own)
    assert found.lacked == len(gone), "they were here at the last look"
    (fixed,) = mend(settings)
    assert (fixed.rows, fixed.problem) == (len(gone), None)
    assert own.facts() == before


def test_an_archive_that_is_away_by_then_is_told(kept: Kept) -> None:
    kept = keyless(kept)
    lose(kept, lambda row: row.datetime.day == 17)
    found = audit(kept.settings)
    away = kept.settings.model_copy(
        update={"archive": ArchiveSettings(location="s3://bucket", endpoint="http://127.0.0.1:9")}
    )
    (fixed,) = fix(away, found)
    assert fixed.problem
    assert "No connection to s3://bucket" in fixed.problem
    assert fixed.rows == 0


def test_a_stop_ends_it_and_the_next_one_finishes(kept: Kept) -> None:
    kept, before = keyless(kept), kept.facts()
    lose(kept, lambda row: row.datetime.day == 17)
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        fix(kept.settings, audit(kept.settings), stop=stop)
    mend(kept.settings)
    assert kept.facts() == before


def test_a_whole_copy_is_left_alone(kept: Kept) -> None:
    before = kept.bytes()
    look(kept)
    assert mend(kept.settings) == ()
    assert {name: body for name, body in kept.bytes().items() if ".audit" not in name} == before


def test_days_that_one_page_reaches_over_are_asked_for_together() -> None:
    first = datetime(2026, 3, 1, tzinfo=UTC).date()
    found = runs([first, first + 5 * DAY, first + 100 * DAY])
    assert len(found) == 2
    for day, span in ((first, found[0]), (first + 5 * DAY, found[0]), (first + 100 * DAY, found[1])):
        assert span.start < datetime.combine(day, datetime.min.time(), UTC) < span.end
