"""The book of conditions: what lasts, what is past, what is still to be told, and what could not be. Pure.

1. A condition that holds and is not open begins; one that is open and no longer holds ends.
2. A beginning is told once: a notice for each channel goes into the outbox. It is not told while the same key was
   told less than the cool-down ago; if it still lasts then, it is told then. A severity above the told one is told.
3. The end of a condition that was told is told once; the end of one that was not is not.
4. A notice leaves the outbox when it was delivered or given up; what was given up stays to be seen.

The book is stored before anything is sent, so that a crash loses no notice (`alert_file`, `delivery`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import get_args
from uuid import UUID, uuid5

import msgspec

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.reports import Channel, Condition, Notice, Severity

VERSION = 1
KEPT = 100
"""So many past conditions and notices given up stay to be looked at."""

MAX_OUTBOX = 300
"""With so much untold, further conditions wait; they are told when there is room, if they still last."""

FIRST_RETRY, LONGEST_RETRY = timedelta(minutes=1), timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=7)
"""A notice that old helps nobody any more."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class OpenCondition(msgspec.Struct, frozen=True):
    """A condition that lasts, as last seen; `told` is the highest severity told of it, None: not told."""

    condition: Condition
    began: datetime
    told: Severity | None = None


class PastCondition(msgspec.Struct, frozen=True):
    """A condition that has ended; `told` says whether anybody was told."""

    condition: Condition
    began: datetime
    ended: datetime
    told: bool


class LastTold(msgspec.Struct, frozen=True):
    """When the beginning of a key's condition was last told, and how severe it was."""

    at: datetime
    severity: Severity


class Outgoing(msgspec.Struct, frozen=True):
    """A notice on its way to one channel; `last_error` is why the last of `attempts` failed, None before the first."""

    notice: Notice
    channel: Channel
    queued: datetime
    next_try: datetime
    attempts: int = 0
    last_error: str | None = None


class Book(msgspec.Struct, frozen=True):
    """Everything remembered of conditions; `id` and `number` make the ids of notices unique.

    `past` and `undelivered` have the latest last.
    """

    id: UUID
    version: int = VERSION
    number: int = 0
    open: dict[str, OpenCondition] = {}
    told: dict[str, LastTold] = {}
    outbox: tuple[Outgoing, ...] = ()
    past: tuple[PastCondition, ...] = ()
    undelivered: tuple[Outgoing, ...] = ()


def update(
    book: Book, assessment: Assessment, now: datetime, *, cooldown: timedelta, channels: Collection[Channel]
) -> Book:
    """Return the book with what begins and ends now, and with the notices of it for `channels` in the outbox.

    Without channels nothing is told, but everything is remembered.
    """
    pen = _Pen(book, now, cooldown, channels)
    current = _most_severe(assessment.conditions)
    for key in book.open:
        if key not in current and not assessment.leaves_open(key):
            pen.end(key)
    for condition in current.values():
        pen.see(condition)
    return pen.written()


def _most_severe(conditions: Iterable[Condition]) -> dict[str, Condition]:
    """Return one condition for each key, in the order given."""
    found: dict[str, Condition] = {}
    for condition in conditions:
        other = found.get(condition.key)
        if other is None or rank(condition.severity) > rank(other.severity):
            found[condition.key] = condition
    return found


def joined(book: Book, apart: Book) -> Book:
    """Return a book with what was noted in another one while it could not be read; of one key it knows better itself.

    Notices of both are sent: rather twice than not at all.
    """
    return msgspec.structs.replace(
        book,
        open=apart.open | book.open,
        told=apart.told | book.told,
        outbox=book.outbox + apart.outbox,
        past=(book.past + apart.past)[-KEPT:],
        undelivered=(book.undelivered + apart.undelivered)[-KEPT:],
    )


def rank(severity: Severity) -> int:
    """Return where a severity stands, from 0 for info."""
    return SEVERITIES.index(severity)


