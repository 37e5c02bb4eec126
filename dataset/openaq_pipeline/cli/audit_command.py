"""`audit`: whether the copy is whole, and what OpenAQ has that it lacks; fetch that if asked to."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from datetime import date, datetime

from openaq_pipeline.audit import Audit, Gap, LocationAudit, audit
from openaq_pipeline.audit.fix import Fixed, fix
from openaq_pipeline.cli import EXIT_FELL_SHORT, EXIT_FINE
from openaq_pipeline.cli.run_command import apply, print_json, span_of, stopping
from openaq_pipeline.cli.show import count, printable
from openaq_pipeline.config import load
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.incremental.ledger import KINDS, Kind
from openaq_pipeline.mirror import after_run
from openaq_pipeline.redact import clean
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage import selections
from openaq_pipeline.wiring import Stop, utc_now

LINE_WIDTH = 600
MOST_GAPS = 20
"""So many gaps of one kind are named of a location; `--json` has all of them."""

EVERY = 100
"""A line of progress after so many locations, for those who wait."""

NAMES: dict[Kind, tuple[str, str]] = {
    "complete": ("complete", "complete"),
    "late": ("late", "late"),
    "upstream_gap": ("upstream gap", "upstream gaps"),
    "our_gap": ("our gap", "our gaps"),
    "broken_sensor": ("of a broken sensor", "of broken sensors"),
    "not_due": ("not due yet", "not due yet"),
    "unknown": ("unknown", "unknown"),
}
FIX = "Run `openaq-pipeline audit --fix`: it fetches just these rows."


def main(namespace: argparse.Namespace) -> int:
    """Look, fetch if asked to, and tell; return 0 if the copy is whole by then, else 1."""
    settings = load(
        config=namespace.config,
        data_dir=namespace.data_dir,
        base_url=namespace.base_url,
        locations=namespace.locations,
        log_level="DEBUG" if namespace.debug else None,
    )
    if namespace.fix and namespace.offline:
        raise ConfigError("--fix needs the archive, and --offline forbids it", hint="Give one of the two.")
    if namespace.date_from:
        span_of(namespace.date_from, namespace.date_to, utc_now())
    apply(settings, to_file=namespace.fix and settings.data_dir.is_dir())
    chosen = selections.remembered(settings)
    with stopping() as stop:
        found = _look(chosen, namespace, stop)
        before, fixed = found, tuple[Fixed, ...]()
        if namespace.fix and found.days["our_gap"]:
            if not namespace.json:
                print("\n".join(lines(found)))
            fixed = fix(chosen, found, stop=stop, tell=_to_stderr if namespace.json else print)
            after_run(settings, {each.location_id: each.change for each in fixed if each.change})
            found = _look(chosen, namespace, stop)
    if namespace.json:
        print_json(_json(found) | ({"before": _json(before), "fixed": fixed} if namespace.fix else {}))
    else:
        print("\n".join([*lines(found), *summary(found)]))
    return EXIT_FINE if found.is_whole else EXIT_FELL_SHORT


def lines(found: Audit) -> list[str]:
    """Return a line for each location, and one for each of its gaps."""
    return [
        indent + printable(clean(line), LINE_WIDTH)
        for location in found.locations
        for indent, line in zip(itertools.chain([""], itertools.repeat("  ")), _location(location), strict=False)
    ]


def summary(found: Audit) -> Iterator[str]:
    """Yield the whole in a few sentences, for people."""
    days = sum(found.days.values())
    yield f"{count(len(found.locations), 'location')}, {count(days, 'sensor-day')}: {_kinds(found.days)}."
    if found.outage is not None:
        yield f"OpenAQ's archive can't tell of days older than 4 here: {found.outage}"
    if found.is_whole:
        yield "The copy is whole: OpenAQ has no row of these days that is not here."
    if found.lacked:
        yield f"{count(found.lacked, 'row')} {'is' if found.lacked == 1 else 'are'} missing here. {FIX}"


def _location(found: LocationAudit) -> Iterator[str]:
    name = f"location {found.location_id}" + (f" ({found.name})" if found.name else "")
    if found.first is None:
        yield f"{name}: {'; '.join(found.problems)}"
        return
    yield f"{name}: {found.first} to {found.last}, {count(found.sensors, 'sensor')}: {_kinds(found.days) or 'no row'}"
    yield from (f"! {problem}" for problem in found.problems)
    for kind in KINDS:
        gaps = found.of(kind)
        yield from (_gap(gap) for gap in gaps[:MOST_GAPS])
        if (more := len(gaps) - MOST_GAPS) > 0:
            yield f"and {count(more, 'more run')} of days {NAMES[kind][1]}; --json names them all"


def _gap(gap: Gap) -> str:
    sensor = f"sensor {gap.sensors_id}" + (f" ({gap.parameter})" if gap.parameter else "")
    span = f"{gap.first}" if gap.first == gap.last else f"{gap.first} to {gap.last}"
    rows = f", {count(gap.rows, 'row')}" if gap.rows else ""
    return f"{NAMES[gap.kind][0]}: {sensor}, {span}{rows}"


def _kinds(days: dict[str, int]) -> str:
    """Return how many days there are of each kind that there is."""
    return ", ".join(f"{days[kind]:,} {NAMES[kind][days[kind] != 1]}" for kind in KINDS if days.get(kind))


def _look(settings: Settings, namespace: argparse.Namespace, stop: Stop) -> Audit:
    return audit(
        settings,
        _bound(namespace.date_from),
        _bound(namespace.date_to),
        is_offline=namespace.offline,
        watch=_watch,
        stop=stop,
    )


def _bound(given: tuple[datetime, bool] | None) -> date | datetime | None:
    """Return a date where one was given: it is meant at the station, wherever that is."""
    if given is None:
        return None
    moment, is_date = given
    return moment.date() if is_date else moment


def _json(found: Audit) -> dict[str, object]:
    return {
        "whole": found.is_whole,
        "outage": found.outage,
        "days": found.days,
        "lacked": found.lacked,
        "locations": found.locations,
    }


def _watch(done: int, of: int) -> None:
    if done % EVERY == 0:
        _to_stderr(f"{done:,} of {of:,} locations looked at")


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)
