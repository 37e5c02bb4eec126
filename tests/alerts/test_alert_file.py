"""The book on disk: shared, replaced as a whole, set aside when damaged, and never the reason for silence."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openaq_pipeline.errors import RetriableError, StorageError
from openaq_pipeline.locks import take_lock
from openaq_pipeline.monitoring import alert_file
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Book
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.monitoring.telling import update
from tests.alerts.parts import NOW, condition, policy


def begin(file: AlertFile, key: str = "quality") -> Book:
    assessment = Assessment((condition(key),), frozenset({"k", "quality"}))
    return file.change(NOW, lambda book: update(book, assessment, NOW, policy("slack")))


def test_what_a_killed_writer_left_goes_with_the_next_look_that_may_change_the_book(tmp_path: Path) -> None:
    left = tmp_path / "..alerts.json.tmp"
    left.write_bytes(b"{")
    AlertFile(tmp_path).change(NOW, lambda book: book)
    assert not left.exists()


def test_a_book_is_there_for_the_next_process(tmp_path: Path) -> None:
    book = begin(AlertFile(tmp_path))
    assert AlertFile(tmp_path).read() == book
    assert len(book.outbox) == 1


def test_without_a_file_the_book_is_empty_and_looking_writes_nothing(tmp_path: Path) -> None:
    assert AlertFile(tmp_path).read().open == {}
    assert list(tmp_path.iterdir()) == []


NO_ZONE = {
    "id": "00000000-0000-0000-0000-000000000007",
    "told": {"a": {"at": "2026-11-01T12:00:00", "severity": "info"}},
}
NEWER = {"id": "00000000-0000-0000-0000-000000000007", "version": 3}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"\x00\x00", b'{"id": "x"}', b"\xff{}", b"[" * 100_000, *map(msgspec.json.encode, (NO_ZONE, NEWER))],
)
def test_a_damaged_book_is_set_aside_and_a_new_one_begins(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / ".alerts.json"
    path.write_bytes(body)
    assert AlertFile(tmp_path).read().open == {}
    assert path.read_bytes() == body
    assert list(begin(AlertFile(tmp_path)).open) == ["quality"]
    assert [place.read_bytes() for place in tmp_path.glob(".alerts.json.damaged-*")] == [body]
    assert list(AlertFile(tmp_path).read().open) == ["quality"]


OF_VERSION_1 = """
{"id":"00000000-0000-0000-0000-000000000007","version":1,"number":2,"open":{"silent:7":{"condition":{"key":"silent:7",
"severity":"warning","title":"About silent:7","message":"It is bad.","hint":""},"began":"2026-11-01T07:00:00Z",
"told":"warning"}},"told":{"silent:7":{"at":"2026-11-01T07:00:00Z","severity":"warning"}},"outbox":[{"notice":{"id":
"8265c1eb-c133-5642-8dbd-3a722d494f44","kind":"begun","condition":{"key":"quality","severity":"warning",
"title":"About quality","message":"It is bad.","hint":""},"began":"2026-11-01T07:00:00Z",
"ended":null},"channel":"webhook",
"queued":"2026-11-01T07:00:00Z","next_try":"2026-11-01T09:01:00Z","attempts":1,"last_error":"later"}],
"past":[{"condition":{"key":"quality","severity":"warning","title":"About quality","message":"It is bad.","hint":""},
"began":"2026-11-01T07:00:00Z","ended":"2026-11-01T08:00:00Z","told":true}],"undelivered":[]}
"""


def test_a_book_of_version_1_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".alerts.json").write_text(OF_VERSION_1)
    file = AlertFile(tmp_path)
    assert [entry.attempts for entry in file.waiting().outbox] == [1]
    known = policy("webhook")
    book = file.change(NOW, lambda before: update(before, Assessment((condition("silent:7"),)), NOW, known))
    assert [entry.notice.condition.key for entry in book.outbox] == ["quality"], "it is not told again"
    assert (book.open["silent:7"].began, len(book.past)) == (NOW - timedelta(hours=5), 1)
    book = file.change(NOW, lambda before: update(before, Assessment(), NOW, known))
    assert [entry.notice.kind for entry in book.outbox] == ["begun", "recovered"]
    assert AlertFile(tmp_path).read() == book
    assert not list(tmp_path.glob("*damaged*"))


def test_a_book_that_can_not_be_read_for_a_while_is_not_overwritten(tmp_path: Path) -> None:
    path, away = tmp_path / ".alerts.json", tmp_path / "away"
    begin(AlertFile(tmp_path), "k:before")
    path.rename(away)
    path.mkdir()  # reading it is an error of the system then, also for root
    file = AlertFile(tmp_path)
    with pytest.raises(StorageError):
        file.read()
    assert set(begin(file, "k:meanwhile").open) == set(file.read().open) == {"k:meanwhile"}
    path.rmdir()
    away.rename(path)
    begin(file, "k:after")
    found = AlertFile(tmp_path).read()
    assert set(found.open) == {"k:before", "k:meanwhile", "k:after"}
    assert len({entry.notice.id for entry in found.outbox}) == 3


def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [threading.Thread(target=begin, args=(AlertFile(tmp_path), f"k:{number}")) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    book = AlertFile(tmp_path).read()
    assert set(book.open) == {f"k:{number}" for number in range(8)}
    assert len({entry.notice.id for entry in book.outbox}) == 8


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    begin(AlertFile(tmp_path))
    before = (tmp_path / ".alerts.json").stat().st_ino
    begin(AlertFile(tmp_path))
    assert (tmp_path / ".alerts.json").stat().st_ino == before


def test_a_disk_that_refuses_keeps_the_book_in_memory_until_it_takes_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = AlertFile(tmp_path)
    blocked = tmp_path / "..alerts.json.tmp" / "x"  # a folder where the new version is prepared
    blocked.mkdir(parents=True)
    first = begin(file, "k:1")
    assert "kept in memory" in caplog.text
    assert not (tmp_path / ".alerts.json").exists()
    assert file.read() == first
    blocked.rmdir()
    blocked.parent.rmdir()
    assert set(begin(file, "k:2").open) == {"k:1", "k:2"}
    assert set(AlertFile(tmp_path).read().open) == {"k:1", "k:2"}


def test_a_lock_that_is_never_let_go_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_file, "WRITE_LOCK_SECONDS", 0.1)
    (tmp_path / ".locks").mkdir()
    holder = take_lock(tmp_path / ".locks" / "alerts.lock", 0)
    with os.fdopen(holder), pytest.raises(RetriableError, match="locked by another"):
        begin(AlertFile(tmp_path))


def test_only_one_may_deliver_at_a_time(tmp_path: Path) -> None:
    with AlertFile(tmp_path).delivering() as first, AlertFile(tmp_path).delivering() as second:
        assert (first, second) == (True, False)
    with AlertFile(tmp_path).delivering() as again:
        assert again


def test_the_file_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    begin(AlertFile(tmp_path))
    text = (tmp_path / ".alerts.json").read_text()
    found: Any = msgspec.json.decode(text)
    assert found["version"] == 2
    assert found["open"]["quality"]["told"] == "warning"
    assert len(text.splitlines()) > 10
