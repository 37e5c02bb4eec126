"""Every query of the dashboards and the rules, asked of a real Prometheus that scrapes real pages.

Three folders: one that a daemon keeps well, one where things are amiss (silent, parked, odd, over budget, no run for
long), one whose key is refused; and an address where nobody answers.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named, quirks
from openaq_pipeline.simulator.worlds.demo import DEAD_LOCATION
from tests.conftest import Program
from tests.prometheus.live import JOB, Prometheus, Sample, daemon, dashboards, free_port, page, prometheus, until
from tests.prometheus.promtool import program as installed
from tests.prometheus.test_rules import RULES

UNLIMITED = Options(requests_per_minute=0)


class Scene:
    """The Prometheus, and the folder that is well with the world it was filled from."""

    def __init__(self, watching: Prometheus, well: Program, world: Running) -> None:
        self.prometheus, self.well, self.world = watching, well, world


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    installed("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    programs = {name: Program(tmp_path_factory.mktemp(name)) for name in ("well", "amiss", "refused")}
    with ExitStack() as stack:
        world = stack.enter_context(running(named.demo(), options=UNLIMITED))
        alive = [station.id for station in world.world.stations if station.id != DEAD_LOCATION]
        kept = programs.pop("well")
        kept.configure(world.base_url, alive, initial_days=1)
        well = stack.enter_context(daemon(kept))  # what follows needs no waiting for it
        with running(named.quirks(), options=UNLIMITED) as odd:
            _amiss(programs["amiss"], odd)
            _refused(programs["refused"], odd)
        pages = {name: stack.enter_context(page(each)) for name, each in programs.items()}
        served = {name: each() for name, each in {"well": well, **pages}.items()}
        targets = served | {"nobody": f"127.0.0.1:{free_port()}"}
        watching = stack.enter_context(prometheus(folder, targets))
        asked_twice = "count(count_over_time(openaq_pipeline_build_info[1m]) >= 2) == 3"
        until(lambda: bool(watching.query(asked_twice)), "two scrapes of each page")
        until(lambda: bool(watching.query('ALERTS{alertstate="firing"}')), "an alert")
        yield Scene(watching, kept, world)


def _amiss(of: Program, odd: Running) -> None:
    """A run that finds much to say, told to nobody, and then none for long."""
    of.configure(odd.base_url, [quirks.PLAIN, quirks.DEAD, quirks.SENTINELS, quirks.FAILING], initial_days=2)
    _change(
        of,
        monitoring={"alerts": {"min_quality_score": 99.9, "stale_after_hours": 0.01}},
        notifications={"enabled": True, "webhook": {"enabled": True, "allow_private": True}},
    )
    done = of.load(WEBHOOK_URL=f"http://127.0.0.1:{free_port()}/")
    assert done.code == 1, done.err
    last = json.loads((of.data / "metrics.json").read_text())["runs"][-1]["requests"]
    _change(of, api={"base_url": odd.base_url, "requests_per_hour": last}, notifications={})
    _age(of, timedelta(hours=9))


def _refused(of: Program, odd: Running) -> None:
    of.configure(odd.base_url, [station.id for station in odd.world.stations])
    _change(of, monitoring={"alerts": {"max_consecutive_failures": 1}})
    odd.faults.inject("status", status=401)
    assert of.load().code == 1


def _change(of: Program, **sections: Any) -> None:
    of.config.write_text(json.dumps(json.loads(of.config.read_text()) | sections))


def _age(of: Program, ago: timedelta) -> None:
    """Let the last run have been so long ago."""
    stamp = (datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%SZ")
    history, state = of.data / "metrics.json", of.data / ".state.json"
    runs = json.loads(history.read_text())
    runs["runs"][-1]["started"] = stamp
    history.write_text(json.dumps(runs))
    known = json.loads(state.read_text())
    for place in known["locations"].values():
        place |= {"last_fetch_time": stamp, "last_successful_run": stamp}
    state.write_text(json.dumps(known))


def _queries() -> Iterator[tuple[str, str]]:
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']} {target['refId']}", target["expr"]
        for annotation in dashboard["annotations"]["list"]:
            if "target" in annotation:
                yield f"{name}: {annotation['name']}", annotation["target"]["expr"]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                asked = re.fullmatch(r"label_values\((.*), \w+\)|query_result\((.*)\)", variable["query"]["query"])
                assert asked, variable["query"]
                yield f"{name}: ${variable['name']}", asked[1] or asked[2]


QUERIES = dict(_queries())


def _filled_in(expression: str, location_id: int) -> str:
    """An expression as Grafana sends it."""
    values = {"job": ".*", "location": str(location_id), "__range": "1h", "__rate_interval": "1m"}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)


def test_every_query_of_the_dashboards_returns_data(scene: Scene) -> None:
    station = scene.world.world.stations[0].id
    found = {name: scene.prometheus.query(_filled_in(query, station)) for name, query in QUERIES.items()}
    assert not [name for name, samples in found.items() if not samples], "no data"
    assert not [name for name, samples in found.items() if any(math.isnan(each.value) for each in samples)]
    assert len(found) > 30


def test_every_rule_finds_what_it_is_for_and_nothing_in_the_folder_that_is_well(scene: Scene) -> None:
    """What is absent was so an hour ago, when this Prometheus knew nothing."""
    an_hour_ago = time.time() - 3600
    found = {
        rule["alert"]: scene.prometheus.query(rule["expr"], an_hour_ago if "absent" in rule["expr"] else None)
        for rule in RULES
    }
    assert not [alert for alert, samples in found.items() if not samples], "not found"
    well = scene.prometheus.targets["well"]
    assert not [alert for alert, samples in found.items() if any(one.labels.get("instance") == well for one in samples)]
    assert len(found) == len(RULES) >= 12


def _written(sample: Sample) -> str:
    """A series as Grafana writes one of query_result, which is what its regular expression is held against."""
    name = sample.labels.pop("__name__")
    escaped = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in sorted(sample.labels.items())}
    labels = ",".join(f'{key}="{value}"' for key, value in escaped.items())
    return f"{name}{{{labels}}} 1 1"


def test_a_dashboard_finds_its_locations_by_name(scene: Scene) -> None:
    (variable,) = [each for each in dashboards()["location"]["templating"]["list"] if each["name"] == "location"]
    pattern = variable["regex"].strip("/").replace("(?<", "(?P<")
    asked = _filled_in(QUERIES["location: $location"], 0)
    shown = set()
    for sample in scene.prometheus.query(asked):
        series = _written(sample)
        found = re.search(pattern, series)
        assert found, series
        shown.add((found["value"], found["text"]))
    assert ("3459", "US Diplomatic Post: Kathmandu (Maharajgunj)") in shown


# --- one number, from OpenAQ to the graph ---


def test_the_newest_row_in_the_graph_is_the_newest_one_that_openaq_has(scene: Scene) -> None:
    answer = requests.get(
        f"{scene.world.base_url}/locations/3459/latest", headers={"X-API-Key": "somebody-else"}, timeout=10
    ).json()
    now = datetime.now(UTC)
    stamps = [datetime.fromisoformat(row["datetime"]["utc"]) for row in answer["results"]]
    newest = max(stamp for stamp in stamps if stamp <= now)
    rows = scene.well.rows(3459)
    assert datetime.fromisoformat(rows[-1]["datetime"]) == newest
    shown = scene.prometheus.query('openaq_pipeline_location_newest_row_timestamp_seconds{location_id="3459"}')
    assert [each.value for each in shown] == [newest.timestamp()]


def test_the_rows_in_the_graph_are_those_on_disk_and_the_requests_those_that_openaq_got(scene: Scene) -> None:
    runs = json.loads((scene.well.data / "metrics.json").read_text())["runs"]
    asked = [entry for entry in scene.world.requests.entries() if entry.key == "test-key"]
    stored = sum(len(json.loads(path.read_text())) for path in scene.well.data.glob("location_*.json"))
    ask = scene.prometheus.one
    assert ask("sum(openaq_pipeline_rows_total{instance=INSTANCE, outcome='new'})", "well") == stored
    assert ask("sum(openaq_pipeline_requests_total{instance=INSTANCE})", "well") == len(asked)
    assert ask("openaq_pipeline_budget_used_requests{instance=INSTANCE, window='hour'}", "well") == len(asked)
    assert ask("sum(openaq_pipeline_runs_total{instance=INSTANCE})", "well") == len(runs) == 1


def test_a_page_that_nobody_answers_is_down_and_the_others_are_up(scene: Scene) -> None:
    up = {each.labels["instance"]: each.value for each in scene.prometheus.query(f'up{{job="{JOB}"}}')}
    assert up == {address: float(name != "nobody") for name, address in scene.prometheus.targets.items()}
