"""The scrape configuration and the alert rules, judged by Prometheus' own tool."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.prometheus.parts import figures, place
from tests.prometheus.promtool import promtool
from tests.prometheus.test_exposition import names, told

FOLDER = ROOT / "deploy/prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
TESTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
CASES = [case for test in TESTS for case in test["alert_rule_test"]]


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    code, said = promtool("check", "config", "--lint=all", "--lint-fatal", str(FOLDER / "prometheus.yml"))
    assert code == 0, said
    assert f"{len(RULES)} rules found" in said


def test_each_alert_begins_when_it_should_and_not_before() -> None:
    code, said = promtool("test", "rules", str(FOLDER / "alerts_test.yml"))
    assert code == 0, said


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_is_tried_with_what_it_is_for_and_with_what_it_is_not_for(rule: dict[str, Any]) -> None:
    mine = [case for case in CASES if case["alertname"] == rule["alert"]]
    assert any(case.get("exp_alerts") for case in mine)
    assert any(not case.get("exp_alerts") for case in mine) or "for" not in rule
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert rule["annotations"].keys() == {"summary", "description"}


def test_the_manual_has_every_alert_with_its_severity() -> None:
    manual = (ROOT / "PIPELINE_README.md").read_text()
    shown = re.findall(r"^\| `(OpenAQPipeline\w+)` \| (\w+) \|", manual, re.MULTILINE)
    assert shown == [(rule["alert"], rule["labels"]["severity"]) for rule in RULES]


def test_the_rules_speak_of_metrics_that_exist() -> None:
    known = {f"openaq_pipeline_{name}" for name in names(told(figures(place(1))))}
    for rule in RULES:
        assert set(re.findall(r"openaq_pipeline_\w+", rule["expr"])) <= known, rule["alert"]
