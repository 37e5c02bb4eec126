"""From OpenAQ's JSON to measurements: nothing is lost, nothing is made up, and one broken row costs only itself."""

from __future__ import annotations

import copy
import gzip
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openaq_pipeline.errors import RetriableError
from openaq_pipeline.model import License, Measurement, Page
from openaq_pipeline.openaq import parse

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)

ROW: dict[str, Any] = {
    "value": 7.0,
    "flagInfo": {"hasFlags": False},
    "parameter": {"id": 2, "name": "pm25", "units": "µg/m³", "displayName": None},
    "period": {
        "label": "raw",
        "interval": "00:30:00",
        "datetimeFrom": {"utc": "2023-03-07T05:00:00Z", "local": "2023-03-07T00:00:00-05:00"},
        "datetimeTo": {"utc": "2023-03-07T05:30:00Z", "local": "2023-03-07T00:30:00-05:00"},
    },
    "coordinates": None,
    "summary": None,
    "coverage": {"expectedCount": 1},
}
META = {"name": "openaq-api", "website": "/", "page": 1, "limit": 1000, "found": ">1000"}

LOCATION: dict[str, Any] = {
    "id": 2178,
    "name": "Del Norte",
    "locality": "Albuquerque",
    "timezone": "America/Denver",
    "country": {"id": 155, "code": "US", "name": "United States"},
    "owner": {"id": 4, "name": "Somebody"},
    "provider": {"id": 119, "name": "AirNow"},
    "isMobile": False,
    "isMonitor": True,
    "instruments": [{"id": 2, "name": "Government Monitor"}],
    "sensors": [
        {"id": 3920, "name": "x", "parameter": {"id": 2, "name": "pm25", "units": "µg/m³", "displayName": "PM2.5"}},
        {"id": 3917, "name": "y", "parameter": {"id": 10, "name": "o3", "units": "ppm", "displayName": None}},
    ],
    "coordinates": {"latitude": 35.1353, "longitude": -106.584702},
    "licenses": [
        {
            "id": 33,
            "name": "US Public Domain",
            "attribution": {"name": "Somebody", "url": None},
            "dateFrom": "2016-01-30",
            "dateTo": None,
        }
    ],
    "bounds": [0, 0, 0, 0],
    "distance": None,
    "datetimeFirst": {"utc": "2016-03-06T20:00:00Z", "local": "2016-03-06T13:00:00-07:00"},
    "datetimeLast": {"utc": "2026-06-13T19:00:00Z", "local": "2026-06-13T13:00:00-06:00"},
}


def page_of(*rows: Any) -> Page:
    return read(json.dumps({"meta": META, "results": rows}).encode())


def read(body: bytes) -> Page:
    return parse.page(body, location_id=9, sensors_id=99, now=NOW)


