"""What a notice says, the same on every channel: one headline, the facts, and a word and a colour for each level."""

from __future__ import annotations

import socket
from datetime import datetime
from typing import NamedTuple

from openaq_pipeline.reports import Condition, Notice, Severity

RECOVERED_COLOUR, RECOVERED_MARK = "#2e7d32", ":large_green_circle:"
COLOURS: dict[Severity, str] = {"info": "#1565c0", "warning": "#b26a00", "error": "#c62828", "critical": "#7f0000"}
MARKS: dict[Severity, str] = {
    "info": ":large_blue_circle:",
    "warning": ":large_yellow_circle:",
    "error": ":large_orange_circle:",
    "critical": ":red_circle:",
}


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
    if notice.kind == "test":
        return "Test"
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


def hint(notice: Notice) -> str:
    """Return what to do; empty when it is over or there is no advice."""
    return "" if notice.kind == "recovered" else one_line(notice.condition.hint, 1000)


def plain(notice: Notice, origin: Origin) -> str:
    """Return what a notice says in plain text, without its headline."""
    told = "\n".join(f"{name}: {value}" for name, value in facts(notice, origin))
    return "\n\n".join(part for part in (body(notice), hint(notice), told) if part) + "\n"


def facts(notice: Notice, origin: Origin) -> list[tuple[str, str]]:
    """Return name and value of what helps to place the notice."""
    found = [
        ("Level", notice.condition.severity),
        ("Condition", one_line(notice.condition.key, 200)),
        ("Environment", one_line(origin.environment, 200) or "not named"),
        ("Host", one_line(origin.host, 200)),
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
