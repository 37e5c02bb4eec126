"""The questions this program asks, held against a server that answers like OpenAQ's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from openaq_pipeline.errors import ItemMissing, RetriableError, SensorBroken, ServerFault
from openaq_pipeline.model import Window
from openaq_pipeline.openaq.api import PAGE_LIMIT, Api, utc_text
from openaq_pipeline.openaq.series import Step, walk
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named, quirks

if TYPE_CHECKING:
    from tests.openaq.conftest import Answering, Ask, Serve

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with running(named.quirks(), options=Options(requests_per_minute=0)) as simulator:
        yield simulator


@pytest.fixture
def quirky(shared: Running) -> Running:
    """A simulator of all oddities, which has heard nothing yet."""
    shared.requests.clear()
    return shared


def test_the_bounds_are_sent_in_utc_with_z_and_only_the_first_page_is_asked_for(
    serve: Serve, answering: Answering, client_for: Ask
) -> None:
    server = serve(answering(200, b'{"results":[]}'))
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    window = Window(datetime(2026, 1, 1, 5, 45, tzinfo=kathmandu), datetime(2026, 1, 2, tzinfo=UTC))
    Api(client_for(server.base_url), lambda: NOW).measurements(1, 5, window)
    path, query = server.requests[0].split(b" ")[1].decode().split("?")
    assert path == "/v3/sensors/5/measurements"
    assert parse_qs(query) == {
        "datetime_from": ["2026-01-01T00:00:00Z"],
        "datetime_to": ["2026-01-02T00:00:00Z"],
        "limit": [str(PAGE_LIMIT)],
        "page": ["1"],
    }


def test_a_fraction_of_a_second_is_no_part_of_a_bound() -> None:
    assert utc_text(datetime(2026, 1, 1, 0, 0, 59, 999_999, tzinfo=UTC)) == "2026-01-01T00:00:59Z"


def test_the_rows_are_those_behind_the_start_up_to_and_with_the_end(quirky: Running, client_for: Ask) -> None:
    api = Api(client_for(quirky.base_url), lambda: NOW)
    end = quirky.clock.now().replace(minute=0, second=0, microsecond=0) - DAY
    page = api.measurements(quirks.PLAIN, quirks.PLAIN * 10 + 1, Window(end - DAY, end))
    assert [row.datetime for row in page.rows] == [end - DAY + timedelta(hours=hour) for hour in range(1, 25)]
    assert {(row.location_id, row.sensors_id, row.first_seen) for row in page.rows} == {(101, 1011, NOW)}


def test_a_location_comes_with_its_sensors(quirky: Running, client_for: Ask) -> None:
    api = Api(client_for(quirky.base_url), lambda: NOW)
    assert [sensor.id for sensor in api.location(quirks.PLAIN).sensors] == [1011, 1012]
    assert api.location(quirks.SILENT).name is None


@pytest.mark.parametrize(("limit", "sizes"), [(5, [5, 5, 0]), (4, [4, 4, 2]), (11, [10])])
def test_a_list_is_read_up_to_the_first_page_that_is_not_full(
    client_for: Ask, monkeypatch: pytest.MonkeyPatch, limit: int, sizes: list[int]
) -> None:
    monkeypatch.setattr("openaq_pipeline.openaq.api.PAGE_LIMIT", limit)
    with running(named.demo(), options=Options(requests_per_minute=0)) as simulator:
        api = Api(client_for(simulator.base_url), lambda: NOW)
        pages = list(api.locations({"iso": "NP"}))
        assert [page.count for page in pages] == sizes
        ids = [found.id for page in pages for found in page.found]
        assert ids == sorted(station.id for station in simulator.world.stations)
        assert all("iso=NP" in entry.query and "order_by=id" in entry.query for entry in simulator.requests.entries())
        known = {(parameter.id, parameter.name) for parameter in simulator.world.parameters}
        assert {(found.id, found.name) for found in api.parameters()} == known
        assert {found.name for found in api.providers()} == {found.name for found in simulator.world.providers}


@pytest.mark.parametrize("unknown", [999, quirks.PRIVATE])
def test_an_unknown_or_private_location_is_missing(quirky: Running, client_for: Ask, unknown: int) -> None:
    with pytest.raises(ItemMissing, match="Location not found"):
        Api(client_for(quirky.base_url), lambda: NOW).location(unknown)


def test_an_empty_answer_is_a_missing_location(serve: Serve, answering: Answering, client_for: Ask) -> None:
    server = serve(answering(200, b'{"results":[]}'))
    with pytest.raises(ItemMissing, match="does not know location 7"):
        Api(client_for(server.base_url), lambda: NOW).location(7)


def test_an_answer_about_another_location_is_not_taken(serve: Serve, answering: Answering, client_for: Ask) -> None:
    server = serve(answering(200, b'{"results":[{"id":8}]}'))
    api = Api(client_for(server.base_url), lambda: NOW)
    assert api.location(8).id == 8
    with pytest.raises(RetriableError, match="Asked for location 7, OpenAQ answered with location 8"):
        api.location(7)


@pytest.mark.parametrize("attempts", [None, 1, 2])
def test_a_500_is_asked_as_often_as_told(quirky: Running, client_for: Ask, attempts: int | None) -> None:
    api = Api(client_for(quirky.base_url), lambda: NOW)
    end = quirky.clock.now()
    with pytest.raises(ServerFault):
        api.measurements(quirks.FAILING, quirks.FAILING * 10 + 1, Window(end - DAY, end), attempts=attempts)
    assert quirky.requests.total == (attempts or 4)


def consume(walking: Iterator[Step], into: list[Step]) -> None:
    for step in walking:
        into.append(step)  # noqa: PERF402 - `extend` would lose what comes before an error


def test_a_sensor_with_one_poison_row_is_read_but_for_that_row(quirky: Running, client_for: Ask) -> None:
    api = Api(client_for(quirky.base_url), lambda: NOW)
    end = quirky.clock.now().replace(microsecond=0)
    window, sensor = Window(end - 30 * DAY, end), quirks.POISON * 10 + 1
    steps: list[Step] = []
    with pytest.raises(SensorBroken, match="can't be read"):
        consume(walk(api, quirks.POISON, sensor, window), steps)
    stamps = [row.datetime for step in steps for row in step.page.rows]
    reached = max(step.complete_to for step in steps)
    hours = 30 * 24
    assert len(stamps) == len(set(stamps)) == hours - 1
    (lost,) = {max(stamps) - timedelta(hours=hour) for hour in range(hours)} - set(stamps)
    assert lost - timedelta(hours=1) <= reached < lost
    assert quirky.requests.total <= 40


def test_a_sensor_that_always_fails_costs_34_requests(quirky: Running, client_for: Ask) -> None:
    api = Api(client_for(quirky.base_url), lambda: NOW)
    end = quirky.clock.now().replace(microsecond=0)
    with pytest.raises(SensorBroken):
        list(walk(api, quirks.FAILING, quirks.FAILING * 10 + 1, Window(end - 30 * DAY, end)))
    assert quirky.requests.total == 34


@pytest.mark.parametrize("station", [quirks.FRACTIONS, quirks.QUARTERS, quirks.NULLS, quirks.SENTINELS])
def test_odd_stations_are_read_in_full(quirky: Running, client_for: Ask, station: int) -> None:
    api = Api(client_for(quirky.base_url), lambda: NOW)
    end = quirky.clock.now().replace(microsecond=0)
    steps = list(walk(api, station, station * 10 + 1, Window(end - 30 * DAY, end)))
    rows = {row.key for step in steps for row in step.page.rows}
    expected = 30 * 24 * (4 if station == quirks.QUARTERS else 1)
    assert abs(len(rows) - expected) <= 1
    assert steps[-1].complete_to == end


def test_the_terms_of_all_licences_are_one_request(quirky: Running, client_for: Ask) -> None:
    found = {terms.id: terms for terms in Api(client_for(quirky.base_url), lambda: NOW).licenses()}
    assert [(request.path, request.query) for request in quirky.requests.entries()] == [("/v3/licenses", "limit=1000")]
    assert found[41].redistribution_allowed
    assert found[41].source_url == "https://creativecommons.org/licenses/by/4.0/"
    assert found[33].attribution_required is False
    assert found[33].fetched == NOW


def test_the_latest_rows_of_a_location_name_its_sensors(quirky: Running, client_for: Ask) -> None:
    page = Api(client_for(quirky.base_url), lambda: NOW).location_latest(quirks.PLAIN)
    assert {(row.location_id, row.sensors_id) for row in page.rows} == {(101, 1011), (101, 1012)}
    assert page.found == 2


def test_the_latest_rows_of_a_parameter_are_empty_past_the_end_and_where_none_is_new(
    quirky: Running, client_for: Ask
) -> None:
    api, now = Api(client_for(quirky.base_url), lambda: NOW), quirky.clock.now()
    everything = api.parameter_latest(2, now - 3650 * DAY, 1)
    assert everything.found == len(everything.rows) > 3
    assert api.parameter_latest(2, now - 3650 * DAY, 2) == api.parameter_latest(2, now + 3650 * DAY, 1)
    assert not api.parameter_latest(2, now + 3650 * DAY, 1).rows
