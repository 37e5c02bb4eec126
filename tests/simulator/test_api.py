"""Behaviour of the API that the recordings do not show, over HTTP."""

from __future__ import annotations

import pytest
import requests

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds import quirks as q
from tests.simulator.asking import KEY, control, get, rows, stamps
from tests.simulator.conftest import NOON

PLAIN = q.PLAIN * 10 + 1
HOUR = {"datetime_from": "2026-03-18T10:00:00Z", "datetime_to": "2026-03-18T11:00:00Z"}


def test_a_window_holds_its_end_but_not_its_start(quirks: Running) -> None:
    assert stamps(quirks, PLAIN, **HOUR) == ["2026-03-18T11:00:00Z"]


@pytest.mark.parametrize(
    "start", ["2026-03-18T10:00:00+00:00", "2026-03-18T15:45:00+0545", "2026-03-18T15:45", "1773828000"]
)
def test_bounds_come_with_an_offset_or_local_or_as_seconds(quirks: Running, start: str) -> None:
    assert stamps(quirks, PLAIN, datetime_from=start)[0] == "2026-03-18T11:00:00Z"


def test_one_bound_with_an_offset_and_one_without_crash(quirks: Running) -> None:
    mixed = {"datetime_from": "2026-03-18T10:00:00Z", "datetime_to": "2026-03-18T23:00:00"}
    assert get(quirks, f"/sensors/{PLAIN}/measurements", **mixed).text == "Internal Server Error"


@pytest.mark.parametrize("bad", ["2026/03/18", "", "2026-03-18T10:00:00 05:00", "2026-13-01", "yesterday"])
def test_a_bound_that_is_no_time_is_refused(quirks: Running, bad: str) -> None:
    answer = get(quirks, f"/sensors/{PLAIN}/measurements", datetime_from=bad)
    assert answer.status_code == 422
    assert "datetime_from_date_parsing" in answer.json()


def test_rows_come_oldest_first_whatever_order_is_asked_for(quirks: Running) -> None:
    shown = stamps(quirks, PLAIN, limit=50, order="desc", sort_order="desc")
    assert shown == sorted(shown)


def test_a_full_page_does_not_tell_how_many_rows_there_are(quirks: Running) -> None:
    path = f"/sensors/{PLAIN}/measurements"
    span = {"datetime_from": "2026-03-18T02:00:00Z", "datetime_to": "2026-03-18T08:00:00Z", "limit": 3}
    assert [get(quirks, path, **span, page=page).json()["meta"]["found"] for page in (1, 2, 3)] == [">3", ">3", 0]


def test_a_null_value_is_a_row_now_and_was_a_500_before() -> None:
    world = named.quirks(now=NOON)
    path, window = f"/sensors/{q.NULLS * 10 + 1}/measurements", {"datetime_from": "2026-03-10", "limit": 1000}
    for crash, status in ((False, 200), (True, 500)):
        options = Options(requests_per_minute=0, nulls_crash=crash)
        with running(world, options=options, clock=Clock(NOON, speed=0)) as simulator:
            assert get(simulator, path, **window).status_code == status


def test_only_the_given_keys_are_accepted_if_any_are_given() -> None:
    options = Options(keys=frozenset({"right"}))
    with running(named.quirks(now=NOON), options=options) as simulator:
        for key, status in (("right", 200), ("wrong", 401), ("", 401)):
            answer = requests.get(simulator.base_url + "/parameters", headers={"X-API-Key": key}, timeout=10)
            assert answer.status_code == status


def test_long_answers_are_compressed_for_clients_that_accept_it() -> None:
    with running(named.quirks(now=NOON), options=Options(compress=True), clock=Clock(NOON, speed=0)) as simulator:
        series = f"/sensors/{PLAIN}/measurements"
        long, short = get(simulator, series), get(simulator, "/parameters/2")
        plain = requests.get(simulator.base_url + series, headers={**KEY, "Accept-Encoding": "identity"}, timeout=10)
    assert long.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in short.headers
    assert plain.content == long.content


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"iso": "US"}, 7),
        ({"mobile": "true"}, 1),
        ({"monitor": "true"}, 0),
        ({"parameters_id": "10,98", "providers_id": 166}, 14),
        ({"parameters_id": 98}, 0),
        ({"bbox": "85,27.8005,86,27.8025"}, 2),
        ({"coordinates": "27.801,85.3", "radius": 150}, 2),
        ({"licenses_id": 41}, 13),
    ],
)
def test_locations_can_be_selected(quirks: Running, query: dict[str, object], found: int) -> None:
    assert len(get(quirks, "/locations", **query).json()["results"]) == found


def test_locations_come_by_id_in_either_direction(quirks: Running) -> None:
    up = [found["id"] for found in get(quirks, "/locations").json()["results"]]
    down = [found["id"] for found in get(quirks, "/locations", sort_order="desc").json()["results"]]
    assert up == sorted(up) == down[::-1]


@pytest.mark.parametrize(
    "query",
    [
        {"coordinates": "27.8,85.3"},
        {"coordinates": "127.8,85.3", "radius": 100},
        {"bbox": "86,27,85,28"},
        {"iso": "NP", "countries_id": 145},
    ],
)
def test_selections_that_make_the_official_server_crash_do_so_here(quirks: Running, query: dict[str, object]) -> None:
    assert get(quirks, "/locations", **query).status_code == 500


