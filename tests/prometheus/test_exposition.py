"""What Prometheus is told: right names, bounded series, and nothing that a name from outside can break."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric, parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from openaq_pipeline.monitoring.exposition import Figures, answer, as_text
from openaq_pipeline.monitoring.families import LONGEST_LABEL, MOST_LOCATIONS
from openaq_pipeline.monitoring.health import health
from openaq_pipeline.settings import AlertSettings
from tests.conftest import ROOT
from tests.monitoring.runs import location, run
from tests.prometheus.parts import HOUR, NOW, PARKED, figures, place
from tests.prometheus.promtool import promtool

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
MANUAL = (ROOT / "PIPELINE_README.md").read_text()


def read(body: bytes) -> Series:
    return {
        (sample.name.removeprefix("openaq_pipeline_"), frozenset(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def told(found: Figures) -> Series:
    return read(as_text(found))


def value(found: Series, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def parsed(body: bytes) -> list[Metric]:
    """What an OpenMetrics parser makes of it, which is stricter than Prometheus."""
    return list(openmetrics_parser.text_string_to_metric_families(body.decode()))  # type: ignore[no-untyped-call]


def names(found: Series) -> set[str]:
    return {name for name, _ in found}


def test_each_figure_is_what_the_files_say() -> None:
    found = told(figures(place(1), place(2, status="failing", parked=(PARKED,))))
    assert value(found, "build_info", version="1.2.3") == 1
    assert value(found, "health_status", status="ok") == 1
    assert value(found, "health_status", status="down") == 0
    assert value(found, "last_run_timestamp_seconds") == (NOW - HOUR / 2).timestamp()
    assert value(found, "next_run_timestamp_seconds") == (NOW + HOUR).timestamp()
    assert value(found, "newest_row_timestamp_seconds") == (NOW - HOUR).timestamp()
    assert value(found, "last_run_rows", outcome="identical") == 4
    assert value(found, "last_run_requests", status="429") == 1
    assert value(found, "rows_total", outcome="new") == 2
    assert value(found, "runs_total", outcome="complete") == 1
    assert value(found, "runs_total", outcome="failed") == 0
    assert value(found, "budget_left_requests", window="minute") == 51
    assert value(found, "open_alerts", severity="critical") == 1
    assert value(found, "open_alerts", severity="error") == 0
    assert value(found, "locations", status="failing") == 1
    assert value(found, "parked_sensors") == 1
    assert value(found, "location_failing", location_id="2") == 1
    assert value(found, "location_parked_sensors", location_id="2") == 1
    assert value(found, "location_newest_row_timestamp_seconds", location_id="1") == (NOW - HOUR).timestamp()
    assert value(found, "min_quality_ratio") == 0.9
    assert value(found, "last_run_quality_ratio") == pytest.approx(0.995)


def test_the_last_good_run_is_what_health_goes_by() -> None:
    runs = (run(NOW - 5 * HOUR, location(1)), run(NOW - HOUR, location(1, "failed")))
    asked = figures(place(1, last_successful_run=NOW - 6 * HOUR), runs=runs)
    assert value(told(asked), "last_good_run_timestamp_seconds") == (NOW - 5 * HOUR).timestamp()
    asked = figures(place(1, last_successful_run=NOW - 2 * HOUR), runs=())
    assert value(told(asked), "last_good_run_timestamp_seconds") == (NOW - 2 * HOUR).timestamp()


def test_what_is_not_known_is_not_told_and_above_all_is_no_zero() -> None:
    how = health({}, {}, [1], (), AlertSettings(), NOW, next_run=None, interval=None)
    found = told(figures(health=how, runs=(), totals=None, budget=None, book=None))
    absent = ("last_run", "last_good", "next_run", "newest_row", "rows", "budget", "open_alerts", "location_newest")
    assert not [name for name in names(found) if name.startswith(absent)]
    assert value(found, "locations", status="unknown") == 1
    assert value(found, "location_failing", location_id="1") == 0


def test_the_quality_of_a_location_is_that_of_the_last_run_that_read_rows_of_it() -> None:
    scored = msgspec.structs.replace(location(1), quality_score=87.5)
    runs = (run(NOW - HOUR, scored), run(NOW, location(1)))
    assert value(told(figures(place(1), runs=runs)), "location_quality_ratio", location_id="1") == 0.875


def test_requests_of_a_run_of_an_earlier_version_are_not_lost() -> None:
    found = told(figures(place(1), runs=(run(NOW, location(1)),)))
    assert value(found, "last_run_requests", status="other") == 1


def test_beyond_a_thousand_locations_the_worst_have_series_and_the_others_are_counted() -> None:
    many = [place(number) for number in range(1, MOST_LOCATIONS + 4)]
    worst = place(5_001, status="failing"), place(5_002, parked=(PARKED,)), place(5_003, status="silent")
    found = told(figures(*many, *worst))
    shown = {dict(labels)["location_id"] for name, labels in found if name == "location_failing"}
    assert len(shown) == MOST_LOCATIONS
    assert shown >= {"5001", "5002", "5003"}
    assert value(found, "locations_without_series") == 6
    assert value(found, "locations", status="current") == MOST_LOCATIONS + 4
    assert value(found, "sensors") == 5 * (MOST_LOCATIONS + 6)


HOSTILE = 'Evil"} 1\n# HELP x\\ \x1b[2J {a="b",\u2028\ud800 ' + "x" * 300


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_hostile_name_is_cut_and_escaped_and_adds_no_line(accept: str) -> None:
    plain, _ = answer(figures(place(1), place(2)), accept)
    body, _ = answer(figures(place(1, name=HOSTILE), place(2)), accept)
    assert len(body.splitlines()) == len(plain.splitlines())
    (name,) = [
        sample.labels["name"]
        for family in (parsed(body) if accept else parser.text_string_to_metric_families(body.decode()))
        for sample in family.samples
        if sample.name.endswith("location_info") and sample.labels["location_id"] == "1"
    ]
    assert name.startswith('Evil"} 1 # HELP x\\  [2J {a="b",')
    assert len(name) == LONGEST_LABEL
    assert name.isprintable()


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=[]), max_size=150))
def test_whatever_a_name_is_both_formats_can_be_read(name: str) -> None:
    asked = figures(place(1, name=name))
    told(asked)
    body, _ = answer(asked, OPENMETRICS)
    assert parsed(body)


def test_a_location_without_a_name_is_called_by_its_id() -> None:
    found = told(figures(place(7, name="\u2028 ")))
    labels = {"location_id": "7", "name": "Location 7", "country": "", "provider": ""}
    assert found["location_info", frozenset(labels.items())] == 1


def test_openmetrics_goes_to_who_asks_for_it_and_prometheus_text_to_others() -> None:
    body, content_type = answer(figures(place(1)), f"{OPENMETRICS},text/plain;version=0.0.4;q=0.5")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    assert b"# UNIT openaq_pipeline_last_run_duration_seconds seconds\n" in body
    for accept in ("", "*/*", "text/html"):
        body, content_type = answer(figures(place(1)), accept)
        assert content_type == "text/plain; version=0.0.4; charset=utf-8"
        assert b"# EOF" not in body


def test_a_family_of_openmetrics_is_named_by_its_unit_and_only_what_grows_is_a_counter() -> None:
    body, _ = answer(figures(place(1)), OPENMETRICS)
    for family in parsed(body):
        assert family.documentation.endswith("."), family.name
        assert not family.unit or family.name.endswith(family.unit)
        for unit in ("seconds", "ratio"):
            assert family.name.endswith(unit) == (family.unit == unit), family.name
        grows = family.name.removeprefix("openaq_pipeline_") in {"rows", "runs", "requests"}
        assert (family.type == "counter") == grows, family.name


def test_promtool_has_nothing_against_it() -> None:
    assert promtool("check", "metrics", stdin=as_text(figures(place(1), place(2, parked=(PARKED,))))) == (0, "")


def _shown() -> Iterator[str]:
    text = MANUAL.partition("### Prometheus\n")[2].partition("\n### ")[0]
    for line in re.findall(r"^\| (`openaq_pipeline_.*?) \|", text, re.MULTILINE):
        yield from re.findall(r"`([a-z_]+)`", line)


def test_the_manual_has_every_family_and_no_other() -> None:
    shown = list(_shown())
    scored = run(NOW, msgspec.structs.replace(location(1), quality_score=99.0))
    everything = told(figures(place(1), runs=(msgspec.structs.replace(scored, requests_by_status={"200": 1}),)))
    assert sorted(shown) == sorted({f"openaq_pipeline_{name}" for name in names(everything)})


def test_a_scrape_of_the_largest_folder_is_not_large() -> None:
    asked = figures(*(place(number) for number in range(1, 10_001)))
    body, _ = answer(asked, OPENMETRICS)
    assert len(body) < 1_000_000