class _Pen:
    """Writes the next version of a book; a copy for every line would take seconds with 25,000 locations."""

    def __init__(self, book: Book, now: datetime, cooldown: timedelta, channels: Collection[Channel]) -> None:
        self._book, self._now, self._cooldown = book, now, cooldown
        self._channels = [channel for channel in get_args(Channel) if channel in channels]
        self._number = book.number
        self._open, self._told = dict(book.open), dict(book.told)
        self._outbox, self._past = list(book.outbox), list(book.past)

    def end(self, key: str) -> None:
        """Close a condition, and tell it if its beginning was."""
        closed = self._open.pop(key)
        told = closed.told is not None
        self._past.append(PastCondition(closed.condition, closed.began, self._now, told))
        if told:
            self._send(closed, ended=self._now)

    def see(self, condition: Condition) -> None:
        """Open a condition or bring it up to date, and tell it if that is due."""
        known = self._open.get(condition.key)
        seen = OpenCondition(condition, known.began if known else self._now, known.told if known else None)
        if self._is_news(seen) and self._channels and len(self._outbox) < MAX_OUTBOX:
            seen = msgspec.structs.replace(seen, told=condition.severity)
            self._told[condition.key] = LastTold(self._now, condition.severity)
            self._send(seen, ended=None)
        self._open[condition.key] = seen

    def _is_news(self, seen: OpenCondition) -> bool:
        severity = rank(seen.condition.severity)
        if seen.told is not None:
            return severity > rank(seen.told)
        last = self._told.get(seen.condition.key)
        return last is None or not self._is_recent(last) or severity > rank(last.severity)

    def _is_recent(self, last: LastTold) -> bool:
        """Say whether a cool-down lasts; a clock that was far ahead for a while must not make it last for years."""
        return abs(self._now - last.at) < self._cooldown

    def _send(self, told: OpenCondition, ended: datetime | None) -> None:
        self._number += 1
        notice = Notice(
            id=str(uuid5(self._book.id, str(self._number))),
            kind="recovered" if ended else "begun",
            condition=told.condition,
            began=told.began,
            ended=ended,
        )
        self._outbox.extend(Outgoing(notice, channel, self._now, self._now) for channel in self._channels)

    def written(self) -> Book:
        """Return the new version, without what is not needed any more."""
        told = {key: last for key, last in self._told.items() if self._is_recent(last)}
        return msgspec.structs.replace(
            self._book,
            number=self._number,
            open=self._open,
            told=told,
            outbox=tuple(self._outbox),
            past=tuple(self._past[-KEPT:]),
        )


def due(book: Book, now: datetime, channel: Channel) -> list[Outgoing]:
    """Return what may be sent on a channel now: the least tried first, and of one key nothing before what came first.

    A notice that fails again and again must not hold up the others.
    """
    first: dict[str, Outgoing] = {}
    for entry in book.outbox:
        if entry.channel == channel:
            first.setdefault(entry.notice.condition.key, entry)
    ready = [entry for entry in first.values() if _is_due(entry, now)]
    return sorted(ready, key=lambda entry: entry.attempts)  # a stable sort keeps the order otherwise


def _is_due(entry: Outgoing, now: datetime) -> bool:
    """Say whether its time has come; a next try beyond any back-off was set by a clock that was wrong."""
    return not timedelta(0) < entry.next_try - now <= LONGEST_RETRY


def next_try(book: Book) -> datetime | None:
    """Return when the outbox should be looked at next; None: it is empty."""
    return min((entry.next_try for entry in book.outbox), default=None)


def settle(book: Book, tried: Outgoing, now: datetime, error: DeliveryError | None) -> Book:
    """Return the book after a try: delivered (`error` is None), to be tried again later, or given up."""
    keep: list[Outgoing] = []
    given_up: list[Outgoing] = []
    for entry in book.outbox:
        if (entry.notice.id, entry.channel) != (tried.notice.id, tried.channel):
            keep.append(entry)
        elif error is not None:
            failed = _failed(entry, now, error)
            (given_up if is_hopeless(failed, now, error) else keep).append(failed)
    undelivered = (*book.undelivered, *given_up)[-KEPT:]
    return msgspec.structs.replace(book, outbox=tuple(keep), undelivered=undelivered)


def is_hopeless(entry: Outgoing, now: datetime, error: DeliveryError) -> bool:
    """Say whether a notice is given up after this error."""
    return error.permanent or now - entry.queued > GIVE_UP_AFTER


def _failed(entry: Outgoing, now: datetime, error: DeliveryError) -> Outgoing:
    doublings = min(entry.attempts, 10)  # beyond that the longest wait holds anyway
    wait = min(FIRST_RETRY * 2**doublings, LONGEST_RETRY)
    return msgspec.structs.replace(entry, attempts=entry.attempts + 1, next_try=now + wait, last_error=error.advice)
