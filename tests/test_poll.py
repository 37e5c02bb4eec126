"""A poll asks lists first, and series only where they are worth a request; whatever a list does, no row is lost."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from openaq_pipeline import run
from openaq_pipeline.errors import StorageError
from openaq_pipeline.model import LatestPage
from openaq_pipeline.openaq.api import Api
from openaq_pipeline.order import Order
from openaq_pipeline.reports import RunReport
from openaq_pipeline.settings import ApiSettings, DataSettings, Settings, ValidationSettings
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import to_us
from openaq_pipeline.simulator.control import NewRow
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.bench import BenchWorld, Habit
from openaq_pipeline.storage.state import StateFile
from tests.conftest import NO_LIMIT, Simulate

HOUR = timedelta(hours=1)
START = datetime(2026, 11, 20, 12, 5, tzinfo=UTC)
NOON = START.replace(minute=0)
LOCATIONS, SENSORS = 3, 4
FIRST_HOURS = 96


class Follower:
    """Someone who follows a few stations, hour by hour, on a clock of their own."""

    def __init__(self, simulator: Running, folder: Path) -> None:
        self.simulator = simulator
        self.now = START
        limits = {"requests_per_minute": NO_LIMIT, "requests_per_hour": NO_LIMIT}
        self.settings = Settings(
            locations=[station.id for station in simulator.world.stations],
            api=ApiSettings.model_validate(
                {"base_url": simulator.base_url, "api_key": SecretStr("test-key"), **limits}
            ),
            data=DataSettings(initial_days=FIRST_HOURS // 24),
            data_dir=folder,
        )

    def poll(self, after: timedelta = timedelta(0), **how: Any) -> RunReport:
        """Poll so much later than the last time; what was asked before is forgotten."""
        self.now += after
        self.simulator.clock.set(self.now)
        self.simulator.requests.clear()
        return run.run_once(self.settings, clock=lambda: self.now, **how)

    def asked(self) -> Counter[str]:
        """Return how often each kind of question was asked in the last poll."""
        kinds = {"latest": "list", "measurements": "series", "licenses": "licences", "locations": "locations"}
        ends = (entry.path.rsplit("/", 1)[-1] for entry in self.simulator.requests.entries())
        return Counter(kinds.get(end, "location") for end in ends)

    def rows(self, location: int = 0) -> list[dict[str, Any]]:
        """Return what is stored of a location."""
        path = self.settings.data_dir / f"location_{self.settings.locations[location]}.json"
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        return rows

    def sensor(self, location: int = 0, number: int = 0) -> int:
        """Return the id of a sensor."""
        return self.simulator.world.stations[location].sensors[number].id

    def state_of(self, location_id: int) -> dict[str, Any]:
        """Return what is remembered of a location."""
        document = json.loads((self.settings.data_dir / ".state.json").read_text())
        found: dict[str, Any] = document["locations"][str(location_id)]
        return found

    def state(self, sensors_id: int) -> dict[str, Any]:
        """Return what is remembered of a sensor."""
        document = json.loads((self.settings.data_dir / ".state.json").read_text())
        return next(
            known["sensors"][str(sensors_id)]
            for known in document["locations"].values()
            if str(sensors_id) in known["sensors"]
        )


@pytest.fixture
def follower(simulate: Simulate, tmp_path: Path) -> Follower:
    world = named.bench(locations=LOCATIONS, sensors=SENSORS, days=20, now=START)
    found = Follower(simulate(world, Options(requests_per_minute=0)), tmp_path / "data")
    found.poll()
    return found


def test_an_hour_later_the_lists_bring_the_rows_and_no_series_is_asked_for(follower: Follower) -> None:
    report = follower.poll(HOUR)
    assert follower.asked() == {"list": LOCATIONS}
    assert (report.counts.new, report.requests, report.requests_planned) == (LOCATIONS * SENSORS, 3, 3)
    newest = [row for row in follower.rows() if row["datetime"] == "2026-11-20T13:00:00Z"]
    assert {row["sensors_id"] for row in newest} == {follower.sensor(0, number) for number in range(SENSORS)}
    assert all((row["source"], row["has_flags"], row["interval_seconds"]) == ("latest", None, 3600) for row in newest)
    before = {row["sensors_id"]: row for row in follower.rows() if row["datetime"] == "2026-11-20T12:00:00Z"}
    for row in newest:
        same = ("parameters_id", "parameter", "units", "datetime_local")
        assert all(row[name] == before[row["sensors_id"]][name] for name in same[:3])
        assert row["datetime_local"] == "2026-11-20T18:45:00+05:45"


def test_where_flags_are_required_the_series_is_asked_for_and_no_row_is_rejected(follower: Follower) -> None:
    validation = ValidationSettings(required_fields=("datetime", "has_flags"))
    follower.settings = follower.settings.model_copy(update={"validation": validation})
    report = follower.poll(HOUR)
    assert (report.counts.new, report.counts.rejected) == (LOCATIONS * SENSORS, 0)
    assert follower.asked() == {"list": LOCATIONS, "series": LOCATIONS * SENSORS}


def test_the_next_read_of_the_series_confirms_what_a_list_has_told(follower: Follower) -> None:
    follower.poll(HOUR)
    report = follower.poll(2 * HOUR)
    assert follower.asked() == {"series": LOCATIONS * SENSORS}, "two rows are due, which no list shows"
    assert report.counts.new == 2 * LOCATIONS * SENSORS
    assert report.counts.revised == 0
    assert {(row["source"], row["has_flags"]) for row in follower.rows()} == {("api", False)}


def test_a_day_of_polls_ends_with_every_row_once(follower: Follower) -> None:
    for _ in range(26):
        assert follower.poll(HOUR).complete
    for location in range(LOCATIONS):
        keys = Counter((row["sensors_id"], row["datetime"]) for row in follower.rows(location))
        assert max(keys.values()) == 1
        assert Counter(key for key, _ in keys) == {
            follower.sensor(location, n): FIRST_HOURS + 26 for n in range(SENSORS)
        }


def test_once_a_day_every_series_is_read_again(follower: Follower) -> None:
    asked = Counter[str]()
    for _ in range(24):
        follower.poll(HOUR)
        asked += follower.asked()
    assert asked["series"] == LOCATIONS * SENSORS
    assert asked["list"] <= 24 * LOCATIONS


def test_nothing_is_asked_between_two_rows(follower: Follower) -> None:
    follower.poll(HOUR)
    assert follower.poll(timedelta(minutes=45)).requests == 0


def test_who_runs_again_at_once_finds_what_came_late_wherever_it_is(follower: Follower) -> None:
    late = NOON - timedelta(hours=5, minutes=30)
    follower.simulator.add_rows(follower.sensor(), NewRow(late, 12.5))
    assert follower.poll(timedelta(minutes=1)).counts.new == 1


def test_a_row_that_comes_behind_a_later_one_is_found_by_the_next_poll(simulate: Simulate, tmp_path: Path) -> None:
    stations = named.bench(locations=1, sensors=2).stations
    late, punctual = (sensor.id for sensor in stations[0].sensors)
    until_noon = {late: Habit(ends_us=to_us(NOON))}
    world = BenchWorld(stations, begins_us=to_us(NOON - 99 * HOUR), habits=until_noon)
    follower = Follower(simulate(world, Options(requests_per_minute=0)), tmp_path / "data")
    come = [(1, 3), (2, 2), (3, 3)]
    rows = [NewRow(NOON + stamp * HOUR, 1.0, visible_at=NOON + seen * HOUR) for stamp, seen in come]
    follower.simulator.add_rows(late, *rows)
    follower.poll()
    assert follower.poll(HOUR).counts.new == 1
    follower.poll(HOUR)
    assert follower.asked() == {"list": 1, "series": 1}, "the list shows a row behind a gap"
    assert follower.state(late)["rhythm"][2] == ["2026-11-20T13:00:00Z"]
    report = follower.poll(HOUR)
    assert follower.asked() == {"list": 1, "series": 1}
    assert report.counts.new == 3
    assert follower.state(late)["rhythm"][2] == []
    assert follower.state(late)["rhythm"][3] == [2, 0, 1, 0, 0, 0, 0, 0, 0], "that one came late is remembered"
    assert follower.state(punctual)["rhythm"][3] == [3, 0, 0, 0, 0, 0, 0, 0, 0]


def test_a_row_from_the_future_hides_no_real_one(follower: Follower) -> None:
    follower.simulator.add_rows(follower.sensor(), NewRow(NOON + 30 * HOUR, 99.0))
    for _ in range(3):
        follower.poll(HOUR)
    found = {row["datetime"] for row in follower.rows() if row["sensors_id"] == follower.sensor()}
    assert {f"2026-11-20T{hour}:00:00Z" for hour in (13, 14, 15)} <= found


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 404}, {"kind": "status", "status": 500}, {"kind": "html200"}, {"kind": "truncate"}],
)
def test_a_list_that_fails_costs_requests_and_no_row(
    follower: Follower, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openaq_pipeline.openaq.session.BACKOFF_SECONDS", 0.0)
    follower.simulator.faults.inject(fault.pop("kind"), "/latest", **fault)
    report = follower.poll(HOUR)
    assert report.complete
    assert report.counts.new == LOCATIONS * SENSORS
    assert follower.asked()["series"] == LOCATIONS * SENSORS


def test_a_key_that_lists_refuse_ends_the_poll_and_claims_no_success(follower: Follower) -> None:
    follower.simulator.faults.inject("status", "/latest", status=401)
    report = follower.poll(HOUR)
    assert {location.outcome for location in report.locations} == {"failed"}
    assert report.needs_a_person
    assert "401" in str(report.error)


def test_a_file_that_was_changed_is_read_anew_and_no_list_is_trusted_for_it(follower: Follower) -> None:
    path = follower.settings.data_dir / f"location_{follower.settings.locations[0]}.json"
    rows = follower.rows()
    path.write_text(json.dumps([row for row in rows if row["datetime"] < "2026-11-20T00:00:00Z"]))
    report = follower.poll(HOUR)
    assert follower.asked() == {"list": LOCATIONS - 1, "series": SENSORS}
    assert report.complete
    assert len(follower.rows()) == len(rows) + SENSORS


def test_a_sensor_alone_is_asked_for_its_series_and_not_for_a_list(simulate: Simulate, tmp_path: Path) -> None:
    world = named.bench(locations=2, sensors=1, days=5, now=START)
    follower = Follower(simulate(world, Options(requests_per_minute=0)), tmp_path / "data")
    follower.poll()
    follower.poll(HOUR)
    assert follower.asked() == {"series": 2}


def test_many_locations_are_listed_by_parameter(simulate: Simulate, tmp_path: Path) -> None:
    world = named.bench(locations=150, sensors=2, days=3, now=START)
    follower = Follower(simulate(world, Options(requests_per_minute=0)), tmp_path / "data")
    follower.poll()
    report = follower.poll(HOUR)
    assert follower.asked() == {"list": 2}
    assert report.counts.new == 300
    assert report.requests == report.requests_planned == 2


def test_a_parked_sensor_that_still_fails_costs_one_request_and_one_that_answers_is_read_whole(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openaq_pipeline.openaq.session.BACKOFF_SECONDS", 0.0)
    follower.simulator.faults.inject("status", f"/sensors/{follower.sensor()}/measurements", status=500)
    follower.poll(25 * HOUR)
    assert follower.asked()["series"] > 10, "what can't be read is looked for in ever smaller parts"
    report = follower.poll(HOUR)
    assert follower.asked() == {"list": LOCATIONS, "series": 1}
    assert report.requests_planned == LOCATIONS + 2
    follower.simulator.faults.clear()
    report = follower.poll(2 * HOUR)
    assert report.complete
    assert len(follower.rows()) == SENSORS * (FIRST_HOURS + 28)


def test_a_disk_that_is_full_ends_a_quiet_poll_with_a_report(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: StateFile) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(StateFile, "_save", full)
    report = follower.poll(timedelta(minutes=45))
    assert (report.complete, report.error) == (False, "the disk is full")


def test_a_row_of_a_list_belongs_to_where_its_sensor_is_followed(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Api.location_latest

    def elsewhere(api: Api, location_id: int) -> LatestPage:
        page = listed(api, location_id)
        return LatestPage([msgspec.structs.replace(row, location_id=777) for row in page.rows], page.found)

    monkeypatch.setattr(Api, "location_latest", elsewhere)
    assert follower.poll(HOUR).counts.new == LOCATIONS * SENSORS
    assert {row["location_id"] for row in follower.rows()} == {follower.settings.locations[0]}


# Room


def test_what_does_not_fit_waits_is_counted_and_comes_next(follower: Follower) -> None:
    report = follower.poll(2 * HOUR, room=5)
    assert report.requests == 5
    assert (report.deferred, report.complete) == (7, True)
    assert report.counts.new == 10
    waiting = [sensor for place in report.locations for sensor in place.sensors if sensor.outcome == "deferred"]
    assert len(waiting) == 7
    successes = [follower.state_of(place.location_id) for place in report.locations]
    assert any(each["last_successful_run"] < each["last_fetch_time"] for each in successes)
    for _ in range(3):
        follower.poll(HOUR, room=12)
    assert all(len(follower.rows(location)) == SENSORS * (FIRST_HOURS + 5) for location in range(LOCATIONS))


def test_each_location_has_its_first_turn_before_any_has_its_second(follower: Follower) -> None:
    report = follower.poll(2 * HOUR, room=3)
    assert [place.counts.new for place in report.locations] == [2, 2, 2]


def test_more_lists_than_room_starve_no_location(simulate: Simulate, tmp_path: Path) -> None:
    world = named.bench(locations=6, sensors=2, days=5, now=START)
    follower = Follower(simulate(world, Options(requests_per_minute=0)), tmp_path / "data")
    follower.poll()
    for _ in range(8):
        assert follower.poll(HOUR, room=3).requests == 3
    assert min(len(follower.rows(location)) for location in range(6)) > 2 * (FIRST_HOURS + 3)


def test_lists_of_many_pages_keep_to_the_room(simulate: Simulate, tmp_path: Path) -> None:
    world = named.bench(locations=150, sensors=2, days=1, now=START)
    follower = Follower(simulate(world, Options(requests_per_minute=0)), tmp_path / "data")
    follower.poll()
    for _ in range(2):
        assert follower.poll(HOUR, room=1).requests == 1
    assert follower.poll(HOUR, room=30).requests == 30


def test_sensors_that_are_silent_for_ever_starve_no_other(simulate: Simulate, tmp_path: Path) -> None:
    stations = named.bench(locations=6, sensors=1).stations
    dead = {station.sensors[0].id: Habit(ends_us=to_us(NOON - 50 * HOUR)) for station in stations[:3]}
    world = BenchWorld(stations, begins_us=to_us(NOON - 99 * HOUR), habits=dead)
    follower = Follower(simulate(world, Options(requests_per_minute=0)), tmp_path / "data")
    follower.poll()
    for _ in range(4):
        follower.poll(HOUR, room=3)
    assert [len(follower.rows(location)) for location in range(3, 6)] == [FIRST_HOURS + 4] * 3


def test_locations_that_openaq_does_not_have_take_no_room_from_the_others(follower: Follower) -> None:
    unknown = list(range(5_000_001, 5_000_021))
    follower.settings = follower.settings.model_copy(update={"locations": [*follower.settings.locations, *unknown]})
    assert follower.poll(HOUR, room=2 * LOCATIONS).counts.new == LOCATIONS * SENSORS


def test_who_polls_often_has_everything_read_again_as_far_as_there_is_room(follower: Follower) -> None:
    follower.poll(HOUR / 4, room=500)
    assert follower.asked() == {"series": LOCATIONS * SENSORS}
    follower.poll(HOUR / 4, room=5)
    assert follower.asked() == {"series": 5}


def test_a_first_load_may_take_several_polls(simulate: Simulate, tmp_path: Path) -> None:
    world = named.bench(locations=LOCATIONS, sensors=SENSORS, days=20, now=START)
    follower = Follower(simulate(world, Options(requests_per_minute=0)), tmp_path / "data")
    loaded = 0
    for _ in range(4):
        report = follower.poll(timedelta(minutes=1), room=10)
        assert report.complete
        loaded += report.counts.new
    assert loaded == LOCATIONS * SENSORS * FIRST_HOURS


def test_what_licences_allow_is_asked_where_there_is_room_for_it(simulate: Simulate, tmp_path: Path) -> None:
    world = named.bench(locations=1, sensors=SENSORS, days=20, now=START)
    follower = Follower(simulate(world, Options(requests_per_minute=0)), tmp_path / "data")
    assert follower.poll(room=1 + SENSORS).requests == 1 + SENSORS
    follower.poll(HOUR, room=2)
    assert follower.asked() == {"list": 1, "licences": 1}


# The plan


def test_a_dry_run_says_what_a_poll_then_asks(follower: Follower) -> None:
    follower.now += HOUR
    plan = run.dry_run(follower.settings, Order(follower.now))
    assert (plan.lists, plan.news, plan.requests) == (LOCATIONS, 0, LOCATIONS)
    assert follower.poll().requests == plan.requests
    follower.now += 2 * HOUR
    plan = run.dry_run(follower.settings, Order(follower.now), room=5)
    assert (plan.lists, plan.news, plan.requests, plan.deferred) == (0, 5, 5, LOCATIONS * SENSORS - 5)
    assert follower.poll(room=5).requests == plan.requests


def test_a_dry_run_of_unknown_locations_keeps_to_the_room(simulate: Simulate, tmp_path: Path) -> None:
    world = named.bench(locations=LOCATIONS, sensors=SENSORS, days=20, now=START)
    follower = Follower(simulate(world, Options(requests_per_minute=0)), tmp_path / "data")
    plan = run.dry_run(follower.settings, Order(follower.now), room=8)
    assert (plan.requests, plan.first_loads, plan.deferred) == (8, 5, 7)


def test_a_server_whose_clock_runs_behind_costs_requests_and_no_row(follower: Follower) -> None:
    for _ in range(3):
        follower.now += HOUR
        follower.simulator.clock.set(follower.now - timedelta(minutes=20))
        run.run_once(follower.settings, clock=lambda: follower.now)
    follower.poll(HOUR)
    assert all(len(follower.rows(location)) == SENSORS * (FIRST_HOURS + 4) for location in range(LOCATIONS))
