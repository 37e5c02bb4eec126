"""The book of conditions: what lasts, what is past, what is still to be told, and what could not be. Pure.

1. A condition that holds and is not open begins; one that is open and no longer holds ends.
2. What is told of it, when and together with what else is the business of `telling`: it puts a notice for each receiver
   into the outbox, in the same change of the book.
3. The end of a condition that was told waits in `over` until it is told; the end of one that was not told is not. What
   begins again while its end waits has not ended: nobody was told otherwise. What is of a location that is not selected
   any more ends without a word.
4. A notice leaves the outbox when it was delivered or given up; what was given up stays to be seen.

The book is stored before anything is sent, so that a crash loses no notice (`alert_file`, `delivery`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import get_args
from uuid import UUID

import msgspec
from msgspec.structs import replace

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring import grouping
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.reports import Condition, Notice, Receiver, Severity

VERSION = 2
READABLE = (1, VERSION)
"""Version 1 had no groups: many silent locations were one condition, `MANY_SILENT`."""

MANY_SILENT = "silent:many"
KEPT = 100
"""So many past conditions and notices given up stay to be looked at."""

FIRST_RETRY, LONGEST_RETRY = timedelta(minutes=1), timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=7)
"""A notice that old helps nobody any more."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class OpenCondition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition that lasts, as last seen; `told` is the highest severity told of it and `told_at` when, None: not."""

    condition: Condition
    began: datetime
    told: Severity | None = None
    told_at: datetime | None = None


class PastCondition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition that has ended, or `count` of one kind that ended together; `told` says whether anybody was told."""

    condition: Condition
    began: datetime
    ended: datetime
    told: bool
    count: int = 1


class Over(msgspec.Struct, frozen=True):
    """A condition that was told, and has ended, which is still to be told."""

    opened: OpenCondition
    ended: datetime


class LastTold(msgspec.Struct, frozen=True):
    """When a key's condition that is over was last told, and how severe it was."""

    at: datetime
    severity: Severity


class Outgoing(msgspec.Struct, frozen=True):
    """A notice on its way to one receiver; `last_error` is why the last of `attempts` failed, None before the first."""

    notice: Notice
    channel: Receiver
    queued: datetime
    next_try: datetime
    attempts: int = 0
    last_error: str | None = None


