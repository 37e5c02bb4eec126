"""What a check says of a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from openaq_pipeline.model import Measurement
from openaq_pipeline.quality.report import FileReport, check
from openaq_pipeline.quality.rules import RULES
from openaq_pipeline.reports import Finding
from openaq_pipeline.settings import ValidationSettings
from tests.quality.rows import START, VALIDATION, hourly, row


def report(rows: Sequence[Measurement], **extra: Any) -> FileReport:
    return check(rows, VALIDATION, **extra)


def only_finding(found: FileReport) -> Finding:
    assert len(found.findings) == 1, found.findings
    return found.findings[0]


def test_a_clean_file_scores_100_and_has_no_findings() -> None:
    found = report(hourly([10, 12, 14]), expected_location_id=7)
    assert (found.rows, found.clean, found.quality_score, found.findings) == (3, 3, 100, ())
    assert not found.broken


def test_an_empty_file_has_no_score() -> None:
    found = report([])
    assert (found.rows, found.quality_score, found.findings, found.sensors) == (0, None, (), ())


def test_the_score_is_the_share_of_rows_without_an_issue() -> None:
    found = report(hourly([10, None, 12, 5000]))
    assert (found.rows, found.clean, found.quality_score) == (4, 2, 50)
    assert [(one.rule, one.severity, one.count) for one in found.findings] == [
        ("missing_value", "warning", 1),
        ("out_of_range", "warning", 1),
    ]
    assert not found.broken


def test_a_row_that_breaks_two_rules_counts_once() -> None:
    found = report(hourly([10, 300, 290, 12]))
    assert found.quality_score == 50
    assert [one.count for one in found.findings] == [2]
    found = report(hourly([10, -999, 12, 13]))
    assert found.quality_score == 75
    assert len(found.findings) == 2


def test_a_finding_names_an_example_and_what_is_allowed() -> None:
    finding = only_finding(report([row(10), row(2300.5, 1)]))
    assert finding.message == (
        "1 row outside the range; first: sensor 1 at 2025-09-20T01:00:00Z, pm25 2300.5 µg/m³ (allowed: 0 to 1000)"
    )
    assert finding.hint


def test_rows_are_judged_anew_and_not_believed() -> None:
    liar = msgspec.structs.replace(row(10), issues=("spike",))
    silent = msgspec.structs.replace(row(None, 1), issues=())
    assert report([liar]).quality_score == 100
    assert report([silent]).quality_score == 0


def test_a_second_row_with_the_same_sensor_and_time_breaks_the_structure() -> None:
    found = report([row(10), row(11), row(12, 1)])
    assert (only_finding(found).rule, only_finding(found).count) == ("duplicate_key", 1)
    assert found.broken
    assert found.clean == 2


def test_two_sensors_at_the_same_time_are_no_duplicates() -> None:
    assert report([row(10, sensors_id=1), row(10, sensors_id=2)]).findings == ()


@pytest.mark.parametrize(
    "rows",
    [
        [row(10, 1), row(10, 0), row(10, 2)],
        [row(10, sensors_id=2), row(10, sensors_id=1), row(10, 2)],
    ],
)
def test_rows_out_of_order_break_the_structure_but_are_no_worse_themselves(rows: list[Measurement]) -> None:
    found = report(rows)
    assert (only_finding(found).rule, only_finding(found).severity) == ("not_sorted", "error")
    assert found.broken
    assert found.quality_score == 100


def test_rows_out_of_order_are_compared_in_the_order_of_their_times() -> None:
    found = report([row(12, 2), row(10, 0), row(300, 1)])
    assert {one.rule: one.count for one in found.findings} == {
        "not_sorted": 1,
        "spike": 1,
        "rate_of_change": 2,
    }


def test_a_row_of_another_location_breaks_the_structure() -> None:
    found = report([row(10), row(10, 1, location_id=8)], expected_location_id=7)
    assert (only_finding(found).rule, only_finding(found).severity) == ("wrong_location", "error")
    assert found.quality_score == 50


def test_locations_are_not_compared_when_the_right_one_is_unknown() -> None:
    assert report([row(10), row(10, 1, location_id=8)]).findings == ()


def test_a_required_field_may_be_neither_null_nor_empty() -> None:
    nameless = msgspec.structs.replace(row(10), parameter="")
    finding = only_finding(report([nameless, row(10, 1)]))
    assert (finding.rule, finding.severity, finding.count) == ("missing_field", "error", 1)


def test_a_user_may_require_a_value() -> None:
    strict = ValidationSettings(required_fields=("value",))
    assert check([row(None)], strict).broken
    assert not check([row(0)], strict).broken


def test_rows_that_are_no_measurements_count_against_the_score() -> None:
    found = report([row(10)], undecodable=[(3, "expected number"), (9, "no datetime")])
    assert (found.rows, found.undecodable, found.clean) == (3, 2, 1)
    assert found.quality_score == pytest.approx(100 / 3)
    assert only_finding(found).message == "2 rows not a measurement; first: number 3: expected number"
    assert found.broken


def test_each_sensor_is_summed_up_on_its_own() -> None:
    rows = [
        row(10, 0, sensors_id=2),
        row(0.02, 0, sensors_id=30, parameter="o3", units="ppm"),
        row(None, 5, sensors_id=2),
    ]
    first, second = report(rows).sensors
    assert (first.sensors_id, first.parameter, first.units) == (2, "pm25", "µg/m³")
    assert (first.first, first.last) == (START, rows[2].datetime)
    assert (first.rows, first.clean, first.quality_score) == (2, 1, 50)
    assert (second.sensors_id, second.rows, second.quality_score) == (30, 1, 100)


def test_a_report_can_be_written_as_json() -> None:
    text = msgspec.json.encode(report(hourly([10, None]), undecodable=[(3, "x")]))
    assert json.loads(text)["findings"][0]["rule"] == "undecodable_row"
    assert msgspec.json.decode(text, type=FileReport).rows == 3


def test_every_rule_has_words_for_its_finding() -> None:
    broken = hourly([10, None, -999, 300, 10, *[5] * 8])
    broken.append(msgspec.structs.replace(row(5), datetime=START.replace(year=1970)))
    broken.append(msgspec.structs.replace(row(5), datetime=START.replace(year=2030)))
    assert {one.rule for one in report(broken).findings} - {"not_sorted"} == set(RULES)
    assert all(one.hint for one in report(broken).findings)
