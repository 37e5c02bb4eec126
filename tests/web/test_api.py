"""The API over HTTP: what it answers, page by page, and what it answers to what can't be."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unicodedata import normalize
from urllib.parse import quote

import msgspec
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import requests

from openaq_pipeline.model import Measurement
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.web.api import measurements, models
from openaq_pipeline.web.server import running
from tests.reading import folders
from tests.web.served import HOURS, NOW, Served, served, settings


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("data")) as found:
        yield found


def as_json(rows: list[Measurement]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = msgspec.json.decode(msgspec.json.encode(rows))
    return found


def test_the_status_says_how_the_whole_is(page: Served) -> None:
    found = page.json("/api/v1/status")
    assert found["locations"] == {"current": 2, "silent": 0, "failing": 0, "unknown": 1}
    assert found["status"] == "degraded"
    assert found["sentence"].startswith("1 of 3 locations never read")
    assert found["open_alerts"] == 1
    assert found["budget"] is None
    assert found["warnings"] == []


def test_locations_come_with_their_sensors_and_licences_and_how_they_are(page: Served) -> None:
    found = page.json("/api/v1/locations")
    assert found["meta"] == {"page": 1, "limit": 100, "found": 3}
    assert [each["id"] for each in found["results"]] == [1, 2, 3]
    first = page.json("/api/v1/locations/1")
    assert first == {**found["results"][0], "age_seconds": first["age_seconds"]}
    assert first["status"] == "current"
    assert [each["parameter"] for each in first["sensors"]] == ["pm25", "o3"]
    assert first["licenses"][0]["attribution_name"] == "City of Kathmandu"
    assert page.json("/api/v1/locations/3")["sensors"] == []


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("search=ratna", [1, 2]),
        ("search=2", [2]),
        ("search=nowhere", []),
        ("status=unknown", [3]),
        ("iso=np", [1, 2]),
        ("iso=NO", []),
        ("parameters_id=2&parameters_id=7", [1, 2]),
        ("parameters_id=7", []),
        ("licenses_id=41", [1, 2]),
        ("bbox=85,27,86,28", [1, 2]),
        ("bbox=-10,27,0,28", []),
        ("coordinates=27.7,85.3&radius=25000", [1, 2]),
        ("coordinates=0,0", []),
        ("mobile=true", []),
        ("limit=1&page=2", [2]),
        ("limit=2&page=2", [3]),
        ("page=9", []),
        ("order_by=status", [3, 1, 2]),
        ("order_by=age&sort_order=desc", [3, 2, 1]),
    ],
)
def test_locations_are_filtered_sorted_and_paged(page: Served, query: str, ids: list[int]) -> None:
    assert [each["id"] for each in page.json(f"/api/v1/locations?{query}")["results"]] == ids


def test_an_index_says_of_what_it_is_made_in_the_api_and_on_the_page(page: Served) -> None:
    found = {each["parameter"]: each["aqi"] for each in page.json("/api/v1/locations/1/latest")["results"]}
    assert found["pm25"]["basis"] == "NowCast"
    assert found["o3"]["basis"] in {"1 hour", "8 hours"}
    status = page.get("/").text
    assert 'title="Basis: NowCast"' in status
    assert f"(basis: {found['o3']['basis']})" in status


def test_measurements_are_the_rows_of_file_and_history_page_by_page(page: Served) -> None:
    rows = as_json(page.rows[1])
    first = page.json("/api/v1/locations/1/measurements?limit=1000")
    assert first["meta"]["found"] == len(rows) == 2 * HOURS
    assert first["results"] == rows[:1000]
    last = page.json("/api/v1/locations/1/measurements?limit=1000&page=5")
    assert last["results"] == rows[4000:]
    assert page.json("/api/v1/locations/3/measurements")["results"] == []


def test_a_window_is_later_than_its_start_up_to_and_with_its_end(page: Served) -> None:
    start, end = NOW - timedelta(hours=5), NOW - timedelta(hours=2)
    query = f"datetime_from={quote(start.isoformat())}&datetime_to={end.isoformat()}"  # the plus sign of one is a space
    found = page.json(f"/api/v1/sensors/11/measurements?{query}")
    assert [row["datetime"] for row in found["results"]] == [
        f"{end - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}" for hours in (2, 1, 0)
    ]
    assert {row["sensors_id"] for row in found["results"]} == {11}


def test_parameters_choose_rows_by_number(page: Served) -> None:
    assert page.json("/api/v1/locations/1/measurements?parameters_id=10")["meta"]["found"] == HOURS
    assert page.json("/api/v1/sensors/11/measurements?parameters_id=10")["meta"]["found"] == 0
    assert page.json("/api/v1/sensors/12/measurements?parameters_id=10")["meta"]["found"] == HOURS


def test_a_window_is_downloaded_as_csv_json_and_parquet(page: Served) -> None:
    rows = as_json(page.rows[2])
    answers = {form: page.get(f"/api/v1/locations/2/measurements?format={form}") for form in ("csv", "json", "parquet")}
    assert {answer.status_code for answer in answers.values()} == {200}
    assert answers["json"].json() == rows
    assert pyarrow.csv.read_csv(io.BytesIO(answers["csv"].content)).num_rows == len(rows)
    table = pq.read_table(io.BytesIO(answers["parquet"].content))
    assert table.column("value").to_pylist() == [row["value"] for row in rows]
    headers = answers["csv"].headers
    assert headers["Content-Disposition"] == 'attachment; filename="location_2.csv"'
    assert headers["Link"] == '</api/v1/locations/2>; rel="license"'


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("datetime_from=2026-11-01&datetime_to=2026-11-07", "location_2_2026-11-01_2026-11-07"),
        ("datetime_from=2026-11-01T00:00Z&datetime_to=2026-11-07T06:00Z", "location_2_2026-11-01_2026-11-07"),
        ("datetime_to=0001-01-01T00:00Z", "location_2"),
        ("datetime_to=9999-12-31", "location_2"),
    ],
)
def test_a_file_is_called_by_the_days_that_were_asked_for(page: Served, query: str, name: str) -> None:
    answer = page.get(f"/api/v1/locations/2/measurements?format=csv&{query}")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}.csv"'


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_letter_with_a_mark_is_found_however_it_is_stored_and_typed(tmp_path: Path, stored: Any, asked: Any) -> None:
    metadata = Metadata(tmp_path)
    metadata.put(folders.location(1, name=normalize(stored, "Zürich Kaserne")))
    metadata.save()
    with running(settings(tmp_path)) as address:
        words = {"search": normalize(asked, "ZÜRICH")}
        found = requests.get(f"{address}/api/v1/locations", params=words, timeout=20).json()["results"]
    assert [each["id"] for each in found] == [1]


def test_the_documents_measurement_is_the_one_on_disk() -> None:
    assert list(models.Measurement.model_fields) == list(Measurement.__struct_fields__)


def test_runs_come_the_last_first_with_what_was_amiss(page: Served) -> None:
    found = page.json("/api/v1/runs")["results"]
    assert [each["started"] for each in found] == sorted((each["started"] for each in found), reverse=True)
    assert [[place["location_id"] for place in each["amiss"]] for each in found] == [[], [2], []]
    assert page.json("/api/v1/runs?limit=1&page=3")["meta"] == {"page": 3, "limit": 1, "found": 3}


def test_alerts_come_the_open_ones_first(page: Served) -> None:
    found = page.json("/api/v1/alerts")["results"]
    assert [(each["key"], each["ended"] is None, each["told"]) for each in found] == [
        ("silent:1", True, True),
        ("slow", False, False),
    ]


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/locations/4", 404, "Location 4 is not known here"),
        ("/locations/4/measurements", 404, "Location 4"),
        ("/sensors/99/measurements", 404, "Sensor 99"),
        ("/locations/0", 422, "locations_id"),
        ("/locations/99999999999999999999", 422, "locations_id"),
        ("/locations/x", 422, "locations_id"),
        ("/locations/1/measurements?datetime_from=2026-02-01&datetime_to=2026-01-01", 422, "before it begins"),
        ("/locations/1/measurements?datetime_from=yesterday", 422, "datetime_from"),
        ("/locations/1/measurements?limit=1001", 422, "limit"),
        ("/locations/1/measurements?page=0", 422, "page"),
        ("/locations/1/measurements?format=xlsx", 422, "format"),
        ("/locations/1/measurements?datetime_form=2026-01-01", 422, "datetime_form"),
        ("/locations?bbox=1,2,3", 422, "bbox"),
        ("/locations?bbox=1,2,3,200", 422, "bbox"),
        ("/nothing", 404, "There is nothing"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence(page: Served, path: str, status: int, word: str) -> None:
    answer = page.get(f"/api/v1{path}")
    assert answer.status_code == status
    assert word in answer.json()["detail"]


def test_an_absurd_range_is_a_range(page: Served) -> None:
    found = page.json("/api/v1/locations/1/measurements?datetime_from=0001-01-01&datetime_to=9999-12-31&limit=1")
    assert found["meta"]["found"] == 2 * HOURS


def test_the_document_describes_every_parameter_and_answer(page: Served) -> None:
    document = page.json("/openapi.json")
    assert document["openapi"].startswith("3.")
    for path, item in document["paths"].items():
        assert set(item) == {"get"}, path
        assert item["get"]["summary"]
        assert all(each.get("description") for each in item["get"].get("parameters", []))
    assert "HTTPValidationError" not in json.dumps(document)


def test_the_last_values_come_with_their_day(page: Served) -> None:
    found = page.json("/api/v1/locations/1/latest")
    assert [each["parameter"] for each in found["results"]] == ["o3", "pm25"]
    last = page.rows[1][-1]
    assert found["results"][0]["value"] == last.value
    assert len(found["results"][0]["day"]) == 24
    assert page.get("/api/v1/locations/4/latest").status_code == 404


def test_the_map_has_a_column_each_and_the_values_of_one_parameter(page: Served) -> None:
    found = page.json("/api/v1/map")
    assert (found["id"], found["lat"], found["lon"]) == ([1, 2], [27.7, 27.7], [85.3, 85.3])
    assert found["status"] == ["current", "current"]
    assert found["value"] == [None, None]
    found = page.json("/api/v1/map?parameter=pm25")
    assert found["pending"] == 0
    assert found["value"] == [page.rows[key][-2].value for key in (1, 2)]
    assert found["units"] == ["µg/m³", "µg/m³"]
    assert page.json("/api/v1/map?parameter=nothing")["value"] == [None, None]


def test_a_download_that_the_disk_has_no_room_for_is_refused_with_a_sentence(
    page: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(page.folder / "none"))
    monkeypatch.setattr(measurements, "IN_MEMORY_BYTES", 100)
    for form in ("csv", "json", "parquet") * measurements.MOST_DOWNLOADS:  # what fails is no download any more
        answer = page.get(f"/api/v1/locations/1/measurements?format={form}")
        assert answer.status_code == 503
        assert answer.json()["detail"] == "The file can't be made: No such file or directory"
        assert str(page.folder) not in answer.text


def test_only_so_many_files_wait_for_their_readers(page: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/api/v1/locations/1/measurements?format=csv"
    monkeypatch.setattr(measurements, "MOST_DOWNLOADS", 0)
    with running(settings(page.folder)) as address:
        answer = requests.get(address + path, timeout=10)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    for _ in range(20):
        assert page.get(path).status_code == 200


def test_a_location_off_the_globe_is_on_no_map(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        metadata = Metadata(tmp_path)
        metadata.put(folders.location(2))
        metadata.put(msgspec.structs.replace(folders.location(1), latitude=999.0))
        metadata.save()
        assert page.json("/api/v1/map")["id"] == [2]
        assert "1 location" in page.get("/map").text
