"""What is told, when, and together with what: groups, pauses, quiet hours, levels, and how long it lasted."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from openaq_pipeline.monitoring.alerts import MANY_SILENT, Book, OpenCondition, Waiting, due
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.monitoring.quiet import QuietHours
from openaq_pipeline.monitoring.telling import Policy, release, update
from openaq_pipeline.reports import Condition, Severity
from tests.alerts.parts import NOW, condition, policy

EMPTY = Book(UUID(int=7))
NIGHT = QuietHours(time(22), time(7), "UTC")
SLACK = policy("slack")


def hour(number: float) -> datetime:
    return NOW + timedelta(hours=number)


def silent(number: int, provider: str = "AirNow", severity: Severity = "warning", since: float = -9) -> Condition:
    name = f"Place {number} ({number})"
    return Condition(
        f"silent:{number}", severity, f"{name} is silent", "m", "h", provider=provider, subject=name, since=hour(since)
    )


def airnow(*numbers: int) -> list[Condition]:
    return [silent(number) for number in numbers]


def after(book: Book, at: float, *conditions: Condition, told: Policy = SLACK, undecided: str = "") -> Book:
    known = frozenset(filter(None, [undecided]))
    return update(book, Assessment(conditions, known), hour(at), told)


def titles(book: Book) -> list[str]:
    return [entry.notice.condition.title for entry in book.outbox]


# --- groups ---


def test_what_begins_together_of_one_provider_is_one_notice_that_lists_its_members() -> None:
    (entry,) = after(EMPTY, 0, *airnow(1, 2, 3, 4)).outbox
    notice = entry.notice
    assert notice.condition.title == "4 locations of AirNow are silent since 03:00 UTC"
    assert notice.condition.message == "Place 1 (1), Place 2 (2), Place 3 (3), Place 4 (4)."
    assert [member.key for member in notice.members] == ["silent:1", "silent:2", "silent:3", "silent:4"]
    assert (notice.count, notice.condition.key, notice.condition.provider) == (4, "silent", "AirNow")
    assert "explore.openaq.org" in notice.condition.hint or notice.condition.hint == "h"


def test_a_single_one_is_told_as_itself() -> None:
    (entry,) = after(EMPTY, 0, silent(7)).outbox
    assert (entry.notice.condition, entry.notice.count, entry.notice.members) == (silent(7), 1, ())


def test_kinds_levels_and_providers_are_told_apart() -> None:
    book = after(EMPTY, 0, silent(1), silent(2, "EEA"), silent(3, severity="error"), condition())
    assert len(book.outbox) == 4


def test_of_many_providers_at_once_there_is_one_notice() -> None:
    book = after(EMPTY, 0, *(silent(number, f"P{number % 200}") for number in range(10_000)))
    assert titles(book) == ["10,000 locations of 200 providers are silent since 03:00 UTC"]
    assert len(book.outbox[0].notice.members) == 50
    assert titles(after(book, 1))[1:] == ["10,000 locations report again after 10 h"]


def test_ten_thousand_silent_locations_make_no_huge_book() -> None:
    brief = (msgspec.structs.replace(silent(n, f"P{n % 200}"), message="", hint="") for n in range(10_000))
    assert len(msgspec.json.encode(after(EMPTY, 0, *brief))) < 3_500_000


def test_who_follows_within_the_pause_waits_and_is_told_together_with_what_else_follows() -> None:
    told = policy("slack", pause=timedelta(hours=4))
    book = after(EMPTY, 0, silent(1), told=told)
    book = after(book, 1, *airnow(1, 2), told=told)
    assert len(book.outbox) == 1
    assert book.look_at == hour(4)
    book = after(book, 3, *airnow(1, 2, 3), silent(9, "EEA"), told=told)
    assert titles(book)[1:] == ["Place 9 (9) is silent"]
    assert titles(release(book, hour(4), told))[2:] == ["2 locations of AirNow are silent since 03:00 UTC"]


def test_what_is_critical_waits_for_no_pause() -> None:
    told = policy("slack", pause=timedelta(hours=4))
    book = after(EMPTY, 0, silent(1, severity="critical"), told=told)
    assert len(after(book, 1, *(silent(n, severity="critical") for n in (1, 2)), told=told).outbox) == 2


def test_a_flood_of_ends_pushes_nothing_out_of_what_is_remembered() -> None:
    book = after(after(EMPTY, 0, condition()), 1, *airnow(*range(500)))
    book = after(book, 2)
    assert [(past.condition.key, past.count) for past in book.past] == [("quality", 1), ("silent", 500)]


# --- ends ---


def test_an_end_says_how_long_it_lasted() -> None:
    book = after(after(EMPTY, 0, silent(1), condition()), 1.5)
    assert titles(book)[2:] == ["Place 1 (1) reports again after 10 h 30 min", "About quality: over after 1 h 30 min"]


def test_ends_that_come_together_are_one_notice() -> None:
    book = after(EMPTY, 0, *airnow(1, 2, 3), silent(4, since=-8))
    book = after(book, 1, silent(1))
    assert titles(book)[1:] == ["AirNow: 3 locations report again after 9 h to 10 h"]
    assert [member.key for member in book.outbox[-1].notice.members] == ["silent:2", "silent:3", "silent:4"]


def test_what_begins_again_while_its_end_waits_has_not_ended() -> None:
    told = policy("slack", pause=timedelta(hours=4))
    book = after(after(EMPTY, 0, *airnow(1, 2), told=told), 1, silent(2), told=told)
    book = after(book, 2, told=told)
    assert len(book.outbox) == 2
    assert set(book.over) == {"silent:2"}
    book = after(book, 3, silent(2), told=told)
    assert (book.over, book.open["silent:2"].began) == ({}, hour(0))
    assert len(after(book, 6, silent(2), told=told).outbox) == 2
    assert titles(after(book, 6, told=told))[2:] == ["Place 2 (2) reports again after 15 h"]


# --- quiet hours: 12:00 is hour 0 here ---


def at_night(**others: Any) -> Policy:
    return policy("slack", quiet=NIGHT, **others)


def test_in_quiet_hours_only_what_is_critical_is_told() -> None:
    book = after(EMPTY, 10, silent(1), condition("failed_runs", "critical"), told=at_night())
    assert [entry.notice.condition.key for entry in book.outbox] == ["failed_runs"]
    assert book.look_at == hour(19)
    book = after(book, 15, silent(1), silent(2), told=at_night())
    assert titles(book) == ["About failed_runs", "About failed_runs: over after 5 h"]
    assert release(book, hour(18.9), at_night()) == book
    assert titles(release(book, hour(19), at_night()))[2:] == [
        "2 locations of AirNow are silent since 2026-11-01 03:00 UTC"
    ]


def test_what_begins_and_ends_within_them_is_past_and_told_to_nobody() -> None:
    book = after(after(EMPTY, 10, silent(1), told=at_night()), 15, told=at_night())
    assert release(book, hour(20), at_night()).outbox == ()
    assert [(past.condition.key, past.told) for past in book.past] == [("silent:1", False)]


def test_an_end_waits_for_the_morning_and_what_ended_and_began_again_is_told_neither_way() -> None:
    book = after(EMPTY, 9, *airnow(1, 2), told=at_night())
    book = after(after(book, 11, told=at_night()), 12, silent(2), told=at_night())
    assert len(book.outbox) == 1
    assert titles(release(book, hour(19), at_night()))[1:] == ["Place 1 (1) reports again after 20 h"]


def test_what_waits_in_the_outbox_is_not_sent_in_quiet_hours_and_holds_up_nothing_critical() -> None:
    entries = [
        *after(EMPTY, 9, silent(1)).outbox,
        *after(EMPTY, 10, silent(1, severity="critical")).outbox,
        *after(after(EMPTY, 10, silent(2, severity="critical")), 11).outbox[1:],
    ]
    now = hour(11)
    assert [entry.notice.condition.severity for entry in due(entries, now, "slack", quiet=True)] == ["critical"]
    assert [entry.notice.condition.severity for entry in due(entries, now, "slack")] == ["warning"]
    only_the_end = [entries[0], entries[2]]
    assert due(only_the_end, now, "slack", quiet=True) == [], "an end passes no beginning"


# --- levels ---


def test_a_channel_is_told_what_is_severe_enough_for_it_and_the_end_of_that() -> None:
    told = Policy({"email": "error", "slack": "info"}, timedelta(hours=24))
    book = after(EMPTY, 0, silent(1), silent(2, severity="error"), told=told)
    heard = [(entry.channel, entry.notice.condition.key) for entry in after(book, 1, told=told).outbox]
    assert sorted(heard) == [
        ("email", "silent:2"),
        ("email", "silent:2"),
        ("slack", "silent:1"),
        ("slack", "silent:1"),
        ("slack", "silent:2"),
        ("slack", "silent:2"),
    ]


def test_what_lasts_is_raised_one_level_at_a_time_and_told_once_at_each() -> None:
    told = Policy({"email": "critical", "slack": "info"}, timedelta(hours=99), escalate_after=timedelta(hours=24))
    book = EMPTY
    for at in range(0, 100, 4):
        book = after(book, at, silent(1), told=told)
    heard = [(entry.channel, entry.notice.condition.severity, entry.queued) for entry in book.outbox]
    assert heard == [
        ("slack", "warning", hour(0)),
        ("slack", "error", hour(24)),
        ("email", "critical", hour(48)),
        ("slack", "critical", hour(48)),
    ]
    assert [entry.channel for entry in after(book, 101, told=told).outbox[4:]] == ["email", "slack"]


def test_what_is_too_low_for_every_channel_is_told_when_it_has_been_raised() -> None:
    told = Policy({"email": "error"}, timedelta(hours=24), escalate_after=timedelta(hours=24))
    book = after(EMPTY, 0, silent(1), told=told)
    assert (book.outbox, book.look_at) == ((), hour(24))
    assert [entry.notice.condition.severity for entry in release(book, hour(24), told).outbox] == ["error"]


def test_what_waits_for_a_channel_that_is_gone_is_given_up_after_a_week_and_blocks_nothing() -> None:
    book = after(EMPTY, 0, condition(), told=policy("apprise:2"))
    assert release(book, hour(24 * 7), SLACK).outbox == book.outbox
    later = release(book, hour(24 * 7 + 1), SLACK)
    assert later.outbox == ()
    assert [entry.last_error for entry in later.undelivered] == ["This channel is switched off."]
    assert release(book, hour(24 * 7 + 1), policy("apprise:2")).outbox == book.outbox


# --- books of version 1 ---


def test_many_that_version_1_has_told_as_one_count_as_told() -> None:
    many = OpenCondition(Condition(MANY_SILENT, "warning", "9 locations are silent", "m"), hour(-5), "warning")
    old = msgspec.structs.replace(EMPTY, open={MANY_SILENT: many})
    assert MANY_SILENT in after(old, 0, undecided="silent").open
    book = after(old, 0, *airnow(*range(9)))
    assert book.outbox == ()
    assert {opened.began for opened in book.open.values()} == {hour(-5)}
    assert titles(after(book, 1)) == ["AirNow: 9 locations report again after 10 h"]


def test_what_waits_can_be_read_without_the_rest() -> None:
    book = after(EMPTY, 10, silent(1), condition("failed_runs", "critical"), told=at_night())
    assert msgspec.json.decode(msgspec.json.encode(book), type=Waiting) == Waiting(
        look_at=book.look_at, outbox=book.outbox
    )


@pytest.mark.parametrize("day", range(-3, 4))
def test_quiet_hours_are_kept_on_every_day(day: int) -> None:
    assert NIGHT.until(hour(24 * day + 10)) == hour(24 * day + 19)
    assert NIGHT.until(hour(24 * day + 19)) is None
