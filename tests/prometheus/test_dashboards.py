"""The dashboards as files: what Grafana takes, tidy, and of metrics that exist. Their queries are asked elsewhere."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from tests.prometheus.live import DEPLOY, dashboards
from tests.prometheus.parts import figures, place
from tests.prometheus.test_exposition import names, told

DASHBOARDS = dashboards()
GRAFANA = DEPLOY / "grafana"


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_dashboard_is_one_that_grafana_can_provision(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] == 42
    assert dashboard["id"] is None, "Grafana gives the number, and goes by the uid"
    assert re.fullmatch(r"openaq-[a-z]+", dashboard["uid"])
    assert "openaq" in dashboard["tags"], "the dashboards find each other by it"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in dashboard["panels"]:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_no_panel_lies_on_another_or_beside_the_page(dashboard: dict[str, Any]) -> None:
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(box["x"] >= 0 and box["x"] + box["w"] <= 24 for box in boxes)
    for one, other in combinations(boxes, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_query_speaks_of_metrics_that_exist_and_of_variables_that_the_dashboard_has(
    dashboard: dict[str, Any],
) -> None:
    known = {f"openaq_pipeline_{name}" for name in names(told(figures(place(1))))} | {
        "openaq_pipeline_location_quality_ratio"
    }
    variables = {each["name"] for each in dashboard["templating"]["list"]} | {"__range", "__rate_interval"}
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert set(re.findall(r"openaq_pipeline_\w+", target["expr"])) <= known, panel["title"]
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables, panel["title"]


def test_the_overview_leads_to_the_dashboard_of_a_location() -> None:
    (table,) = [panel for panel in DASHBOARDS["overview"]["panels"] if panel["type"] == "table"]
    assert f"/d/{DASHBOARDS['location']['uid']}?var-location=" in str(table["fieldConfig"]["overrides"])


def test_what_is_provisioned_is_the_datasource_that_the_dashboards_begin_with() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/openaq.yml").read_text())["providers"]
    scrape = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]
    assert provider["type"] == "file"
    for dashboard in DASHBOARDS.values():
        variables = {each["name"]: each for each in dashboard["templating"]["list"]}
        assert variables["datasource"]["current"] == {"text": source["name"], "value": source["uid"]}
