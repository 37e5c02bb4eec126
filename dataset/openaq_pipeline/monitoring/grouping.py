"""Several conditions said as one: "4 locations of AirNow are silent since 14:00 UTC". Pure.

What is said together is of one kind and level; of one provider, or of several at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from openaq_pipeline.monitoring.health import in_words
from openaq_pipeline.reports import Condition, Member, Severity

FEW = 5
"""More groups than this of one kind and level are told as one, whatever their providers."""

NAMED = 10
MEMBERS = 50
"""So many are named in a text, and so many are listed for programs."""

NAME_CHARACTERS = 60


class Phrases(NamedTuple):
    """What is said of several that hold, of one and of several that are over, and what to do."""

    hold: str
    is_over: str
    are_over: str
    hint: str


PHRASES = {
    "silent": Phrases(
        "are silent",
        "reports again",
        "report again",
        "See on explore.openaq.org whether it still reports; monitor.py tells which sensors are parked.",
    )
}
"""By kind; of other kinds nothing but their title is said."""


def begun(conditions: Sequence[Condition], now: datetime, severity: Severity | None = None) -> Condition:
    """Return what is said of conditions that hold; of one that is itself. `severity` is that at which they are told."""
    first = replace(conditions[0], severity=severity or conditions[0].severity)
    phrases = PHRASES.get(first.kind)
    if phrases and not first.message:  # it was noted in a few words
        first = replace(first, message=f"{first.title}.", hint=phrases.hint)
    if len(conditions) == 1:
        return first
    since = _all_since(conditions)
    title = _of_many(conditions)
    return replace(
        first,
        key=first.kind,
        title=f"{title} since {_clock(since, now)}" if since else title,
        message=f"{named(conditions)}.",
        provider=_one_provider(conditions),
        subject="",
        since=since,
    )


def recovered(
    conditions: Sequence[Condition], spans: Sequence[tuple[datetime, datetime]], severity: Severity
) -> Condition:
    """Return what is said of conditions that are over; `spans` is from when to when each was seen."""
    first = replace(conditions[0], severity=severity, hint="")
    lasted = lasted_words(lasting(conditions, spans))
    phrases = PHRASES.get(first.kind)
    if len(conditions) == 1:
        said = f"{first.subject} {phrases.is_over}" if phrases and first.subject else f"{first.title}: over"
        return replace(first, title=f"{said} after {lasted}")
    provider = _one_provider(conditions)
    said = f"{len(conditions):,} {_what(conditions)} {phrases.are_over}" if phrases else f"{_of_many(conditions)}: over"
    return replace(
        first,
        key=first.kind,
        title=f"{provider}: {said} after {lasted}" if provider else f"{said} after {lasted}",
        message=f"{named(conditions)}.",
        provider=provider,
        subject="",
        since=None,
    )


def members(conditions: Sequence[Condition]) -> tuple[Member, ...]:
    """Return the first of several conditions as a notice lists them; nothing of a single one, which says it itself."""
    if len(conditions) == 1:
        return ()
    return tuple(Member(each.key, _name(each), each.since) for each in conditions[:MEMBERS])


def named(conditions: Sequence[Condition]) -> str:
    """Return the first of several by their names, and how many more there are."""
    more = f" and {len(conditions) - NAMED:,} more" if len(conditions) > NAMED else ""
    return ", ".join(_name(each) for each in conditions[:NAMED]) + more


def lasting(conditions: Sequence[Condition], spans: Sequence[tuple[datetime, datetime]]) -> list[timedelta]:
    """Return how long each lasted: since it really began, where that is known."""
    began = (min(each.since or span[0], span[0]) for each, span in zip(conditions, spans, strict=True))
    return sorted(max(timedelta(0), span[1] - start) for start, span in zip(began, spans, strict=True))


def lasted_words(spans: Sequence[timedelta]) -> str:
    """Return how long it lasted; of several from the shortest to the longest."""
    shortest, longest = in_words(min(spans)), in_words(max(spans))
    return longest if shortest == longest else f"{shortest} to {longest}"


def _of_many(conditions: Sequence[Condition]) -> str:
    """Return "4 locations of AirNow are silent"; of a kind without words of its own the first title, and how many."""
    phrases = PHRASES.get(conditions[0].kind)
    if phrases is None:
        return f"{conditions[0].title} and {len(conditions) - 1:,} more"
    provider, providers = _one_provider(conditions), len({each.provider for each in conditions})
    of = f" of {provider}" if provider else f" of {providers:,} providers" if providers > 1 else ""
    return f"{len(conditions):,} {_what(conditions)}{of} {phrases.hold}"


def _what(conditions: Sequence[Condition]) -> str:
    return "locations" if conditions[0].subject else "conditions"


def _one_provider(conditions: Sequence[Condition]) -> str:
    providers = {each.provider for each in conditions}
    return _short(providers.pop()) if len(providers) == 1 else ""


def _all_since(conditions: Sequence[Condition]) -> datetime | None:
    """Return since when all of them last; None: of some nobody knows."""
    known = [each.since for each in conditions]
    return None if None in known else max(since for since in known if since)


def _clock(since: datetime, now: datetime) -> str:
    """Return a moment, without its date if that is today's."""
    return f"{since:%H:%M} UTC" if since.date() == now.date() else f"{since:%Y-%m-%d %H:%M} UTC"


def _name(condition: Condition) -> str:
    return _short(condition.subject or condition.title)


def _short(text: str) -> str:
    return text if len(text) <= NAME_CHARACTERS else text[: NAME_CHARACTERS - 1] + "…"
