"""Say in words how a run of the workflow went, from what it left in report/.

report.py subject    print the line for the commit
report.py summary    write the page of the run (GITHUB_STEP_SUMMARY), and report/verdict.txt for Slack
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPORT = Path("report")
SHOWN = 50
"""Locations in the table, the worst first."""

LINES = 5
WORST_FIRST = ("failed", "partial", "ok")
COUNTS = ("new", "revised", "identical", "rejected")
CODES = {
    "1": "The run fell short or failed",
    "2": "The run could not start: something is wrong with its settings",
    "3": "Another process works on the data",
    "4": "A bug ended the run",
}


def run() -> dict[str, Any] | None:
    """Return the report of the run; None if it left none that is whole."""
    try:
        found = json.loads((REPORT / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def total(report: dict[str, Any], name: str) -> int:
    """Return how many rows of all locations were new, revised, identical or rejected."""
    return sum(location[name] for location in report["locations"])


def subject() -> str:
    """Return the first line of the commit."""
    if (report := run()) is None:
        return "Rows of a run that was cut short"
    when = report["started"].replace("T", " ")[:16]
    return f"{when} UTC: {total(report, 'new')} rows new, {total(report, 'revised')} revised"


def verdict() -> str:
    """Return what went wrong, in words without figures, so that the same failure is told in the same words."""
    said = os.environ.get
    if said("STATUS") == "success":
        return "All is well"
    wrong = [text] if (text := _read("problem.txt")) else []
    if said("RUN") == "failure" and not wrong:
        wrong.append(CODES.get(said("CODE", ""), "The run was ended before it was through"))
    if said("KEEP") == "failure" and not wrong:
        wrong.append("The data could not be kept")
    if said("CHECK") == "failure":
        wrong.append("The check of what is stored has failed")
    return "; ".join(wrong) or "A step before the run has failed"


def page() -> Iterator[str]:
    """Yield the lines of the page, in Markdown."""
    yield f"### {verdict()}"  # our own words alone
    report = run()
    if report is not None:
        yield from _figures(report)
    elif said := _read("run.log"):
        yield from ("", "```text", *(line.replace("`", "'") for line in said.splitlines()[-LINES:]), "```")
    yield ""
    yield f"Data: {_kept()}"
    if said := _read("check.txt"):
        yield f"<br>Check of what is stored: {escaped(said.splitlines()[-1])}"


def _figures(report: dict[str, Any]) -> Iterator[str]:
    quality = "no rows" if report.get("quality_score") is None else f"{report['quality_score']:.1f} % without an issue"
    yield ""
    yield f"{report['requests']:,} requests in {report['duration_seconds']:.0f} s; {quality}."
    if report.get("error"):
        yield f"**{escaped(report['error'])}**"
    yield ""
    yield "| location | name | outcome | new | revised | identical | rejected | error |"
    yield "| ---: | --- | --- | ---: | ---: | ---: | ---: | --- |"
    places = sorted(report["locations"], key=lambda place: (WORST_FIRST.index(place["outcome"]), -place["new"]))
    for place in places[:SHOWN]:
        cells = [str(place["location_id"]), escaped(place["name"] or ""), place["outcome"]]
        cells += [f"{place[name]:,}" for name in COUNTS]
        yield f"| {' | '.join([*cells, escaped(place['error'] or '')])} |"
    if len(places) > SHOWN:
        yield f"| | and {len(places) - SHOWN:,} more | | | | | | |"
    yield f"| | **all** | | {' | '.join(f'**{total(report, name):,}**' for name in COUNTS)} | |"


def _kept() -> str:
    if commit := os.environ.get("COMMIT"):
        address = "/".join(os.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
        return f"committed as [{commit[:10]}]({address}/commit/{commit})"
    if os.environ.get("KEEP") != "success":
        return "as they were"
    return "in GitHub's cache" if os.environ.get("DATA_STORE") == "cache" else "no row is new, nothing to commit"


def escaped(text: str) -> str:
    """Return a text that others wrote so that Markdown takes it for letters alone, in one line."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~@:])", r"\\\1", " ".join(text.split()))


def _read(name: str) -> str:
    path = REPORT / name
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""


def main(what: str) -> None:
    """Do what the command says."""
    if what == "subject":
        print(subject())
        return
    with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in page())
    REPORT.mkdir(exist_ok=True)
    (REPORT / "verdict.txt").write_text(f"{verdict()}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
