"""What people read at the end: the plan and the report, as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from openaq_pipeline.reports import Gauge, LocationReport, RunPlan, RunReport, SelectionReport

NAME_WIDTH = 28
MANY = 50
"""So many locations are listed each; of more only those of which there is something to say."""

SEVERITY = {"failed": 0, "partial": 1, "ok": 2}
ROW = "{:>10}  {:<28}  {:<7}  {:>7}  {:>7}  {:>9}  {:>8}"


def plan(found: RunPlan) -> str:
    """Return what a run would ask and cost, for people."""
    known = f"{count(found.locations, 'location')}, {count(found.sensors, 'sensor')} to read"
    parked = f", {found.parked} parked" if found.parked else ""
    unknown = f", {found.unknown_locations} not known yet" if found.unknown_locations else ""
    oldest = f"; the earliest window begins {found.oldest:%Y-%m-%d %H:%M} UTC" if found.oldest else ""
    lines = [f"{known}{parked}{unknown}{oldest}.", *_selections(found.selections)]
    if kinds := _kinds(found):
        lines.append(f"{kinds}.")
    if found.requests:
        within = f"{minutes(found.minutes)} or more within the limits of the key"
        lines.append(f"About {count(found.requests, 'request')}, {within}.")
    else:
        lines.append("Nothing to ask the API.")
    if found.archive_files is not None:
        size = f"{(found.archive_bytes or 0) / 1e6:,.1f} MB"
        lines.append(f"{count(found.archive_files, 'file')} of OpenAQ's archive to fetch, {size}, at no request.")
    return "\n".join(lines)


def _kinds(found: RunPlan) -> str:
    """Return what a poll's requests are for; empty where that is not told."""
    kinds = (
        (found.lists, "for lists of latest rows"),
        (found.news, "for new rows"),
        (found.look_backs, "for rows that may have come late"),
        (found.first_loads, "for first loads"),
        (found.routine, "for the daily sweep and parked sensors"),
        (found.deferred, "left for the next run"),
    )
    return ", ".join(f"{number:,} {what}" for number, what in kinds if number)


def gauge(found: Gauge) -> str:
    """Return how far a backfill is, for people."""
    left = [f"{count(found.rows, 'new row')}"]
    if found.requests_left:
        left.append(f"{count(found.requests_left, 'request')} left, {minutes(found.minutes_left)} or more")
    if found.files_left:
        left.append(f"{count(found.files_left, 'file')} left")
    return ", ".join(left)


def report(found: RunReport, data_dir: Path) -> str:
    """Return the run report for people."""
    return "\n".join(
        [*table(found.locations), "", *_selections(found.selections), *_totals(found), f"Data: {data_dir}"]
    )


def _selections(found: Sequence[SelectionReport]) -> list[str]:
    """Return a line for each selection, and one for each thing to know of it."""
    lines = []
    for each in found:
        lines.append(f"{each.selection}: {count(each.locations, 'location')}, {count(each.sensors, 'sensor')}.")
        lines += [f"  ! {printable(sentence, 400)}" for sentence in each.sentences]
    return lines


def table(locations: Sequence[LocationReport]) -> list[str]:
    """Return a line for each location, and one for each thing that went wrong there; of many only the worst."""
    odd = sorted((one for one in locations if one.outcome != "ok" or remarks(one)), key=_severity)
    shown = locations if len(locations) <= MANY else odd[:MANY]
    lines = [ROW.format("location", "name", "outcome", "new", "revised", "identical", "rejected")] if shown else []
    for location in shown:
        counts = location.counts
        figures = (f"{n:,}" for n in (counts.new, counts.revised, counts.identical, counts.rejected))
        name = printable(location.name or "-", NAME_WIDTH)
        lines.append(ROW.format(location.location_id, name, location.outcome, *figures))
        lines += [f"            ! {printable(remark, 400)}" for remark in remarks(location)]
    return [*lines, *unlisted(len(locations) - len(shown), len(odd) - len(shown))]


def _severity(location: LocationReport) -> int:
    return SEVERITY[location.outcome]


def unlisted(number: int, odd: int) -> list[str]:
    """Return the line that tells of locations that are not listed, of which `odd` should have been; none if all are."""
    what = f"{odd:,} of them with something amiss" if odd > 0 else "nothing amiss"
    return [f"{count(number, 'location')} more, {what}; --json has all of them."] if number else []


def remarks(location: LocationReport) -> list[str]:
    """Return what a person should know of a location beside its counts."""
    odd = [sensor for sensor in location.sensors if sensor.outcome not in {"ok", "deferred"}]
    said = [f"sensor {sensor.sensors_id} ({sensor.parameter}) {sensor.outcome}: {sensor.error}" for sensor in odd]
    if location.error and not any(sensor.outcome in {"failed", "skipped"} for sensor in odd):
        said.insert(0, location.error)
    return [*said, *location.warnings]


def _totals(found: RunReport) -> list[str]:
    counts, outcomes = found.counts, [location.outcome for location in found.locations]
    quality, slowest = found.quality_score, found.slowest_response_seconds
    by_outcome = ", ".join(f"{outcomes.count(outcome):,} {outcome}" for outcome in ("ok", "partial", "failed"))
    became = (
        f"{counts.new:,} new, {counts.revised:,} revised, {counts.identical:,} identical, {counts.rejected:,} rejected"
    )
    score = "" if quality is None else f" Quality {quality:.1f} % (share of rows without an issue)."
    answer = "" if slowest is None else f"; the slowest answer took {slowest:.2f} s"
    left = f", {found.deferred:,} left for the next run" if found.deferred else ""
    cost = f"{count(found.requests, 'request')} sent, {found.requests_planned:,} planned{left}"
    return [
        f"{count(len(outcomes), 'location')}: {by_outcome}.",
        f"{count(counts.fetched, 'row')} fetched: {became}.{score}",
        f"{cost}, in {found.duration_seconds:.1f} s{answer}.",
    ]


def printable(text: str, width: int) -> str:
    """Return text that can't move the cursor or run over its column: names come from outside."""
    clean = "".join(char if char.isprintable() else " " for char in text).strip()
    return clean if len(clean) <= width else clean[: width - 1] + "…"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it belongs."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def minutes(span: float) -> str:
    """Return a span for people: seconds, minutes, or hours and minutes."""
    if span < 1:
        return "a few seconds"
    hours, rest = divmod(round(span), 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"
