"""Selections become locations: asked of a simulator over HTTP, remembered, refreshed, refused."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr

from openaq_pipeline import run, selection
from openaq_pipeline.backfill import backfill, dry_run
from openaq_pipeline.errors import ConfigError, FatalError
from openaq_pipeline.model import Window
from openaq_pipeline.openaq.api import Api
from openaq_pipeline.order import Order
from openaq_pipeline.overview import overview
from openaq_pipeline.places import Selection
from openaq_pipeline.selection import Resolution, resolve
from openaq_pipeline.settings import ApiSettings, DataSettings, Settings
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.base import World
from openaq_pipeline.simulator.worlds.model import Station
from openaq_pipeline.storage import selections
from openaq_pipeline.storage.selections import Resolved, applied
from openaq_pipeline.wiring import Stop, Stores, connected
from tests.conftest import NO_LIMIT, Simulate

DAY = timedelta(days=1)
EVERYTHING = Selection.model_validate("planet")
NEPAL = Selection(country="NP")
FINE = Selection(country="NP", parameter="pm25")


@pytest.fixture
def demo(simulate: Simulate) -> Running:
    """Ten stations in Kathmandu, with 41 sensors, 10 of them of PM2.5."""
    return simulate(named.demo())


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class Place:
    """A data folder with settings, and what is asked for it."""

    def __init__(self, simulator: Running, folder: Path, *chosen: Selection, ids: tuple[int, ...] = ()) -> None:
        self.simulator = simulator
        api = {"base_url": simulator.base_url, "api_key": SecretStr("test-key")}
        wide = {"requests_per_minute": NO_LIMIT, "requests_per_hour": NO_LIMIT}
        self.settings = Settings(
            locations=list(ids),
            selections=chosen,
            api=ApiSettings.model_validate({**api, **wide}),
            data=DataSettings(initial_days=1),
            data_dir=folder,
        )
        folder.mkdir(exist_ok=True)

    def resolve(self, at: datetime | None = None, *, yes: bool = False, dry: bool = False) -> Resolution:
        """Resolve in a process of its own, as it were: with what is on disk, and saved again."""
        moment = at or now()
        stores = Stores(self.settings)
        stores.load(moment, repair=True)
        with connected(self.settings, Stop()) as (client, _):
            found = resolve(stores, Api(client, lambda: moment), moment, yes=yes, dry=dry)
        if not dry:
            stores.metadata.save()
        return found

    def ids(self, *, yes: bool = False) -> list[int]:
        return self.resolve(yes=yes).settings.locations

    def asked(self) -> list[str]:
        """The paths and queries asked for since the last time."""
        entries = self.simulator.requests.entries()
        self.simulator.requests.clear()
        return [entry.path for entry in entries]

    def refused(self) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self.resolve()
        return caught.value.problems


def all_ids(simulator: Running) -> list[int]:
    return [station.id for station in simulator.world.stations]


def shrunk(world: World, keep: int) -> World:
    """The world with its first stations alone."""
    world.stations = world.stations[:keep]
    return world


# --- what a selection has ---


def metres(station: Station, latitude: float, longitude: float) -> float:
    """How far a station is from a place, on a flat map that is right for a few kilometres."""
    north, east = station.latitude - latitude, (station.longitude - longitude) * math.cos(math.radians(latitude))
    return math.hypot(north, east) * 111_195


@pytest.mark.parametrize(
    ("chosen", "belongs"),
    [
        ("planet", lambda _station: True),
        ({"country": "NP"}, lambda station: station.country.code == "NP"),
        ({"country": "NP", "provider": "airnow"}, lambda station: station.provider.name == "AirNow"),
        ({"parameter": "O3"}, lambda station: any(sensor.parameter.name == "o3" for sensor in station.sensors)),
        (
            {"bbox": [85.3, 27.68, 85.33, 27.72]},
            lambda station: 85.3 <= station.longitude <= 85.33 and 27.68 <= station.latitude <= 27.72,
        ),
        (
            {"near": {"lat": 27.7172, "lon": 85.324, "radius_m": 3000}},
            lambda station: metres(station, 27.7172, 85.324) <= 3000,
        ),
    ],
)
def test_a_selection_has_the_locations_that_its_keys_leave(
    demo: Running, tmp_path: Path, chosen: object, belongs: Callable[[Station], bool]
) -> None:
    expected = [station.id for station in demo.world.stations if belongs(station)]
    found = Place(demo, tmp_path / "data", Selection.model_validate(chosen)).resolve()
    assert found.settings.locations == expected
    assert expected
    assert (found.selections[0].locations, found.settings.selections) == (len(expected), ())


def test_items_add_up_and_each_location_counts_once_ids_first(demo: Running, tmp_path: Path) -> None:
    last = all_ids(demo)[-1]
    chosen = (Selection(provider="AirNow"), NEPAL)
    assert Place(demo, tmp_path, *chosen, ids=(last,)).ids() == [last, *all_ids(demo)[:-1]]


def test_the_locations_of_a_selection_are_described_by_the_list_and_not_looked_up(
    demo: Running, tmp_path: Path
) -> None:
    place = Place(demo, tmp_path, NEPAL)
    report = run.run_once(place.settings)
    assert len(report.locations) == 10
    assert report.complete
    assert [path for path in place.asked() if "measurements" not in path] == ["/v3/locations", "/v3/licenses"]
    assert report.requests_planned == report.requests


def test_a_parameter_restricts_the_sensors_that_are_read_but_not_those_that_are_known(
    demo: Running, tmp_path: Path
) -> None:
    place = Place(demo, tmp_path, FINE, ids=(3459,))
    report = run.run_once(place.settings)
    read = {each.location_id: {sensor.parameter for sensor in each.sensors} for each in report.locations}
    assert len(read.pop(3459)) == 3, "it is listed itself, so it is read whole"
    assert set().union(*read.values()) == {"pm25"}
    stores = Stores(place.settings)
    stores.load(now(), repair=False)
    assert {sensor.parameter for known in stores.metadata.all() for sensor in known.sensors} > {"pm25"}


def test_a_location_that_any_item_selects_whole_is_read_whole_and_two_parameters_add_up(tmp_path: Path) -> None:
    moment = now()
    found = {
        "parameter: pm25": Resolved(moment, (1, 2, 3, 4), 4, (2,)),
        "parameter: no2": Resolved(moment, (2, 3, 4), 3, (5, 7)),
        "country: NP": Resolved(moment, (4, 5), 9),
    }
    chosen = (Selection(parameter="pm25"), Selection(parameter="no2"), NEPAL)
    settings = applied(Settings(data_dir=tmp_path, locations=[3], selections=chosen), found)
    assert settings.locations == [3, 1, 2, 4, 5]
    assert settings.parameters == {1: {2}, 2: {2, 5, 7}}
    assert applied(settings, found) is settings, "a second time changes nothing"


def test_a_name_of_a_parameter_stands_for_its_ids_in_all_units(demo: Running, tmp_path: Path) -> None:
    Place(demo, tmp_path, Selection(parameter="No2")).resolve()
    resolved = selections.read(tmp_path).selections["parameter: No2"]
    assert resolved.parameters == (5, 7, 15)


# --- bad input ---


def test_what_matches_nothing_is_told_all_at_once_with_what_to_try(demo: Running, tmp_path: Path) -> None:
    swapped = Selection.model_validate({"bbox": [27.6, 85.2, 27.8, 85.5]})
    chosen = (NEPAL, Selection(country="DE"), Selection(parameter="PM2,5"), Selection(provider="Air Now"), swapped)
    assert Place(demo, tmp_path, *chosen).refused() == (
        "country: DE matches no location. https://explore.openaq.org shows where there are locations",
        "parameter: PM2,5 names a parameter that OpenAQ does not have. Did you mean `pm25` or `pm1`?",
        "provider: Air Now names a provider that OpenAQ does not have. Did you mean `AirNow`?",
        (
            "bbox: [27.6, 85.2, 27.8, 85.5] matches no location. "
            "Its order is minLon, minLat, maxLon, maxLat: this one reaches from 85.2° N 27.6° E to 85.5° N 27.8° E"
        ),
    )
    assert not (tmp_path / selections.NAME).exists()


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MOST_LOCATIONS", 5)


@pytest.mark.usefixtures("small_limit")
def test_a_selection_of_too_much_says_what_it_takes_and_wants_to_be_agreed_to(demo: Running, tmp_path: Path) -> None:
    place = Place(demo, tmp_path, NEPAL)
    (problem,) = place.refused()
    assert "country: NP matches 10 locations with 41 sensors" in problem
    for said in ("about 41 requests", "0.0 hours", "of the 1,000,000 of your key", "GB of disk", "--yes"):
        assert said in problem
    assert len(place.ids(yes=True)) == 10
    assert len(place.resolve(now() + 2 * DAY).settings.locations) == 10, "it was agreed to"


@pytest.mark.usefixtures("small_limit")
def test_a_dry_run_shows_a_selection_of_too_much_and_writes_nothing(demo: Running, tmp_path: Path) -> None:
    place = Place(demo, tmp_path / "none", NEPAL)
    (tmp_path / "none").rmdir()
    plan = run.dry_run(place.settings, Order(now()))
    assert (plan.locations, plan.sensors, plan.requests) == (10, 41, 42)
    assert "--yes" in plan.selections[0].warnings[0]
    assert not (tmp_path / "none").exists()


def test_a_selection_that_outgrows_what_was_agreed_to_stays_as_it_was_until_asked(
    simulate: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MOST_LOCATIONS", 5)
    simulator = simulate(named.bench(locations=12, sensors=1, days=2))
    everything = simulator.world.stations
    shrunk(simulator.world, 6)
    place = Place(simulator, tmp_path, EVERYTHING)
    assert len(place.ids(yes=True)) == 6
    simulator.world.stations = everything[:9]
    assert len(place.resolve(now() + DAY).settings.locations) == 9, "half as many again is no other size"
    simulator.world.stations = everything
    kept = place.resolve(now() + 2 * DAY)
    assert len(kept.settings.locations) == 9
    assert "planet matches 12 locations now, 9 before" in kept.selections[0].warnings[0]
    at_once = place.resolve(now() + 2 * DAY + timedelta(minutes=1), yes=True)
    assert len(at_once.settings.locations) == 12, "who agrees need not wait for the next day"
    simulator.requests.clear()
    place.resolve(now() + 2 * DAY + timedelta(minutes=2), yes=True)
    assert place.asked() == [], "nothing is held back any more"


# --- remembered ---


def test_a_resolution_holds_for_a_day_and_is_then_asked_anew(demo: Running, tmp_path: Path) -> None:
    place = Place(demo, tmp_path, FINE)
    first = now()
    place.resolve(first)
    assert place.asked() == ["/v3/parameters", "/v3/locations"]
    assert len(place.resolve(first + DAY - timedelta(seconds=1)).settings.locations) == 10
    assert place.asked() == []
    place.resolve(first + DAY)
    assert place.asked() == ["/v3/parameters", "/v3/locations"]
    place.resolve(first)
    assert place.asked() == ["/v3/parameters", "/v3/locations"], "a clock that was set back hides nothing"


def test_new_and_vanished_locations_and_sensors_are_told_in_a_sentence_and_by_id(
    simulate: Simulate, tmp_path: Path
) -> None:
    simulator = simulate(named.bench(locations=6, sensors=3, days=2))
    stations = simulator.world.stations
    fewer = msgspec.structs.replace(stations[0], sensors=stations[0].sensors[:2])
    simulator.world.stations = (fewer, stations[5])
    place = Place(simulator, tmp_path, NEPAL)
    (first,) = place.resolve().selections
    assert first.sentences == (), "at first nothing is new"
    simulator.world.stations = stations[:5]
    (report,) = place.resolve(now() + DAY).selections
    assert report.new_locations == tuple(station.id for station in stations[1:5])
    assert report.vanished_locations == (stations[5].id,)
    assert report.new_sensors == (stations[0].sensors[2].id,)
    (sentence,) = report.sentences
    assert sentence == (
        "country: NP: 4 new locations (1000002, 1000003, 1000004 and 1 more), 1 vanished location (1000006), "
        "1 new sensor (2000003); what vanished keeps its data"
    )


def test_what_vanished_keeps_its_data_and_is_asked_no_more(
    simulate: Simulate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    simulator = simulate(named.bench(locations=2, sensors=1, days=5))
    place = Place(simulator, tmp_path, NEPAL)
    first = now()
    run.run_once(place.settings, clock=lambda: first)
    gone = simulator.world.stations[1].id
    shrunk(simulator.world, 1)
    with caplog.at_level(logging.WARNING):
        report = run.run_once(place.settings, clock=lambda: first + DAY)
    assert [each.location_id for each in report.locations] == [simulator.world.stations[0].id]
    assert f"1 vanished location ({gone})" in caplog.text
    assert (tmp_path / f"location_{gone}.json").exists()


def test_a_selection_that_suddenly_matches_nothing_holds_as_it_was(demo: Running, tmp_path: Path) -> None:
    place = Place(demo, tmp_path, NEPAL)
    place.resolve()
    shrunk(demo.world, 0)
    found = place.resolve(now() + DAY)
    assert len(found.settings.locations) == 10
    assert "the 10 locations with 41 sensors of before hold" in found.selections[0].warnings[0]


def test_without_openaq_the_last_resolution_holds_with_a_warning(demo: Running, tmp_path: Path) -> None:
    place = Place(demo, tmp_path, NEPAL)
    first = now()
    run.run_once(place.settings, clock=lambda: first)
    demo.faults.inject("status", "/locations", status=403)
    found = place.resolve(first + DAY)
    assert len(found.settings.locations) == 10
    assert "country: NP could not be asked for anew" in found.selections[0].warnings[0]
    assert found.problem is None


def test_without_openaq_a_selection_that_was_never_resolved_fails_the_run_and_says_why(
    demo: Running, tmp_path: Path
) -> None:
    demo.faults.inject("status", "/locations", status=403)
    report = run.run_once(Place(demo, tmp_path, NEPAL).settings)
    assert report.failed
    assert report.needs_a_person
    assert "403" in str(report.error)
    assert report.consecutive_failures == 1


def test_a_damaged_memory_is_set_aside_and_asked_again(demo: Running, tmp_path: Path) -> None:
    place = Place(demo, tmp_path, NEPAL)
    place.resolve()
    (tmp_path / selections.NAME).write_text('{"version": 1, "selections": [')
    assert (
        selections.read(tmp_path).warning
        == ".selections.json is damaged; the next run asks OpenAQ for the selections anew"
    )
    assert len(place.ids()) == 10
    assert len(list(tmp_path.glob(".selections.json.damaged-*"))) == 1
    assert "country: NP" in selections.read(tmp_path).selections


def test_what_a_newer_version_remembered_is_left_alone(demo: Running, tmp_path: Path) -> None:
    (tmp_path / selections.NAME).write_text('{"version": 2, "brand": "new"}')
    with pytest.raises(FatalError, match="newer version"):
        Place(demo, tmp_path, NEPAL).resolve()
    assert "newer version" in overview(Place(demo, tmp_path, NEPAL).settings, now(), shown_runs=1).warnings[0]
    assert selections.NAME in {path.name for path in tmp_path.iterdir()}


# --- without a run ---


def test_the_monitor_goes_by_what_is_remembered_and_says_what_is_not(demo: Running, tmp_path: Path) -> None:
    place = Place(demo, tmp_path, NEPAL)
    before = overview(place.settings, now(), shown_runs=1)
    assert before.warnings == ("country: NP was not looked up yet; the next run does that",)
    run.run_once(place.settings)
    place.asked()
    after = overview(place.settings, now(), shown_runs=1)
    assert len(after.health.locations) == 10
    assert after.warnings == ()
    assert place.asked() == []


def test_a_backfill_resolves_too(demo: Running, tmp_path: Path) -> None:
    place = Place(demo, tmp_path, FINE)
    end = now() - 3 * DAY
    report = backfill(place.settings, Window(end - timedelta(hours=5), end))
    assert (len(report.locations), report.requests) == (10, report.requests_planned)
    assert report.requests == 12


def test_a_backfill_from_the_archive_asks_the_api_only_for_a_selection_that_never_was_resolved(
    demo: Running, tmp_path: Path
) -> None:
    place = Place(demo, tmp_path / "data", FINE)
    (tmp_path / "archive/records").mkdir(parents=True)
    archive = place.settings.archive.model_copy(update={"location": str(tmp_path / "archive")})
    settings = place.settings.model_copy(update={"archive": archive})
    span = Window(now() - 30 * DAY, now() - 20 * DAY)
    plan = dry_run(settings, span, source="archive")
    assert (plan.locations, plan.requests, plan.selections[0].locations) == (10, 2, 10)
    first, second = (backfill(settings, span, source="archive") for _ in range(2))
    assert (len(first.locations), first.requests, first.requests_planned) == (10, 2, 2)
    assert (len(second.locations), second.requests, second.requests_planned) == (10, 0, 0)


# --- many ids ---


def test_many_locations_are_described_by_pages_and_what_is_not_in_them_by_itself(
    simulate: Simulate, tmp_path: Path
) -> None:
    simulator = simulate(named.bench(locations=40, sensors=1, days=2))
    ids = (*all_ids(simulator)[5:], 7)
    place = Place(simulator, tmp_path, ids=ids)
    report = run.run_once(place.settings)
    assert [path for path in place.asked() if "measurements" not in path and "licenses" not in path] == [
        "/v3/locations",
        "/v3/locations/7",
    ]
    assert report.requests == report.requests_planned
    stores = Stores(place.settings)
    stores.load(now(), repair=False)
    assert len(stores.metadata.all()) == 35, "only those that are read"


def test_a_few_locations_are_asked_for_one_by_one(simulate: Simulate, tmp_path: Path) -> None:
    simulator = simulate(named.bench(locations=30, sensors=1, days=2))
    place = Place(simulator, tmp_path, ids=tuple(all_ids(simulator)))
    assert place.resolve().requests == 0
    assert place.asked() == []


def test_a_list_that_breaks_off_leaves_the_rest_to_be_asked_by_itself(simulate: Simulate, tmp_path: Path) -> None:
    simulator = simulate(named.bench(locations=31, sensors=1, days=2))
    simulator.faults.inject("status", "/locations", status=422, count=1)
    report = run.run_once(Place(simulator, tmp_path, ids=tuple(all_ids(simulator))).settings)
    assert report.complete
