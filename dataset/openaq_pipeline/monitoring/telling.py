"""What of the book is told, when, and together with what. Pure.

1. What is open and was not told, and what is `over` and not told to be so, waits. Nothing else is stored of what waits,
   so a beginning that ends while it waits is told neither way: it is past, where the digest and the page show it.
2. **Level.** A condition is raised a level for each `escalate_after` that it lasts; once it was told, one level at a
   time and not before it was told for that long. It is news once at each level above the one that was told.
3. **Cool-down.** Nor is it news if its key was told, at this level or above, less than `cooldown` ago.
4. **Groups.** What waits is told together with all that is of one sort (begun, ended), kind, level and provider: one
   notice. If more than a few of such groups of one kind and level are told at once, they are one notice.
5. **Pause.** A group that was told less than `pause` ago waits until then, and what joins it meanwhile waits with it.
6. **Quiet hours.** What is not critical waits until they are over.
7. What is critical waits for neither.
8. **Lowest level.** A notice is for each receiver whose lowest level is not above its own. If there is none it waits.
   The end is told at the level that was told last, and so to whoever was told the beginning.
9. A notice that is told is noted as told, and put into the outbox, in one change. It is never changed again: what joins
   later is another notice.
10. A notice for a receiver that is there no more is given up when it is too old to help.
11. `look_at` is when something that waits may be told, so that somebody looks again then, without another poll.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import uuid5

import msgspec
from msgspec.structs import replace

from openaq_pipeline.monitoring import grouping
from openaq_pipeline.monitoring.alerts import (
    GIVE_UP_AFTER,
    KEPT,
    SEVERITIES,
    Book,
    OpenCondition,
    Outgoing,
    Over,
    noted,
    rank,
)
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.monitoring.quiet import QuietHours
from openaq_pipeline.monitoring.weekly import REMEMBERED, Weekly
from openaq_pipeline.reports import Condition, Digest, Notice, Receiver, Severity

MAX_OUTBOX = 300
"""With so much untold, further beginnings wait; they are told when there is room, if they still last."""

SWITCHED_OFF = "This channel is switched off."

Sort = Literal["begun", "recovered"]


class Policy(msgspec.Struct, frozen=True):
    """How and whom to tell: each receiver with the lowest level that it is told; what is None never happens."""

    receivers: Mapping[Receiver, Severity]
    cooldown: timedelta
    pause: timedelta = timedelta(0)
    escalate_after: timedelta | None = None
    quiet: QuietHours | None = None
    digest: Weekly | None = None

    def told(self, level: Severity) -> list[Receiver]:
        """Return who is told what has this level."""
        return [receiver for receiver, lowest in self.receivers.items() if rank(lowest) <= rank(level)]

    def quiet_until(self, now: datetime) -> datetime | None:
        """Return when the quiet hours that hold now are over; None: none do."""
        return self.quiet.until(now) if self.quiet else None


class Group(NamedTuple):
    """What is told together."""

    sort: Sort
    kind: str
    level: Severity
    provider: str

    def __str__(self) -> str:
        return "|".join(self)


def update(book: Book, assessment: Assessment, now: datetime, policy: Policy) -> Book:
    """Return the book with what begins and ends now, and with the notices that are due in the outbox.

    Without receivers nothing is told, but everything is remembered.
    """
    return release(noted(book, assessment, now), now, policy)


def release(book: Book, now: datetime, policy: Policy) -> Book:
    """Return the book with the notices in the outbox that need wait no longer."""
    return _Pen(book, now, policy).written()


def digest_due(told: tuple[str, ...], now: datetime, policy: Policy) -> str | None:
    """Return the name of the week of which a digest is to be told now; None: there is none, or nobody to be told."""
    if policy.digest is None or not policy.told("info"):
        return None
    return policy.digest.due(told, now)


def digest_told(book: Book, week: str) -> Book:
    """Return the book with a week whose digest counts as told."""
    return book if week in book.digests else replace(book, digests=(*book.digests, week)[-REMEMBERED:])


def with_digest(book: Book, said: tuple[Condition, Digest], now: datetime, policy: Policy) -> Book:
    """Return the book with a digest in the outbox, if it is still due: of one week once, however often called."""
    week = digest_due(book.digests, now, policy)
    if week is None:
        return book
    condition, digest = said
    number = book.number + 1
    notice = Notice(str(uuid5(book.id, str(number))), "digest", condition, began=now, digest=digest)
    sent = tuple(Outgoing(notice, receiver, now, now) for receiver in policy.told(condition.severity))
    return digest_told(replace(book, number=number, outbox=book.outbox + sent), week)


def level_of(opened: OpenCondition, now: datetime, policy: Policy) -> Severity:
    """Return the level of a condition now: its own, or what it was raised to because it lasts."""
    own, span = rank(opened.condition.severity), policy.escalate_after
    if span is None:
        return SEVERITIES[own]
    raised = own + max(0, (now - opened.began) // span)
    if opened.told is not None:
        is_time = now - (opened.told_at or opened.began) >= span
        raised = max(own, min(raised, rank(opened.told) + is_time))
    return SEVERITIES[min(raised, len(SEVERITIES) - 1)]


class _Pen:
    """Writes the next version of a book; a copy for every line would take seconds with 25,000 locations."""

    def __init__(self, book: Book, now: datetime, policy: Policy) -> None:
        self._book, self._now, self._policy = book, now, policy
        lost = [entry for entry in book.outbox if self._is_lost(entry)]
        self._number, self._outbox = book.number, [entry for entry in book.outbox if entry not in lost]
        self._undelivered = (*book.undelivered, *(replace(entry, last_error=SWITCHED_OFF) for entry in lost))[-KEPT:]
        self._open, self._over = dict(book.open), dict(book.over)
        self._told = {key: last for key, last in book.told.items() if self._is_recent(last.at, policy.cooldown)}
        self._groups = {name: at for name, at in book.groups.items() if self._is_recent(at, policy.pause)}
        self._quiet_until = policy.quiet_until(now)
        self._moments: list[datetime] = []

    def written(self) -> Book:
        """Return the new version."""
        self._tell_ends()  # first: the end of one spell comes before the beginning of the next
        self._tell_beginnings()
        if self._policy.digest is not None:
            self._moments.append(self._policy.digest.next(self._now))
        return replace(
            self._book,
            number=self._number,
            open=self._open,
            over=self._over,
            told=self._told,
            groups=self._groups,
            look_at=min((moment for moment in self._moments if moment > self._now), default=None),
            outbox=tuple(self._outbox),
            undelivered=self._undelivered,
        )

    def _is_lost(self, entry: Outgoing) -> bool:
        return entry.channel not in self._policy.receivers and self._now - entry.queued > GIVE_UP_AFTER

    def _is_recent(self, at: datetime, span: timedelta) -> bool:
        """Say whether a span lasts; a clock that was far ahead for a while must not make it last for years."""
        return abs(self._now - at) < span

    # --- beginnings ---

    def _tell_beginnings(self) -> None:
        waiting: dict[Group, list[str]] = defaultdict(list)
        for key, opened in self._open.items():
            level = level_of(opened, self._now, self._policy)
            if self._is_news(key, opened, level):
                waiting[Group("begun", opened.condition.kind, level, opened.condition.provider)].append(key)
            self._look_when_raised(opened, level)
        for groups, keys in self._ready(waiting):
            if len(self._outbox) < MAX_OUTBOX:
                self._begin(groups[0].level, keys)
                self._pause(groups)

    def _is_news(self, key: str, opened: OpenCondition, level: Severity) -> bool:
        if opened.told is not None:
            return rank(level) > rank(opened.told)
        last = self._told.get(key)
        if last is None or rank(level) > rank(last.severity):
            return True
        self._moments.append(last.at + self._policy.cooldown)
        return False

    def _look_when_raised(self, opened: OpenCondition, level: Severity) -> None:
        span = self._policy.escalate_after
        if span is not None and level != SEVERITIES[-1]:
            passed = max(0, (self._now - opened.began) // span)
            self._moments += [opened.began + (passed + 1) * span, (opened.told_at or self._now) + span]

    def _begin(self, level: Severity, keys: Sequence[str]) -> None:
        told = [self._open[key] for key in keys]
        condition = grouping.begun([each.condition for each in told], self._now, level)
        self._send("begun", condition, [each.condition for each in told], min(each.began for each in told), None)
        for key, each in zip(keys, told, strict=True):
            self._open[key] = replace(each, told=level, told_at=self._now)
            self._told.pop(key, None)

    # --- ends ---

    def _tell_ends(self) -> None:
        waiting: dict[Group, list[str]] = defaultdict(list)
        for key, over in list(self._over.items()):
            condition = over.opened.condition
            level = over.opened.told or condition.severity
            if self._policy.told(level):
                waiting[Group("recovered", condition.kind, level, condition.provider)].append(key)
            else:  # whoever was told of it is told nothing any more
                del self._over[key]
        for groups, keys in self._ready(waiting):
            self._end(groups[0].level, [self._over.pop(key) for key in keys])
            self._pause(groups)

    def _end(self, level: Severity, ended: Sequence[Over]) -> None:
        conditions = [each.opened.condition for each in ended]
        spans = [(each.opened.began, each.ended) for each in ended]
        said = grouping.recovered(conditions, spans, level)
        self._send("recovered", said, conditions, min(span[0] for span in spans), max(span[1] for span in spans))

    # --- both ---

    def _ready(self, waiting: Mapping[Group, list[str]]) -> Iterator[tuple[list[Group], list[str]]]:
        """Yield what need not wait any longer, group by group; many groups of one kind and level as one."""
        together: dict[tuple[str, Severity], list[Group]] = defaultdict(list)
        for group in waiting:
            if self._policy.told(group.level) and not self._waits(group):
                together[group.kind, group.level].append(group)
        for groups in together.values():
            for told in [groups] if len(groups) > grouping.FEW else [[group] for group in groups]:
                yield told, [key for group in told for key in waiting[group]]

    def _pause(self, groups: Sequence[Group]) -> None:
        if self._policy.pause:
            self._groups.update(dict.fromkeys(map(str, groups), self._now))

    def _waits(self, group: Group) -> bool:
        """Say whether a group has to wait, and note until when."""
        if group.level == SEVERITIES[-1]:
            return False
        last = self._groups.get(str(group))
        until = [last + self._policy.pause] if last else []
        until += [self._quiet_until] if self._quiet_until else []
        self._moments += [max(until)] if until else []
        return bool(until)

    def _send(
        self, sort: Sort, said: Condition, about: Sequence[Condition], began: datetime, ended: datetime | None
    ) -> None:
        self._number += 1
        notice = Notice(
            id=str(uuid5(self._book.id, str(self._number))),
            kind=sort,
            condition=said,
            began=began,
            ended=ended,
            count=len(about),
            members=grouping.members(about),
        )
        receivers = self._policy.told(said.severity)
        self._outbox.extend(Outgoing(notice, receiver, self._now, self._now) for receiver in receivers)
