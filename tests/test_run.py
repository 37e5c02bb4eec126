"""One run over all locations: what ends it early, what does not, and what it remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from openaq_pipeline import run
from openaq_pipeline.errors import FatalError
from openaq_pipeline.ingest import ingest
from openaq_pipeline.order import Ingested, Order, Parts, Visit
from openaq_pipeline.reports import RunReport
from openaq_pipeline.settings import ApiSettings, DataSettings, Settings
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import NO_LIMIT, Simulate


@pytest.fixture
def bench(simulate: Simulate) -> Running:
    return simulate(named.bench(locations=4, sensors=1, days=20))


def settings_for(simulator: Running, folder: Path, **api: object) -> Settings:
    wide = {"requests_per_minute": NO_LIMIT, "requests_per_hour": NO_LIMIT}
    return Settings(
        locations=[station.id for station in simulator.world.stations],
        api=ApiSettings.model_validate(
            {"base_url": simulator.base_url, "api_key": SecretStr("test-key"), **wide, **api}
        ),
        data=DataSettings(initial_days=2),
        data_dir=folder / "data",
    )


@pytest.fixture
def settings(bench: Running, tmp_path: Path) -> Settings:
    return settings_for(bench, tmp_path)


def outcomes(report: RunReport) -> list[str]:
    return [location.outcome for location in report.locations]


def test_a_bug_in_one_location_is_told_and_ends_no_other(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_a_bug(parts: Parts, location_id: int, order: Order, visit: Visit) -> Ingested:
        if location_id == settings.locations[1]:
            raise KeyError("made on purpose")
        return ingest(parts, location_id, order, visit)

    monkeypatch.setattr(run, "ingest", with_a_bug)
    report = run.run_once(settings)
    assert outcomes(report) == ["ok", "failed", "ok", "ok"]
    assert report.locations[1].bug
    assert "this is a bug: KeyError" in str(report.locations[1].error)


def test_a_refused_key_ends_the_run_and_says_what_to_do(settings: Settings, bench: Running) -> None:
    settings = settings.model_copy(update={"api": settings.api.model_copy(update={"max_workers": 1})})
    bench.faults.inject("status", f"/locations/{settings.locations[1]}", status=403)
    report = run.run_once(settings)
    assert outcomes(report) == ["ok", "failed", "failed", "failed"]
    assert "403" in str(report.error)
    assert "dev@openaq.org" in report.hint
    assert bench.requests.total == 3, "nothing is asked after a refusal"


def test_failed_runs_in_a_row_are_counted_until_one_succeeds_in_part(settings: Settings, bench: Running) -> None:
    bench.faults.inject("status", "/locations/", status=404)
    assert [run.run_once(settings).consecutive_failures for _ in range(3)] == [1, 2, 3]
    bench.faults.clear()
    bench.faults.inject("status", f"/locations/{settings.locations[0]}", status=404)
    report = run.run_once(settings)
    assert outcomes(report) == ["failed", "ok", "ok", "ok"]
    assert not report.failed
    assert not report.complete
    assert report.consecutive_failures == 0


def test_a_state_of_a_newer_version_is_refused_and_left_alone(settings: Settings, bench: Running) -> None:
    settings.data_dir.mkdir()
    state = settings.data_dir / ".state.json"
    state.write_text('{"version": 99, "locations": {}}')
    with pytest.raises(FatalError, match="newer version"):
        run.run_once(settings)
    assert state.read_text() == '{"version": 99, "locations": {}}'
    assert bench.requests.total == 0


def test_what_is_known_of_a_location_is_asked_once_a_day(settings: Settings, bench: Running) -> None:
    run.run_once(settings)
    bench.requests.clear()
    again = run.run_once(settings)
    assert again.requests == again.requests_planned == bench.requests.total == 4
    assert all("/sensors/" in entry.path for entry in bench.requests.entries())


def test_locations_are_described_with_licence_and_attribution(settings: Settings) -> None:
    run.run_once(settings)
    described = json.loads((settings.data_dir / "locations.json").read_text())
    assert [location["id"] for location in described] == sorted(settings.locations)
    for location in described:
        assert location["timezone"]
        assert location["licenses"][0]["name"]
        assert location["licenses"][0]["attribution_name"]
        assert location["sensors"][0]["units"]


def test_rows_are_fetched_in_pages_until_a_short_one(simulate: Simulate, tmp_path: Path) -> None:
    simulator = simulate(named.bench(locations=1, sensors=1, days=200), Options(requests_per_minute=0))
    settings = settings_for(simulator, tmp_path)
    settings = settings.model_copy(update={"data": DataSettings(initial_days=100)})
    report = run.run_once(settings)
    assert report.counts.new == 2400
    assert [entry.path for entry in simulator.requests.entries()].count(
        f"/v3/sensors/{simulator.world.stations[0].sensors[0].id}/measurements"
    ) == 3


def test_licences_that_can_not_be_asked_cost_one_request_and_fail_nothing(settings: Settings, bench: Running) -> None:
    bench.faults.inject("status", "/licenses", status=503)
    report = run.run_once(settings)
    assert report.complete
    assert report.requests == report.requests_planned
    assert [entry.path for entry in bench.requests.entries()].count("/v3/licenses") == 1
    assert not (settings.data_dir / "licenses.json").exists()
    bench.faults.clear()
    run.run_once(settings)
    assert (settings.data_dir / "licenses.json").exists()


def test_a_poll_that_has_used_its_budget_up_does_not_wait_to_ask_for_licences(
    settings: Settings, bench: Running
) -> None:
    needed = run.run_once(settings).requests - 1
    (settings.data_dir / "licenses.json").unlink()
    (settings.data_dir / "locations.json").unlink()
    bench.requests.clear()
    api = settings.api.model_copy(update={"api_key": SecretStr("another"), "requests_per_minute": needed})
    report = run.run_once(settings.model_copy(update={"api": api}))
    assert report.complete
    assert report.requests == needed
    assert "/v3/licenses" not in [entry.path for entry in bench.requests.entries()]
