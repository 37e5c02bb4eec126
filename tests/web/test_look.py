"""One look for all who ask: anew when something has changed or ages are old, never twice at once, and no error."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.alerts import Book, OpenCondition, PastCondition
from openaq_pipeline.overview import Observer
from openaq_pipeline.reports import Condition
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.web import look as looking
from openaq_pipeline.web.discretion import Discretion
from openaq_pipeline.web.look import Look
from tests.monitoring.runs import location as outcome
from tests.monitoring.runs import run
from tests.reading import folders

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Count the looks."""
    made: list[datetime] = []
    real = Observer.look

    def counted(self: Observer, now: datetime, **how: Any) -> Any:
        made.append(now)
        return real(self, now, **how)

    monkeypatch.setattr(Observer, "look", counted)
    return made


@pytest.fixture
def look(tmp_path: Path, clock: Clock) -> Look:
    settings = Settings(locations=[1, 2], data_dir=tmp_path)
    return Look(settings, clock=lambda: NOW + timedelta(seconds=clock.seconds), steady=clock)


def add_run(folder: Path) -> None:
    history.append(folder, run(NOW, outcome(1)), NOW)


def test_while_nothing_changes_one_look_serves_until_ages_are_old(
    look: Look, clock: Clock, looks: list[datetime]
) -> None:
    first = look.seen()
    clock.seconds += looking.AGES_SECONDS
    assert look.seen() is first
    clock.seconds += 0.1
    assert look.seen() is not first
    assert len(looks) == 2


def test_a_change_is_seen_as_soon_as_the_last_look_is_a_second_old(
    look: Look, clock: Clock, looks: list[datetime], tmp_path: Path
) -> None:
    before = look.seen()
    add_run(tmp_path)
    assert look.seen() is before
    clock.seconds += looking.PATIENCE_SECONDS  # who asks after a pause waits for a new look
    assert len(look.seen().overview.runs) == 1
    assert len(looks) == 2


def test_only_what_has_changed_is_read_again(
    look: Look, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.describe(tmp_path, folders.location(1))
    before = look.seen()
    monkeypatch.setattr(Metadata, "load", lambda *_, **__: pytest.fail("it is read again"))
    add_run(tmp_path)
    clock.seconds += looking.PATIENCE_SECONDS
    after = look.seen()
    assert after is not before
    assert after.locations is before.locations


def test_while_one_looks_all_others_get_the_last_look_and_none_looks_too(
    look: Look, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = look.seen()
    looked, go_on, count = threading.Event(), threading.Event(), [0]
    real = Observer.look

    def slow(self: Observer, now: datetime, **how: Any) -> Any:
        count[0] += 1
        looked.set()
        assert go_on.wait(10)
        return real(self, now, **how)

    monkeypatch.setattr(Observer, "look", slow)
    add_run(tmp_path)
    look._took = 1.0  # a quick one would be waited for
    clock.seconds += 6
    assert look.seen() is before
    assert looked.wait(10)
    assert all(look.seen() is before for _ in range(100))
    go_on.set()
    with look._looking:  # it is through
        pass
    assert look.seen() is not before
    assert count == [1]


def test_a_look_that_takes_long_is_not_repeated_all_the_time(look: Look, clock: Clock, tmp_path: Path) -> None:
    first = look.seen()
    look._took = 10.0
    add_run(tmp_path)
    clock.seconds += 49
    assert look.seen() is first
    with look._looking:  # nobody looks
        assert look._seen is first
    clock.seconds += 2
    assert look.seen() is first  # a new look is made meanwhile
    with look._looking:
        pass
    assert look.seen() is not first


def test_many_who_ask_first_cause_one_look(look: Look, looks: list[datetime]) -> None:
    threads = [threading.Thread(target=look.seen) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(looks) == 1


def test_a_look_says_nothing_of_where_the_data_are(look: Look, tmp_path: Path) -> None:
    (tmp_path / "locations.json").mkdir()
    seen = look.seen()
    assert seen.overview.warnings[0].startswith("locations.json can't be read")
    assert not [each for each in seen.overview.warnings if str(tmp_path) in each]


def test_a_warning_goes_with_its_cause(look: Look, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{")
    assert "metrics.json is damaged" in look.seen().overview.warnings[0]
    (tmp_path / "metrics.json").unlink()
    clock.seconds += looking.PATIENCE_SECONDS
    assert look.seen().overview.warnings == ()


def test_no_folder_is_named_in_what_was_noted_of_runs_and_alerts(tmp_path: Path, look: Look) -> None:
    full = f"{tmp_path}/location_1.json can't be written: the disk is full"
    history.append(tmp_path, run(NOW, outcome(1, "failed", full)), NOW)
    said = Condition("cannot_work", "critical", "The pipeline can't work", f"{full}. What was stored is whole.")
    book = Book(
        UUID(int=1), open={said.key: OpenCondition(said, NOW)}, past=(PastCondition(said, NOW, NOW, told=True),)
    )
    (tmp_path / ".alerts.json").write_bytes(msgspec.json.encode(book))
    seen = look.seen()
    assert seen.alerts is not None
    assert seen.overview.runs[0].locations[0].error == "location_1.json can't be written: the disk is full"
    for told in (seen.alerts.open["cannot_work"], seen.alerts.past[0]):
        assert told.condition.message == "location_1.json can't be written: the disk is full. What was stored is whole."
    assert look.told(f"There is no data folder {tmp_path} yet") == "There is no data folder yet"


def test_a_folder_that_is_a_word_or_the_root_garbles_no_sentence() -> None:
    sentence = "The data of /x/data are damaged"
    assert Discretion([Path("data"), Path("/")]).told(sentence) == sentence


def test_where_looking_takes_long_nobody_waits_for_every_look(
    look: Look, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Observer.look

    def slow(self: Observer, now: datetime, **how: Any) -> Any:
        clock.seconds += 4
        return real(self, now, **how)

    monkeypatch.setattr(Observer, "look", slow)
    before = look.seen()
    add_run(tmp_path)
    clock.seconds += looking.SHARE * 4
    assert look.seen() is before  # the next one is made meanwhile
    with look._looking:
        pass
    assert len(look.seen().overview.runs) == 1


def test_of_a_damaged_book_it_is_not_said_that_no_alert_is_open(tmp_path: Path, look: Look) -> None:
    (tmp_path / ".alerts.json").write_bytes(b"{")
    seen = look.seen()
    assert seen.alerts is None
    assert "The book of alerts is damaged. The next run sets it aside and begins a new one." in seen.overview.warnings
