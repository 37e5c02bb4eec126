"""The book of conditions: told once, ended once, nothing within the cool-down, in order."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.alerts import (
    FIRST_RETRY,
    GIVE_UP_AFTER,
    KEPT,
    LONGEST_RETRY,
    Book,
    due,
    next_try,
    settle,
)
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.monitoring.telling import MAX_OUTBOX, update
from openaq_pipeline.reports import Condition
from tests.alerts.parts import NOW, condition, policy

EMPTY = Book(UUID(int=7))
TEMPORARY, PERMANENT = DeliveryError("later", permanent=False), DeliveryError("never", permanent=True)


def hour(number: float) -> datetime:
    return NOW + timedelta(hours=number)


def updated(
    book: Book, at: float, *conditions: Condition, channels: tuple[str, ...] = ("slack",), undecided: str = ""
) -> Book:
    known = frozenset(filter(None, [undecided]))
    return update(book, Assessment(conditions, known), hour(at), policy(*channels))


def told(book: Book) -> list[tuple[str, str]]:
    return [(entry.notice.kind, entry.notice.condition.key) for entry in book.outbox]


def test_a_condition_is_told_on_every_channel_when_it_begins() -> None:
    book = updated(EMPTY, 0, condition(), channels=("webhook", "slack"))
    assert sorted(entry.channel for entry in book.outbox) == ["slack", "webhook"]
    assert len({entry.notice.id for entry in book.outbox}) == 1


def test_it_is_not_told_again_while_it_lasts_even_beyond_the_cool_down() -> None:
    book = updated(updated(EMPTY, 0, condition()), 100, condition(message="Still bad."))
    assert told(book) == [("begun", "quality")]
    assert book.open["quality"].condition.message == "Still bad."
    assert book.open["quality"].began == hour(0)


def test_its_end_is_told_once() -> None:
    book = updated(updated(EMPTY, 0, condition()), 1)
    assert told(updated(book, 2)) == [("begun", "quality"), ("recovered", "quality")]
    assert book.outbox[-1].notice.ended == hour(1)
    assert [(past.began, past.ended, past.told) for past in book.past] == [(hour(0), hour(1), True)]


def test_what_is_of_no_concern_any_more_ends_without_a_word() -> None:
    book = updated(EMPTY, 0, condition("silent:7"))
    dropped = update(book, Assessment(looked_at=frozenset({"silent:8"})), hour(1), policy("slack"))
    assert told(dropped) == [("begun", "silent:7")]
    assert (dropped.open, dropped.over) == ({}, {})
    assert [past.ended for past in dropped.past] == [hour(1)]
    again = update(dropped, Assessment((condition("silent:7"),)), hour(2), policy("slack"))
    assert told(again)[1:] == [("begun", "silent:7")], "selected anew it is told anew"


def test_what_comes_and_goes_within_the_cool_down_is_told_once() -> None:
    book = updated(updated(EMPTY, 0, condition()), 1)
    again = updated(updated(book, 2, condition()), 3)
    assert told(again) == told(book)
    assert [past.told for past in again.past] == [True, False]


def test_what_came_back_within_the_cool_down_and_lasts_is_told_after_it() -> None:
    book = updated(updated(updated(EMPTY, 0, condition()), 1), 2, condition())
    later = updated(book, 24, condition())
    assert told(later)[2:] == [("begun", "quality")]
    assert later.outbox[-1].notice.began == hour(2)


def test_a_severity_that_rises_is_told_again_even_within_the_cool_down() -> None:
    book = updated(EMPTY, 0, condition(severity="warning"))
    worse = updated(book, 1, condition(severity="critical"))
    better = updated(worse, 2, condition(severity="error"))
    again = updated(better, 3, condition(severity="critical"))
    assert told(worse) == told(again) == [("begun", "quality"), ("begun", "quality")]
    assert told(updated(again, 4))[2:] == [("recovered", "quality")]


def test_what_could_not_be_judged_has_not_ended() -> None:
    book = updated(EMPTY, 0, condition("silent:7"))
    assert updated(book, 1, undecided="silent") == book
    assert updated(book, 1, undecided="silent:7") == book
    assert updated(book, 1, undecided="silent:8").open == {}


def test_without_channels_all_is_remembered_and_told_once_there_is_one() -> None:
    book = updated(EMPTY, 0, condition(), channels=())
    assert not book.outbox
    assert list(book.open) == ["quality"]
    assert told(updated(book, 1, condition())) == [("begun", "quality")]
    assert told(updated(book, 1)) == []


def test_a_flood_waits_for_room_in_the_outbox() -> None:
    many = [condition(f"kind-{number}") for number in range(MAX_OUTBOX + 5)]
    book = updated(EMPTY, 0, *many)
    assert len(book.outbox) == MAX_OUTBOX
    for entry in book.outbox[:10]:
        book = settle(book, entry, hour(1), None)
    book = updated(book, 1, *many)
    assert len({entry.notice.condition.key for entry in book.outbox}) == MAX_OUTBOX - 5
    assert all(opened.told for opened in book.open.values())


def test_of_two_with_the_same_key_the_more_severe_counts() -> None:
    book = updated(EMPTY, 0, condition(severity="warning"), condition(severity="critical"), condition(severity="info"))
    assert [entry.notice.condition.severity for entry in book.outbox] == ["critical"]


def test_a_clock_that_was_years_ahead_for_a_while_silences_nothing() -> None:
    ahead = updated(updated(EMPTY, 90_000, condition()), 90_001)
    assert told(updated(ahead, 0, condition()))[2:] == [("begun", "quality")]


def test_only_the_last_hundred_past_conditions_are_kept() -> None:
    book = EMPTY
    for number in range(KEPT + 3):
        book = updated(updated(book, number, condition(f"k{number}")), number + 0.5)
    assert [past.condition.key for past in book.past] == [f"k{number}" for number in range(3, KEPT + 3)]


def test_a_book_comes_back_from_json_as_it_was() -> None:
    book = updated(updated(EMPTY, 0, condition(), condition("silent:7")), 1, condition())
    book = settle(book, book.outbox[0], hour(1), PERMANENT)
    assert msgspec.json.decode(msgspec.json.encode(book), type=Book) == book


# --- the outbox ---


def test_a_notice_leaves_the_outbox_of_its_channel_when_it_is_delivered() -> None:
    book = updated(EMPTY, 0, condition(), channels=("slack", "email"))
    assert [entry.channel for entry in settle(book, book.outbox[0], hour(0), None).outbox] == ["email"]


def test_the_wait_doubles_from_a_minute_to_an_hour() -> None:
    book, waits = updated(EMPTY, 0, condition()), []
    for _ in range(9):
        book = settle(book, book.outbox[0], hour(0), TEMPORARY)
        waits.append(book.outbox[0].next_try - hour(0))
    assert waits[:3] == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY]
    assert waits[-1] == waits[-2] == LONGEST_RETRY
    assert book.outbox[0].attempts == 9
    assert book.outbox[0].last_error == "later"


def test_what_fails_for_good_is_given_up_and_stays_to_be_seen() -> None:
    book = updated(EMPTY, 0, condition())
    after = settle(book, book.outbox[0], hour(0), PERMANENT)
    assert after.outbox == ()
    assert [(entry.attempts, entry.last_error) for entry in after.undelivered] == [(1, "never")]


def test_what_fails_for_a_week_is_given_up() -> None:
    book = updated(EMPTY, 0, condition())
    assert settle(book, book.outbox[0], hour(0) + GIVE_UP_AFTER, TEMPORARY).outbox
    assert not settle(book, book.outbox[0], hour(1) + GIVE_UP_AFTER, TEMPORARY).outbox


def test_nothing_is_due_before_its_time_unless_a_wrong_clock_set_it() -> None:
    book = updated(EMPTY, 0, condition())
    tried = settle(book, book.outbox[0], hour(0), TEMPORARY)
    assert next_try(tried) == hour(0) + FIRST_RETRY
    assert due(tried.outbox, hour(0), "slack") == []
    assert len(due(tried.outbox, hour(0) + FIRST_RETRY, "slack")) == 1
    assert len(due(tried.outbox, hour(-90_000), "slack")) == 1
    assert next_try(EMPTY) is None


def test_an_end_is_not_told_before_its_beginning_and_holds_up_no_other() -> None:
    book = updated(EMPTY, 0, condition("a"))
    book = settle(book, book.outbox[0], hour(0), TEMPORARY)
    book = updated(book, 0, condition("b"))
    assert told(book) == [("begun", "a"), ("recovered", "a"), ("begun", "b")]
    assert [entry.notice.condition.key for entry in due(book.outbox, hour(0), "slack")] == ["b"]
    assert [entry.notice.condition.key for entry in due(book.outbox, hour(1), "slack")] == ["b", "a"]
