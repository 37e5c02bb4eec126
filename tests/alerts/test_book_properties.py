"""Whatever begins and ends, and whenever: each is told once, nothing is forgotten, and nobody is woken for little."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, time, timedelta
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.monitoring.alerts import SEVERITIES, Book, Outgoing, due, rank, settle
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.monitoring.quiet import QuietHours
from openaq_pipeline.monitoring.telling import Policy, level_of, release, update
from openaq_pipeline.reports import Condition, Severity
from tests.alerts.parts import NOW

KEYS = {"quality": "", "silent:1": "AirNow", "silent:2": "AirNow", "silent:3": "EEA", "failed_runs": ""}

levels = st.sampled_from(SEVERITIES)
holding = st.dictionaries(st.sampled_from(sorted(KEYS)), levels)
polls = st.lists(st.tuples(st.integers(0, 40), holding), max_size=25)
policies = st.builds(
    Policy,
    receivers=st.dictionaries(st.sampled_from(["slack", "email", "apprise:1"]), levels, max_size=2),
    cooldown=st.integers(0, 48).map(lambda hours: timedelta(hours=hours)),
    pause=st.integers(0, 12).map(lambda hours: timedelta(hours=hours)),
    escalate_after=st.none() | st.integers(1, 72).map(lambda hours: timedelta(hours=hours)),
    quiet=st.none() | st.just(QuietHours(time(22), time(7), "Asia/Kathmandu")),
)


def made(key: str, level: Severity) -> Condition:
    return Condition(key, level, f"About {key}", "m", provider=KEYS[key], subject=key if KEYS[key] else "")


def keys_of(entry: Outgoing) -> list[str]:
    """What a notice tells of; groups partition their members, so that this is all of it."""
    keys = [member.key for member in entry.notice.members] or [entry.notice.condition.key]
    assert len(keys) == len(set(keys)) == entry.notice.count
    return keys


class Listener:
    """What one receiver was told, key by key; complains of what no receiver may be told."""

    def __init__(self, lowest: Severity) -> None:
        self.lowest = lowest
        self.open: dict[str, Severity] = {}
        self.begun: dict[str, tuple[datetime, Severity]] = {}

    def hear(self, entry: Outgoing, policy: Policy) -> None:
        level = entry.notice.condition.severity
        assert rank(level) >= rank(self.lowest)
        assert level == "critical" or policy.quiet_until(entry.queued) is None
        for key in keys_of(entry):
            self._end(key) if entry.notice.kind == "recovered" else self._begin(key, level, entry.queued, policy)

    def _begin(self, key: str, level: Severity, at: datetime, policy: Policy) -> None:
        if key in self.open:
            assert rank(level) > rank(self.open[key]), "it is told again only if it is worse"
        elif key in self.begun:
            when, before = self.begun[key]
            assert at - when >= policy.cooldown or rank(level) > rank(before)
        self.open[key], self.begun[key] = level, (at, level)

    def _end(self, key: str) -> None:
        assert key in self.open, "no end without a beginning"
        del self.open[key]


@given(polls, policies)
def test_each_beginning_is_told_once_and_each_that_was_told_has_its_end_told(
    history: list[tuple[int, dict[str, Severity]]], policy: Policy
) -> None:
    book, now, seen = Book(UUID(int=7)), NOW, 0
    listeners = {receiver: Listener(lowest) for receiver, lowest in policy.receivers.items()}
    for wait, found in history:
        now += timedelta(hours=wait)
        assessment = Assessment(tuple(made(key, level) for key, level in found.items()))
        book = update(book, assessment, now, policy)
        assert update(book, assessment, now, policy) == book, "the same once more changes nothing"
        assert set(book.open) == set(found)
        assert not set(book.over) & set(book.open)
        for entry in book.outbox[seen:]:
            listeners[entry.channel].hear(entry, policy)
        seen = len(book.outbox)
        _nothing_waits_for_nothing(book, now, policy)
    for listener in listeners.values():
        waits = {*book.over, *book.open}
        assert set(listener.open) <= waits, "an end that was told to nobody"
    later = _morning(now, policy) + policy.pause
    book = release(update(book, Assessment(), later, policy), _morning(later, policy) + policy.pause, policy)
    for entry in book.outbox[seen:]:
        listeners[entry.channel].hear(entry, policy)
    assert not any(listener.open for listener in listeners.values())
    assert not book.over
    ids = {(entry.notice.id, entry.channel) for entry in book.outbox}
    assert len(ids) == len(book.outbox)


def _morning(now: datetime, policy: Policy) -> datetime:
    return policy.quiet_until(now) or now


def _nothing_waits_for_nothing(book: Book, now: datetime, policy: Policy) -> None:
    """What is not told although somebody would be is held by a moment that is known, or by the cool-down."""
    for key, opened in book.open.items():
        level = level_of(opened, now, policy)
        if opened.told is None and policy.told(level):
            assert book.look_at is not None, key
            assert book.look_at > now
    if book.over:
        assert book.look_at is not None


@given(polls, st.data())
def test_a_book_that_is_stored_and_read_between_any_two_steps_tells_the_same(
    history: list[tuple[int, dict[str, Severity]]], data: st.DataObject
) -> None:
    policy = data.draw(policies)
    book, now, sent = Book(UUID(int=7)), NOW, defaultdict(list)
    for wait, found in history:
        now += timedelta(hours=wait)
        assessment = Assessment(tuple(made(key, level) for key, level in found.items()))
        again = msgspec.json.decode(msgspec.json.encode(book), type=Book)
        assert again == book
        book = update(again, assessment, now, policy)
        for receiver in policy.receivers:
            quiet = policy.quiet_until(now) is not None
            for entry in due(book.outbox, now, receiver, quiet=quiet)[:1]:
                assert not quiet or entry.notice.condition.severity == "critical"
                sent[receiver].append(entry.notice.id)
                book = settle(book, entry, now, None)
    for ids in sent.values():
        assert len(ids) == len(set(ids))


@given(st.lists(st.tuples(st.integers(0, 40), holding, st.booleans(), st.booleans()), max_size=25), policies)
def test_a_crash_at_any_moment_loses_none_and_repeats_only_what_was_sent_and_not_noted(
    history: list[tuple[int, dict[str, Severity], bool, bool]], policy: Policy
) -> None:
    stored, now = msgspec.json.encode(Book(UUID(int=7))), NOW
    sent: Counter[tuple[str, str]] = Counter()
    unnoted: Counter[tuple[str, str]] = Counter()
    queued: set[tuple[str, str]] = set()
    for wait, found, is_poll, crashes in [*history, *[(200, {}, True, False)] * 3]:
        now += timedelta(hours=wait)
        assessment = Assessment(tuple(made(key, level) for key, level in found.items()))
        book = msgspec.json.decode(stored, type=Book)  # all that a new process knows
        book = update(book, assessment, now, policy) if is_poll else release(book, now, policy)
        stored = msgspec.json.encode(book)
        queued |= {(entry.notice.id, entry.channel) for entry in book.outbox}
        for receiver in policy.receivers:
            while ready := due(book.outbox, now, receiver, quiet=policy.quiet_until(now) is not None):
                name = (ready[0].notice.id, receiver)
                sent[name] += 1
                if crashes:
                    unnoted[name] += 1
                    break
                book = settle(book, ready[0], now, None)
                stored = msgspec.json.encode(book)
    late = _morning(now, policy)
    book = msgspec.json.decode(stored, type=Book)
    for receiver in policy.receivers:
        sent.update((entry.notice.id, receiver) for entry in book.outbox if entry.channel == receiver)
    assert policy.quiet_until(late) is None
    assert set(sent) == queued
    assert all(count <= 1 + unnoted[name] for name, count in sent.items())


zones = st.sampled_from(
    ["UTC", "Asia/Kathmandu", "Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]
)
clocks = st.integers(0, 24 * 60 - 1).map(lambda minutes: time(minutes // 60, minutes % 60))
moments = st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1)).map(lambda naive: naive.replace(tzinfo=NOW.tzinfo))  # noqa: DTZ001


@given(zones, clocks, clocks, moments)
def test_quiet_hours_end_when_they_say_whatever_clocks_do(zone: str, start: time, end: time, now: datetime) -> None:
    hours = QuietHours(start, end, zone)
    until = hours.until(now)
    if until is None:
        return
    assert now < until <= now + timedelta(hours=26)
    assert hours.until(until - timedelta(microseconds=1)) == until
    after = hours.until(until)
    assert after is None or after > until