def changed(original: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with the field at a dotted path set, or taken out if `value` is ellipsis."""
    made = copy.deepcopy(original)
    *way, last = path.split(".")
    place = made
    for name in way:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return made


def test_a_row_becomes_a_measurement_with_the_end_of_its_period() -> None:
    (row,) = page_of(ROW).rows
    assert row == Measurement(
        location_id=9,
        sensors_id=99,
        parameters_id=2,
        parameter="pm25",
        units="µg/m³",
        value=7.0,
        datetime=datetime(2023, 3, 7, 5, 30, tzinfo=UTC),
        datetime_local="2023-03-07T00:30:00-05:00",
        interval_seconds=1800,
        has_flags=False,
        issues=(),
        source="api",
        first_seen=NOW,
    )


def test_an_empty_page_has_nothing() -> None:
    assert page_of() == Page([], [])


def test_a_row_without_a_value_is_kept() -> None:
    page = page_of(changed(ROW, "value", None))
    assert [row.value for row in page.rows] == [None]
    assert page.rejects == []


@pytest.mark.parametrize("value", [-999.0, -0.0, 1e308, 5e-324, 12345.678901234567, 7])
def test_an_odd_value_is_kept_as_it_is(value: float) -> None:
    (row,) = page_of(changed(ROW, "value", value)).rows
    assert isinstance(row.value, float)
    assert row.value == value
    assert math.copysign(1, row.value) == math.copysign(1, value)


@pytest.mark.parametrize(
    "said",
    ["2023-03-07T05:30:00Z", "2023-03-07T05:30:00+00:00", "2023-03-07T11:15:00+05:45", "2023-03-06T23:30:00-06:00"],
)
def test_every_offset_means_the_same_moment_in_utc(said: str) -> None:
    (row,) = page_of(changed(ROW, "period.datetimeTo.utc", said)).rows
    assert row.datetime == datetime(2023, 3, 7, 5, 30, tzinfo=UTC)
    assert row.datetime.tzinfo is UTC


@pytest.mark.parametrize("said", ["2023-03-07T11:15:00+05:45", "2023-03-07T05:30:00Z", "anything"])
def test_local_time_is_kept_as_it_is_printed(said: str) -> None:
    (row,) = page_of(changed(ROW, "period.datetimeTo.local", said)).rows
    assert row.datetime_local == said


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("01:00:00", 3600),
        ("00:00:00", 0),
        ("00:15:00", 900),
        ("24:00:00", 86400),
        ("58447:00:00", 58447 * 3600),
        ("01:00:01", 3601),
        ("1 year", None),
        ("1month", None),
        ("hour", None),
        ("", None),
        (None, None),
        ("01:60:00", None),
        ("-01:00:00", None),
        ("01:00", None),
        (" 01:00:00", None),
        ("01:00:00\n", None),
        ("\uff10\uff11:00:00", None),
        ("9" * 1000 + ":00:00", None),
    ],
)
def test_an_interval_is_read_or_unknown(said: str | None, seconds: int | None) -> None:
    assert parse.interval_seconds(said) == seconds
    (row,) = page_of(changed(ROW, "period.interval", said)).rows
    assert row.interval_seconds == seconds


@pytest.mark.parametrize("flags", [None, {}, {"hasFlags": None}, ...])
def test_flags_that_are_not_told_are_unknown(flags: object) -> None:
    (row,) = page_of(changed(ROW, "flagInfo", flags)).rows
    assert row.has_flags is None


def test_fields_that_are_new_or_missing_without_need_change_nothing() -> None:
    bare = {name: ROW[name] for name in ("value", "parameter", "period")}
    assert len(page_of({**ROW, "brandNew": {"a": [1]}}, bare).rows) == 2


BROKEN: list[tuple[str, object]] = [
    ("value", ...),
    ("value", "7.0"),
    ("value", True),
    ("value", [7.0]),
    ("parameter", ...),
    ("parameter", None),
    ("parameter.id", ...),
    ("parameter.id", "2"),
    ("parameter.id", 2.5),
    ("parameter.name", None),
    ("parameter.units", ...),
    ("parameter.units", 5),
    ("period", ...),
    ("period", "raw"),
    ("period.datetimeTo", ...),
    ("period.datetimeTo", None),
    ("period.datetimeTo", "2023-03-07T05:30:00Z"),
    ("period.datetimeTo.local", ...),
    ("period.datetimeTo.utc", ...),
    ("period.datetimeTo.utc", 1678167000),
    ("period.datetimeTo.utc", "2023-03-07T05:30:00"),  # naive
    ("period.datetimeTo.utc", "2023-03-07"),
    ("period.datetimeTo.utc", "0000-01-01T00:00:00Z"),
    ("period.datetimeTo.utc", "0001-01-01T00:00:00+05:45"),  # before the calendar begins
    ("period.datetimeTo.utc", "9999-12-31T23:59:59-05:00"),  # after it ends
    ("period.datetimeTo.utc", "2023-02-30T00:00:00Z"),
    ("period.datetimeTo.utc", "tomorrow"),
]


@pytest.mark.parametrize(("path", "value"), BROKEN)
def test_a_broken_row_is_rejected_with_a_reason_and_its_neighbours_stay(path: str, value: object) -> None:
    broken = changed(ROW, path, value)
    page = page_of(ROW, broken, ROW)
    assert len(page.rows) == 2
    assert page.count == 3
    (reject,) = page.rejects
    assert json.loads(reject.row) == broken
    assert reject.reason
    assert (reject.location_id, reject.sensors_id, reject.seen) == (9, 99, NOW)


@pytest.mark.parametrize("row", ["1", "null", '"row"', "[]", "{}", json.dumps(ROW).replace("7.0", "1e999")])
def test_what_is_no_row_is_rejected_as_it_came(row: str) -> None:
    page = read(f'{{"results":[{json.dumps(ROW)},{row}]}}'.encode())
    assert len(page.rows) == 1
    assert [reject.row for reject in page.rejects] == [row]


def test_a_page_of_nothing_but_broken_rows_counts_them_all() -> None:
    page = page_of(*[{}] * 1000)
    assert (page.rows, len(page.rejects), page.count) == ([], 1000, 1000)


def text_of(row: dict[str, Any], old: str, new: str) -> str:
    return json.dumps(row).replace(old, new)


SURROGATE = r"\ud800"

UNREADABLE = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "no results": b'{"meta":{}}',
    "results that are no list": b'{"results":{}}',
    "null results": b'{"results":null}',
    "a cut page": json.dumps({"results": [ROW, ROW]}).encode()[:-20],
    "two pages": b'{"results":[]}{"results":[]}',
    "NaN": f'{{"results":[{text_of(ROW, "7.0", "NaN")}]}}'.encode(),
    "Infinity": f'{{"results":[{text_of(ROW, "7.0", "-Infinity")}]}}'.encode(),
    "a lone surrogate": f'{{"results":[{text_of(ROW, "pm25", SURROGATE)}]}}'.encode(),
    "deep nesting": f'{{"results":[{text_of(ROW, "7.0", "[" * 100_000)}'.encode(),
    "depth in a field nobody reads": f'{{"meta":{"[" * 100_000}{"]" * 100_000},"results":[]}}'.encode(),
    "bytes that are no UTF-8": json.dumps({"results": [ROW]}).encode().replace(b"pm25", b"pm\xff25"),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=list(UNREADABLE))
def test_an_unreadable_page_may_pass_by_itself_and_is_no_bug(body: bytes) -> None:
    with pytest.raises(RetriableError):
        read(body)


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=list(UNREADABLE))
def test_an_unreadable_page_stays_so_behind_a_broken_row(body: bytes) -> None:
    behind = re.sub(rb'"results": ?\[', b'"results":[{},', body, count=1)
    with pytest.raises(RetriableError):
        read(behind)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists, max_leaves=5
    )
)
@settings(deadline=None)
def test_any_json_in_a_rows_place_is_a_row_or_a_reject(thing: object) -> None:
    page = page_of(ROW, thing, changed(ROW, "value", thing), changed(ROW, "period.datetimeTo.utc", thing))
    assert page.count == 4
    assert page.rows[0].value == 7.0


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_any_moment_in_any_zone_is_read_exactly(moment: datetime, offset_minutes: int) -> None:
    whole = moment.replace(microsecond=0, tzinfo=UTC)
    shifted = (whole + timedelta(minutes=offset_minutes)).replace(tzinfo=None)
    sign, (hours, minutes) = "-" if offset_minutes < 0 else "+", divmod(abs(offset_minutes), 60)
    said = f"{shifted.isoformat()}{sign}{hours:02}:{minutes:02}"
    (row,) = page_of(changed(ROW, "period.datetimeTo.utc", said)).rows
    assert row.datetime == whole


# Locations -----------------------------------------------------------------------------------------------------


def location_of(**fields: Any) -> Any:
    return parse.location(json.dumps({"meta": META, "results": [{**LOCATION, **fields}]}).encode(), NOW)


def test_a_location_is_read_with_its_sensors_by_id() -> None:
    found = location_of()
    assert (found.id, found.name, found.locality, found.timezone) == (
        2178,
        "Del Norte",
        "Albuquerque",
        "America/Denver",
    )
    assert (found.country_code, found.country_name) == ("US", "United States")
    assert (found.latitude, found.longitude) == (35.1353, -106.584702)
    assert (found.provider, found.owner, found.is_mobile, found.is_monitor) == ("AirNow", "Somebody", False, True)
    assert found.licenses == (License(33, "US Public Domain", "Somebody", None, "2016-01-30", None),)
    assert [(sensor.id, sensor.parameter, sensor.units) for sensor in found.sensors] == [
        (3917, "o3", "ppm"),
        (3920, "pm25", "µg/m³"),
    ]
    assert found.datetime_first == datetime(2016, 3, 6, 20, tzinfo=UTC)
    assert found.datetime_last == datetime(2026, 6, 13, 19, tzinfo=UTC)
    assert found.fetched == NOW


@pytest.mark.parametrize("field", ["name", "locality", "licenses", "datetimeFirst", "datetimeLast", "coordinates"])
def test_what_openaq_leaves_null_is_none_or_empty(field: str) -> None:
    found = location_of(**{field: None})
    names = {"datetimeFirst": "datetime_first", "datetimeLast": "datetime_last", "coordinates": "latitude"}
    assert not getattr(found, names.get(field, field))


@pytest.mark.parametrize(
    "fields",
    [
        {"country": {"id": None, "code": "-99", "name": "-"}},
        {"coordinates": {"latitude": None, "longitude": None}},
        {"licenses": [{"id": 1, "name": "x", "attribution": None, "dateFrom": None, "dateTo": None}]},
        {"sensors": []},
        {"instruments": None, "bounds": None, "brandNew": 5},
    ],
)
def test_sparse_locations_are_read(fields: dict[str, Any]) -> None:
    assert location_of(**fields).id == 2178


def test_a_locations_times_are_in_utc_whatever_their_offset() -> None:
    found = location_of(datetimeLast={"utc": "2026-06-13T19:00:00+05:45", "local": "x"})
    assert found.datetime_last == datetime(2026, 6, 13, 13, 15, tzinfo=UTC)
    assert found.datetime_last.tzinfo is UTC


def test_a_location_that_cannot_be_read_does_not_cost_its_page() -> None:
    good = LOCATION
    broken = {**good, "id": 7, "timezone": 5}
    page = parse.locations(json.dumps({"results": [good, broken, {"id": "x"}]}).encode(), NOW)
    assert [found.id for found in page.found] == [2178]
    assert (page.unread, page.count) == ([7], 3)


@pytest.mark.parametrize("body", [b'{"results":', b'{"results":5}', b"[]"])
def test_a_list_that_cannot_be_read_at_all_is_asked_for_again(body: bytes) -> None:
    with pytest.raises(RetriableError):
        parse.locations(body, NOW)
    with pytest.raises(RetriableError):
        parse.entries(body)


def test_an_empty_list_is_no_location() -> None:
    assert parse.location(b'{"results":[]}', NOW) is None


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"results":[{}]}',
        b'{"results":[{"id":"x"}]}',
        b"[" * 100_000,
        b"",
        json.dumps({"results": [LOCATION]}).replace("2016-03-06T20:00:00Z", "0001-01-01T00:00:00+01:00").encode(),
    ],
)
def test_a_location_that_cannot_be_read_may_pass_by_itself(body: bytes) -> None:
    with pytest.raises(RetriableError):
        parse.location(body, NOW)


def test_terms_that_openaq_does_not_tell_are_not_known() -> None:
    body = b'{"results":[{"id":7,"name":"Own","redistributionAllowed":false,"commercialUseAllowed":null}]}'
    (found,) = parse.licenses(body, NOW)
    assert (found.id, found.name, found.redistribution_allowed, found.fetched) == (7, "Own", False, NOW)
    assert (found.commercial_use_allowed, found.attribution_required, found.source_url) == (None, None, None)


@pytest.mark.parametrize("body", [b'{"results":[{"id":"x"}]}', b"{", b'{"results":[{"id":1}]}', b"[]"])
def test_licences_that_cannot_be_read_may_pass_by_themselves(body: bytes) -> None:
    with pytest.raises(RetriableError):
        parse.licenses(body, NOW)


# Real data -----------------------------------------------------------------------------------------------------


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def official(folder: Path, wanted: Callable[[str], bool]) -> dict[str, Any]:
    """Return the bodies of the good recorded answers whose path is wanted, by file name."""
    told = {path.name: json.loads(content(path)) for path in sorted(folder.glob("*.json*"))}
    return {name: one["body"] for name, one in told.items() if one["status"] == 200 and wanted(one["request"]["path"])}


def assert_read_in_full(body: Any) -> int:
    """Check a page against its own JSON; return its number of rows."""
    page = read(json.dumps(body).encode())
    assert page.rejects == []
    told = [
        (
            row["value"],
            datetime.fromisoformat(row["period"]["datetimeTo"]["utc"]),
            row["period"]["datetimeTo"]["local"],
            row["parameter"]["id"],
            row["parameter"]["units"],
            (row["flagInfo"] or {}).get("hasFlags"),
        )
        for row in body["results"]
    ]
    assert told == [
        (row.value, row.datetime, row.datetime_local, row.parameters_id, row.units, row.has_flags) for row in page.rows
    ]
    return len(told)


def test_every_recorded_page_of_measurements_is_read_in_full(shared_data: Path) -> None:
    folder = shared_data / "official_server_replies"
    bodies = official(folder, lambda path: path.split("?")[0].endswith("/measurements"))
    assert len(bodies) > 15
    assert sum(map(assert_read_in_full, bodies.values())) == 1434


def test_every_recorded_location_is_read(shared_data: Path) -> None:
    folder = shared_data / "official_server_replies"
    bodies = official(
        folder, lambda path: path.split("?")[0].split("/")[2:3] == ["locations"] and "/latest" not in path
    )
    lists = [body["results"] for body in bodies.values() if "timezone" in json.dumps(body)]
    locations = [one for results in lists for one in results]
    assert len(locations) == 48
    for told in locations:
        found = parse.location(json.dumps({"results": [told]}).encode(), NOW)
        assert found is not None
        assert (found.id, found.name, found.timezone) == (told["id"], told["name"], told["timezone"])
        assert {sensor.id for sensor in found.sensors} == {sensor["id"] for sensor in told["sensors"]}
    for results in lists:
        page = parse.locations(json.dumps({"results": results}).encode(), NOW)
        assert ([found.id for found in page.found], page.unread) == ([told["id"] for told in results], [])


@pytest.mark.parametrize(("name", "also"), [("parameters", "displayName"), ("providers", "sourceName")])
def test_every_recorded_parameter_and_provider_is_read(shared_data: Path, name: str, also: str) -> None:
    (body,) = official(shared_data / "official_server_replies", lambda path: path == f"/v3/{name}").values()
    found = parse.entries(json.dumps(body).encode())
    assert len(found) == body["meta"]["found"]
    assert [(each.id, each.name, each.also) for each in found] == [
        (told["id"], told["name"], told[also]) for told in body["results"]
    ]


def test_every_recorded_list_of_latest_rows_is_read_in_full(shared_data: Path) -> None:
    bodies = official(shared_data / "official_server_replies", lambda path: path.split("?")[0].endswith("/latest"))
    rows = 0
    for body in bodies.values():
        page = parse.latest(json.dumps(body).encode())
        told = body["results"]
        assert page.found == body["meta"]["found"]
        assert [(row.location_id, row.sensors_id, row.value, row.datetime_local) for row in page.rows] == [
            (each["locationsId"], each["sensorsId"], each["value"], each["datetime"]["local"]) for each in told
        ]
        rows += len(told)
    assert len(bodies) >= 12
    assert rows == 60


def test_a_latest_row_that_breaks_the_schema_is_left_out_and_costs_no_other() -> None:
    moment = {"utc": "2026-06-13T19:00:00Z", "local": "2026-06-13T13:00:00-06:00"}
    good = {"datetime": moment, "value": 0.055, "coordinates": None, "sensorsId": 3917, "locationsId": 2178}
    rows = [good, {**good, "datetime": None}, {**good, "sensorsId": 3918, "value": None}]
    page = parse.latest(json.dumps({"meta": {"found": "3"}, "results": rows}).encode())
    assert [(row.sensors_id, row.value) for row in page.rows] == [(3917, 0.055), (3918, None)]
    assert page.found is None


@pytest.mark.parametrize("body", [b'{"results": 5}', b"{}", b"[]", b'{"results": ['])
def test_a_list_of_latest_rows_that_is_none_is_a_broken_answer(body: bytes) -> None:
    with pytest.raises(RetriableError):
        parse.latest(body)


def test_every_page_of_guadalajara_is_read_in_full(shared_data: Path) -> None:
    pages = sorted((shared_data / "guadalajara" / "measurements").glob("*.json.gz"))
    assert len(pages) == 77
    assert sum(assert_read_in_full(json.loads(content(path))) for path in pages) == 34_042


def test_vietnam_is_read_in_full(shared_data: Path) -> None:
    folder = shared_data / "vietnam"
    assert assert_read_in_full(json.loads(content(folder / "sensor_7772024_measurements.json"))) == 100
    told = json.loads(content(folder / "locations.json"))["results"]
    for one in told:
        found = parse.location(json.dumps({"results": [one]}).encode(), NOW)
        assert found is not None
        assert found.licenses == () if one["licenses"] is None else len(found.licenses) == len(one["licenses"])
