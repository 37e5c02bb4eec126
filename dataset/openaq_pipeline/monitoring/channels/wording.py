"""What a notice says, the same on every channel: one headline, the facts, and a word and a colour for each level."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from openaq_pipeline.monitoring.health import in_words
from openaq_pipeline.reports import Condition, Digest, Notice, Severity

RECOVERED_COLOUR, RECOVERED_MARK = "#2e7d32", ":large_green_circle:"
COLOURS: dict[Severity, str] = {"info": "#1565c0", "warning": "#b26a00", "error": "#c62828", "critical": "#7f0000"}
MARKS: dict[Severity, str] = {
    "info": ":large_blue_circle:",
    "warning": ":large_yellow_circle:",
    "error": ":large_orange_circle:",
    "critical": ":red_circle:",
}


DIGEST_LINES = 10
"""So many locations stand in a text; the picture has more."""


class Origin(NamedTuple):
    """Where a notice comes from; `environment` is empty when the user has not named one."""

    environment: str
    host: str

    @classmethod
    def here(cls, environment: str) -> Origin:
        """Return this machine as the origin."""
        return cls(environment, socket.gethostname())

    def __str__(self) -> str:
        return f"{self.environment} on {self.host}" if self.environment else self.host


def level(notice: Notice) -> str:
    """Return the word that comes first: the severity, or that it is over."""
    if notice.kind in {"test", "digest"}:
        return "Test" if notice.kind == "test" else "The week"
    return "Recovered" if notice.kind == "recovered" else notice.condition.severity.capitalize()


def colour(notice: Notice) -> str:
    """Return the colour of the level as `#rrggbb`."""
    return RECOVERED_COLOUR if notice.kind == "recovered" else COLOURS[notice.condition.severity]


def mark(notice: Notice) -> str:
    """Return the level's colour as the name of an emoji."""
    return RECOVERED_MARK if notice.kind == "recovered" else MARKS[notice.condition.severity]


def headline(notice: Notice, origin: Origin) -> str:
    """Return the notice in one line: level, what, where."""
    return one_line(f"{level(notice)}: {notice.condition.title} [{origin}]", 200)


def body(notice: Notice) -> str:
    """Return what happened, in one paragraph."""
    said = one_line(notice.condition.message, 1000)
    return f"It is over. It was: {said}" if notice.kind == "recovered" and said and notice.count == 1 else said


def digest_lines(digest: Digest) -> Iterator[str]:
    """Yield a look back line by line: the worst locations with their days, and the alerts with how long they lasted."""
    if digest.places:
        yield "Worst locations, percent complete:"
        yield f"  {' '.join(f'{day:%a}' for day in digest.days)}"
        for place in digest.places[:DIGEST_LINES]:
            days = " ".join("  -" if day is None else f"{day:>3}" for day in place.days)
            yield f"  {days}  {one_line(place.name, 80)}"
    if digest.alerts:
        yield "Alerts:"
        for alert in digest.alerts:
            lasted = f"lasted {in_words(alert.ended - alert.began)}" if alert.ended else "still lasts"
            yield f"  {alert.began:%Y-%m-%d %H:%M} UTC, {lasted}: {one_line(alert.title, 120)}"
    if digest.more_alerts:
        yield f"  and {digest.more_alerts:,} more"


def alt(digest: Digest) -> str:
    """Return what the picture of a look back shows, in words for who can't see it."""
    known = [(place, [day for day in place.days if day is not None]) for place in digest.places]
    worst = [f"{one_line(place.name, 60)} {sum(days) // len(days)} %" for place, days in known if days][:3]
    whole = "" if digest.completeness is None else f" {digest.completeness:.1f} % in all."
    said = f" Worst: {', '.join(worst)}." if worst else ""
    return f"Percent complete by location and day, {digest.days[0]:%d %b} to {digest.days[-1]:%d %b %Y}.{whole}{said}"


def hint(notice: Notice) -> str:
    """Return what to do; empty when it is over or there is no advice."""
    return "" if notice.kind == "recovered" else one_line(notice.condition.hint, 1000)


def plain(notice: Notice, origin: Origin) -> str:
    """Return what a notice says in plain text, without its headline."""
    told = "\n".join(f"{name}: {value}" for name, value in facts(notice, origin))
    week = "\n".join(digest_lines(notice.digest)) if notice.digest else ""
    return "\n\n".join(part for part in (body(notice), week, hint(notice), told) if part) + "\n"


def facts(notice: Notice, origin: Origin) -> list[tuple[str, str]]:
    """Return name and value of what helps to place the notice."""
    here = [
        ("Environment", one_line(origin.environment, 200) or "not named"),
        ("Host", one_line(origin.host, 200)),
    ]
    if notice.digest:
        return [*here, ("Days by the clocks of", notice.digest.timezone)]
    found = [
        ("Level", notice.condition.severity),
        ("Condition", one_line(notice.condition.key, 200)),
        *here,
        ("Began", stamp(notice.began)),
    ]
    return [*found, ("Ended", stamp(notice.ended))] if notice.ended else found


def stamp(moment: datetime) -> str:
    """Return a time for people."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def one_line(text: str, limit: int) -> str:
    """Return a text in one line without control characters: names come from the network, and go into headers."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(printable.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def trial_notice(now: datetime, notice_id: str) -> Notice:
    """Return a notice that says that it is only a test."""
    message = "This is a test. Alerts of this pipeline will arrive here."
    return Notice(notice_id, "test", Condition("test", "info", "Alerts reach you", message), began=now)
