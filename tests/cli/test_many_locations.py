"""What is told of thousands of locations: the worst, the totals, and a line now and then."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from openaq_pipeline.cli import show, show_health
from openaq_pipeline.cli.progress import LINE_SECONDS, Lines
from openaq_pipeline.model import Counts
from openaq_pipeline.overview import Overview
from openaq_pipeline.reports import (
    Gauge,
    Health,
    LocationHealth,
    LocationReport,
    Outcome,
    RunPlan,
    RunReport,
    SensorReport,
)
from openaq_pipeline.run import MOST_LOGGED, log_report

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def report(location_id: int, outcome: Outcome = "ok", *, warning: str = "", parked: bool = False) -> LocationReport:
    sensors = (SensorReport(1, "pm25", "µg/m³", "parked", Counts(), None, "it answers 500"),) if parked else ()
    error = None if outcome == "ok" else f"{location_id} answered 500"
    warnings = (warning,) if warning else ()
    return LocationReport(location_id, None, outcome, Counts(new=1), 1, sensors, error, warnings)


def listed(lines: list[str]) -> list[int]:
    """Return the ids of the locations that have a line."""
    first = [line.split()[0] for line in lines if line.startswith(" ") and "!" not in line]
    return [int(word) for word in first if word.isdigit()]


def test_few_locations_are_all_listed() -> None:
    lines = show.table([report(number) for number in range(1, show.MANY + 1)])
    assert listed(lines) == list(range(1, show.MANY + 1))
    assert len(lines) == show.MANY + 1


def test_of_many_those_are_listed_of_which_there_is_something_to_say() -> None:
    good = [report(number) for number in range(100, 200)]
    bad = [report(1, warning="odd"), report(2, "partial"), report(3, "failed"), report(4, parked=True)]
    lines = show.table([*good, *bad])
    assert listed(lines) == [3, 2, 1, 4]
    assert lines[-1] == "100 locations more, nothing amiss; --json has all of them."


def test_of_many_bad_ones_the_worst_are_listed_and_the_others_counted() -> None:
    places = [report(number, "partial") for number in range(1000, 2000)] + [report(7, "failed")]
    lines = show.table([*places, *map(report, range(3000, 3100))])
    assert listed(lines)[0] == 7
    assert len(listed(lines)) == show.MANY
    assert lines[-1] == "1,051 locations more, 951 of them with something amiss; --json has all of them."


def test_many_good_ones_are_a_sentence_and_the_totals() -> None:
    locations = tuple(map(report, range(1, 25_001)))
    text = show.report(RunReport(NOW, 1.0, 5, locations, 0.1), Path("data"))
    assert "25,000 locations more, nothing amiss" in text
    assert "25,000 locations: 25,000 ok, 0 partial, 0 failed." in text
    assert len(text.splitlines()) < 10


def place(location_id: int, status: Literal["current", "silent", "failing", "unknown"] = "current") -> LocationHealth:
    return LocationHealth(location_id, None, status, NOW, 0.0, NOW, 1, ())


def test_the_monitor_lists_the_worst_of_many_as_well() -> None:
    places = (*map(place, range(100, 200)), place(1, "silent"), place(2, "failing"))
    text = show_health.text(Overview(Health("degraded", "So it is", places, NOW, None), (), None, "data", ()), NOW)
    assert listed(text.splitlines()) == [2, 1]
    assert "100 locations more, nothing amiss; --json has all of them." in text


def lines_of(
    locations: int, seconds_each: float, capsys: pytest.CaptureFixture[str], *, gauge: bool = False
) -> list[str]:
    clock = [0.0]
    watcher = Lines(clock=lambda: clock[0])
    watcher.planned(RunPlan(locations, 0, 0, 0, None, 1, 0.0))
    if gauge:
        watcher.begins(lambda: Gauge(4, 3, 0, 0.0))
    capsys.readouterr()
    for number in range(1, locations + 1):
        watcher.finished(report(number))
        clock[0] += seconds_each
    return capsys.readouterr().err.splitlines()


def test_few_locations_have_a_line_each_while_the_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(2, 0.0, capsys)
    assert lines == [f"[{n}/2] location {n}: ok, 1 new, 0 revised, 0 identical" for n in (1, 2)]


def test_many_locations_have_a_line_now_and_then_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(1000, LINE_SECONDS / 512, capsys)
    assert lines == [f"[{n}/1000] locations, {n:,} new row{'s' * (n > 1)}" for n in (1, 513, 1000)]


def test_a_backfill_of_many_locations_tells_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(51, 0.0, capsys, gauge=True)
    assert lines[-1] == "[51/51] locations, 4 new rows, 3 requests left, a few seconds or more"


def test_the_log_of_a_run_that_fails_everywhere_is_not_flooded(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_report(RunReport(NOW, 1.0, 5, tuple(report(number, "failed") for number in range(500)), None))
    assert len(caplog.messages) == MOST_LOGGED + 2
    assert caplog.messages[0] == "Location 0 failed: 0 answered 500"
    assert caplog.messages[-2] == "400 lines more like these; metrics.json has them all"