class Book(msgspec.Struct, frozen=True):
    """Everything remembered of conditions; `id` and `number` make the ids of notices unique.

    `groups` has when a group was last told, `digests` the weeks of which a digest was. `look_at` is when something
    that waits may be told, None: nothing waits for a time. `past` and `undelivered` have the latest last.
    """

    id: UUID
    version: int = VERSION
    number: int = 0
    open: dict[str, OpenCondition] = {}
    over: dict[str, Over] = {}
    told: dict[str, LastTold] = {}
    groups: dict[str, datetime] = {}
    look_at: datetime | None = None
    digests: tuple[str, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    past: tuple[PastCondition, ...] = ()
    undelivered: tuple[Outgoing, ...] = ()


class Waiting(msgspec.Struct, frozen=True):
    """The part of a book that says whether something is to be done: little to read, however large the book."""

    version: int = VERSION
    look_at: datetime | None = None
    digests: tuple[str, ...] = ()
    outbox: tuple[Outgoing, ...] = ()


def noted(book: Book, assessment: Assessment, now: datetime) -> Book:
    """Return the book with what begins and ends now; nothing of it is told yet."""
    current = _most_severe(assessment.conditions)
    opened, over, told = _taken_over(book.open, assessment, current), dict(book.over), dict(book.told)
    ended: list[PastCondition] = []
    for key in [key for key in opened if key not in current and not assessment.leaves_open(key)]:
        closed = opened.pop(key)
        ended.append(PastCondition(closed.condition, closed.began, now, closed.told is not None))
        if closed.told is not None and not assessment.drops(key):
            over[key] = Over(closed, now)
            told[key] = LastTold(closed.told_at or closed.began, closed.told)
    for key, condition in current.items():
        if key in over:  # its end was told to nobody
            opened[key] = over.pop(key).opened
        known = opened.get(key)
        opened[key] = replace(known, condition=condition) if known else OpenCondition(condition, now)
    past = (*book.past, *_together(ended))[-KEPT:]
    return replace(book, open=opened, over=over, told=told, past=past)


def _taken_over(
    known: dict[str, OpenCondition], assessment: Assessment, current: dict[str, Condition]
) -> dict[str, OpenCondition]:
    """Return the open conditions of a book; what version 1 had told of many at once counts as told of each."""
    opened = dict(known)
    is_open = assessment.only_some or any(key.startswith("silent") for key in assessment.undecided)
    if MANY_SILENT not in opened or is_open:
        return opened
    many = opened.pop(MANY_SILENT)
    for key, condition in current.items():
        if condition.kind == "silent" and key not in opened:
            opened[key] = OpenCondition(condition, many.began, many.told)
    return opened


def _together(ended: Iterable[PastCondition]) -> Iterator[PastCondition]:
    """Yield what has ended; more than a few of one kind, level and provider as one, or they would push out the rest."""
    groups: dict[tuple[str, Severity, str, bool], list[PastCondition]] = defaultdict(list)
    for each in ended:
        condition = each.condition
        groups[condition.kind, condition.severity, condition.provider, each.told].append(each)
    for group in groups.values():
        if len(group) <= grouping.FEW:
            yield from group
        else:
            began = min(each.began for each in group)
            condition = grouping.begun([each.condition for each in group], group[0].ended)
            yield replace(group[0], condition=condition, began=began, count=len(group))


def _most_severe(conditions: Iterable[Condition]) -> dict[str, Condition]:
    """Return one condition for each key, in the order given."""
    found: dict[str, Condition] = {}
    for condition in conditions:
        other = found.get(condition.key)
        if other is None or rank(condition.severity) > rank(other.severity):
            found[condition.key] = condition
    return found


def rank(severity: Severity) -> int:
    """Return where a severity stands, from 0 for info."""
    return SEVERITIES.index(severity)


def joined(book: Book, apart: Book) -> Book:
    """Return a book with what was noted in another one while it could not be read; of one key it knows better itself.

    Notices of both are sent: rather twice than not at all.
    """
    return replace(
        book,
        open=apart.open | book.open,
        over={key: over for key, over in (apart.over | book.over).items() if key not in book.open},
        told=apart.told | book.told,
        groups=apart.groups | book.groups,
        digests=tuple(sorted({*book.digests, *apart.digests})),
        look_at=min(filter(None, (book.look_at, apart.look_at)), default=None),
        outbox=book.outbox + apart.outbox,
        past=(book.past + apart.past)[-KEPT:],
        undelivered=(book.undelivered + apart.undelivered)[-KEPT:],
    )


# --- the outbox ---


def due(outbox: Iterable[Outgoing], now: datetime, channel: Receiver, *, quiet: bool = False) -> list[Outgoing]:
    """Return what may be sent to a receiver now: the least tried first, and of one kind nothing before what came first.

    A notice that fails again and again must not hold up the others. In `quiet` hours only what is critical is sent, and
    its beginning passes what waits for their end.
    """
    ready: list[Outgoing] = []
    behind: set[str] = set()  # kinds of which something comes first
    passed: set[str] = set()  # kinds of which a beginning may be passed by another, but by no end
    for entry in outbox:
        if entry.channel != channel:
            continue
        notice, kind = entry.notice, entry.notice.condition.kind
        if quiet and notice.condition.severity != "critical" and notice.kind == "begun":
            passed.add(kind)
            continue
        is_held = (quiet and notice.condition.severity != "critical") or (notice.kind != "begun" and kind in passed)
        if not is_held and kind not in behind and _is_due(entry, now):
            ready.append(entry)
        behind.add(kind)
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
    return replace(book, outbox=tuple(keep), undelivered=undelivered)


def is_hopeless(entry: Outgoing, now: datetime, error: DeliveryError) -> bool:
    """Say whether a notice is given up after this error."""
    return error.permanent or now - entry.queued > GIVE_UP_AFTER


def _failed(entry: Outgoing, now: datetime, error: DeliveryError) -> Outgoing:
    doublings = min(entry.attempts, 10)  # beyond that the longest wait holds anyway
    wait = min(FIRST_RETRY * 2**doublings, LONGEST_RETRY)
    return replace(entry, attempts=entry.attempts + 1, next_try=now + wait, last_error=error.advice)
