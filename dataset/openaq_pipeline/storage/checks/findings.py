"""What is wrong with a file, as findings: one for each rule that is broken, with how often and the first place."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from openaq_pipeline.errors import StorageError
from openaq_pipeline.model import UNREADABLE
from openaq_pipeline.reports import Finding

MEND = "Run `openaq-pipeline verify --repair`."
NEWER = "Update this program; nothing was changed."
AT_REST = "Nothing needs to be done: it does not count, and goes with the next write."

_ROWS: dict[str, tuple[Literal["error", "info"], str, str]] = {
    "undecodable_row": ("error", "that can't be read as {are}", MEND),
    "wrong_location": ("error", "of another location", MEND),
    "wrong_year": ("error", "of another year", MEND),
    "duplicate_key": ("error", "whose sensor and time {are} there twice", MEND),
    "not_sorted": ("error", "that {stand} out of order", MEND),
    "missing_field": ("error", "with an empty name among {their} issues", MEND),
    "left_over": ("info", "left over from a move to the history", AT_REST),
    "unknown_issue": (
        "info",
        "with an issue that no rule of this version names",
        "Rows of another version keep theirs.",
    ),
}
"""Rules about rows: how bad it is, what is said of the rows, and what to do."""


class Notes:
    """Collects what rows are found to break, and says it."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, rule: str, example: str, count: int = 1) -> None:
        """Note so many rows that break a rule; of the examples the first stays. None is nothing."""
        if count:
            before, first = self._found.get(rule, (0, example))
            self._found[rule] = (before + count, first)

    def findings(self) -> tuple[Finding, ...]:
        """Return a finding for each rule, in the order of the table."""
        return tuple(_finding(rule, *self._found[rule]) for rule in _ROWS if rule in self._found)


def _finding(rule: str, count: int, example: str) -> Finding:
    severity, what, hint = _ROWS[rule]
    one = count == 1
    words = {"are": "is" if one else "are", "stand": "stands" if one else "stand", "their": "its" if one else "their"}
    if rule == "undecodable_row":
        words["are"] = "a measurement" if one else "measurements"
    said = f"{count:,} {'row' if one else 'rows'} {what.format(**words)}"
    return Finding(rule, severity, count, f"{said}; first: {example}", hint)


def fault(rule: str, message: str, hint: str = MEND, *, count: int = 1) -> Finding:
    """Return a finding that makes a file unsound."""
    return Finding(rule, "error", count, message, hint)


def damaged(reason: str) -> Finding:
    """Return the finding for a file that is not what was written."""
    first = reason.splitlines()[0].split(". ")[0].rstrip(".") if reason else "no reason given"
    return fault("damaged_file", f"it is damaged: {first}")


def newer() -> Finding:
    """Return the finding for a file that this version can't judge."""
    return fault("newer_version", "it was written by a newer version of this program", NEWER)


def refused(error: OSError) -> Finding:
    """Return the finding for a file that the system does not let be read, which is no damage of the file."""
    hint = "Look at the file's permissions and the disk; nothing is repaired that can't be read."
    return fault("unreadable_file", f"it can't be read: {error.strerror or error}", hint)


def of_storage(error: StorageError) -> Finding:
    """Return the finding for what a store says of its file."""
    cause = error.__cause__
    if isinstance(cause, UNREADABLE):
        return damaged(str(cause))
    return refused(cause) if isinstance(cause, OSError) else damaged(str(error))


def row_name(sensors_id: int, stamp: datetime | str) -> str:
    """Return which row is meant, in words."""
    text = stamp if isinstance(stamp, str) else stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"sensor {sensors_id} at {text}"


def broken(findings: tuple[Finding, ...]) -> bool:
    """Say whether something is wrong that a repair can mend."""
    return any(
        found.severity == "error" and found.rule not in {"newer_version", "unreadable_file"} for found in findings
    )