def test_hours_of_an_hourly_sensor_are_its_rows_to_three_digits(quirks: Running) -> None:
    raw = rows(quirks, q.AHEAD * 10 + 1, datetime_from="2026-03-17T00:00:00Z", datetime_to="2026-03-18T00:00:00Z")
    hours = get(
        quirks,
        f"/sensors/{q.AHEAD * 10 + 1}/hours",
        datetime_from="2026-03-17T00:00:00Z",
        datetime_to="2026-03-18T00:00:00Z",
    ).json()["results"]
    assert [hour["value"] for hour in hours] == [pytest.approx(row["value"], rel=0.005) for row in raw]
    assert [hour["period"]["datetimeTo"] for hour in hours] == [row["period"]["datetimeTo"] for row in raw]


def test_days_are_local_and_only_those_that_are_over(quirks: Running) -> None:
    days = get(quirks, f"/sensors/{PLAIN}/days", date_from="2026-03-15", date_to="2026-03-19").json()["results"]
    begins = [day["period"]["datetimeFrom"]["local"] for day in days]
    assert begins == [f"2026-03-{day}T00:00:00+05:45" for day in (15, 16, 17)]
    assert {day["coverage"]["observedCount"] for day in days} == {24}


def test_a_day_of_a_clock_change_has_23_hours(quirks: Running) -> None:
    day = get(quirks, f"/sensors/{q.LATE * 10 + 1}/days", date_from="2026-03-08", date_to="2026-03-09").json()
    period = day["results"][0]["period"]
    assert (period["datetimeFrom"]["utc"], period["datetimeTo"]["utc"]) == (
        "2026-03-08T07:00:00Z",
        "2026-03-09T06:00:00Z",
    )
    assert day["results"][0]["coverage"]["expectedCount"] == 23


@pytest.mark.parametrize(
    "path", ["/countries/145", "/providers/166", "/owners/6", "/licenses/41", "/instruments/1", "/manufacturers/8"]
)
def test_single_things_of_reference_are_found_and_unknown_ones_are_not(quirks: Running, path: str) -> None:
    assert get(quirks, path).json()["meta"]["found"] == 1
    kind = path.split("/")[1]
    missing = get(quirks, f"/{kind}/4242")
    assert missing.status_code == 404
    assert missing.json()["detail"].endswith("not found")


@pytest.mark.parametrize("path", ["/countries?providers_id=66", "/providers?iso=NP", "/parameters?bbox=1,2,3,4"])
def test_filters_that_are_broken_upstream_are_broken_here(quirks: Running, path: str) -> None:
    assert get(quirks, path).status_code == 500


def test_countries_can_be_selected_by_parameter(quirks: Running) -> None:
    found = get(quirks, "/countries", parameters_id=2).json()["results"]
    assert [country["code"] for country in found] == ["NP", "US"]
    assert get(quirks, "/countries", parameters_id=98).json()["results"] == []


def test_a_trailing_slash_or_another_method_is_refused_as_json(quirks: Running) -> None:
    assert get(quirks, "/locations/").json() == {"detail": "Not Found"}
    headed = requests.head(quirks.base_url + "/locations", headers=KEY, timeout=10)
    posted = requests.post(quirks.base_url + "/locations", headers=KEY, timeout=10)
    assert headed.status_code == 405
    assert (posted.status_code, posted.json()) == (405, {"detail": "Method Not Allowed"})


def test_one_connection_serves_many_requests(quirks: Running) -> None:
    with requests.Session() as session:
        for _ in range(3):
            with session.get(quirks.base_url + "/parameters", headers=KEY, timeout=10, stream=True) as answer:
                assert answer.headers.get("connection") != "close"
                answer.raw.read()
        pools = session.get_adapter(quirks.base_url).poolmanager.pools  # type: ignore[attr-defined]
        assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118


def test_the_request_log_counts_all_and_tells_the_last(quirks: Running) -> None:
    get(quirks, "/locations", limit=3)
    get(quirks, "/locations/424242")
    told = control(quirks, "GET", "requests").json()
    assert (told["total"], told["by_status"]) == (2, {"200": 1, "404": 1})
    first = told["requests"][0]
    assert (first["path"], first["query"], first["key"], first["status"]) == (
        "/v3/locations",
        "limit=3",
        "any key",
        200,
    )
    assert first["at"] == "2026-03-18T12:00:00Z"
    assert control(quirks, "DELETE", "requests").json()["total"] == 0


def test_the_clock_can_be_read_set_and_moved(quirks: Running) -> None:
    assert control(quirks, "GET", "clock").json() == {"now": "2026-03-18T12:00:00Z", "speed": 0.0}
    moved = control(quirks, "POST", "clock", set="2026-04-01T00:00:00Z", advance_seconds=60).json()
    assert moved["now"] == "2026-04-01T00:01:00Z"
    assert control(quirks, "POST", "clock", set="2026-04-01T00:00:00").status_code == 422
    assert control(quirks, "GET", "health").json()["status"] == "ok"


def test_a_row_for_an_unknown_sensor_is_refused(quirks: Running) -> None:
    answer = control(quirks, "POST", "rows", sensors_id=5, rows=[{"datetime": "2026-03-01T05:00:00Z", "value": 1}])
    assert answer.status_code == 422
