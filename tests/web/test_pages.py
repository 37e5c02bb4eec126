"""The pages of folders that are not as they should be, and of questions that make no sense: never a 500."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from openaq_pipeline.config import load
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Book, OpenCondition, Outgoing, PastCondition
from openaq_pipeline.reports import Condition, Notice
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import running as simulated
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.web.server import running
from tests.conftest import Program

Serve = Callable[..., Callable[..., str]]
PAGES = ("/", "/map", "/runs", "/alerts", "/api")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve a data folder from this process; what is returned gets a page's text, and asserts its status."""
    with ExitStack() as stack:

        def start(folder: Path, **settings: Any) -> Callable[..., str]:
            config = tmp_path / "served.yaml"
            config.write_text(json.dumps(settings))
            address = stack.enter_context(running(load(config=config, data_dir=folder, environ={})))

            def get(path: str, status: int = 200) -> str:
                answer = requests.get(address + path, timeout=20)
                assert answer.status_code == status, answer.text
                return unescape(answer.text)

            return get

        yield start


class Folder(NamedTuple):
    """A data folder and the locations in it."""

    data: Path
    ids: list[int]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder into which two locations were read."""
    program = Program(tmp_path_factory.mktemp("read"))
    with simulated(named.bench(locations=2, sensors=2, days=60), options=Options(requests_per_minute=0)) as simulator:
        ids = [station.id for station in simulator.world.stations]
        assert program.configure(simulator.base_url, ids, initial_days=2).load().code == 0
    return Folder(program.data, ids)


@pytest.fixture
def read(tmp_path: Path, original: Folder) -> Folder:
    """A copy of it, to be spoilt."""
    return Folder(Path(shutil.copytree(original.data, tmp_path / "data")), original.ids)


def test_without_a_data_folder_every_page_says_that_there_is_none_yet(tmp_path: Path, serve: Serve) -> None:
    get = serve(tmp_path / "none", locations=[5])
    assert "There is no data folder" in get("/")
    assert "1 of 1 location never read" in get("/")
    assert "Never read; the next run does that." in get("/")
    assert "No run is on file" in get("/runs")
    assert "No alert is open" in get("/alerts")
    for path in PAGES:
        get(path)
    assert "No row is stored" in get("/locations/5")
    assert not (tmp_path / "none").exists()


def test_without_a_selected_location_the_page_says_how_to_select_one(tmp_path: Path, serve: Serve) -> None:
    get = serve(tmp_path)
    assert "No location is selected. Name some under <code>locations</code>" in get("/")
    for path in PAGES:
        get(path)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/locations/999", 404, "There is no location 999 here"),
        ("/locations/1e3", 404, "There is no location 1e3 here"),
        ("/locations/" + "9" * 400, 404, "There is no location 9999999999999999999…"),
        ("/locations/<script>", 404, "There is no location <script> here"),
        ("/nothing", 404, "There is nothing under this address"),
        ("/locations/{id}?range=century", 422, "There is no range 'century'"),
        ("/locations/{id}?datetime_from=yesterday", 422, "'yesterday' is not a time such as 2025-01-31"),
        ("/locations/{id}?datetime_from=2025-02-01&datetime_to=2025-01-01", 422, "before it begins"),
        ("/locations/{id}/series.json?datetime_from=x", 422, "'x' is not a time"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_by_a_page_that_says_so(
    read: Folder, serve: Serve, path: str, status: int, said: str
) -> None:
    (first, _) = read.ids
    page = serve(read.data, locations=read.ids)(path.replace("{id}", str(first)), status)
    assert said in page
    assert "To the status page" in page


@pytest.mark.parametrize(
    "query", ["page=-1", "page=x", "page=99999999999999999999", "state=nonsense", "q=%00%ff", "q=" + "x" * 1500]
)
def test_a_list_that_is_asked_for_wrongly_is_shown_all_the_same(read: Folder, serve: Serve, query: str) -> None:
    assert "Locations" in serve(read.data, locations=read.ids)(f"/?{query}")


@pytest.mark.parametrize(
    "span",
    [
        "datetime_from=0001-01-01", "datetime_to=9999-12-31", "datetime_from=0001-01-01&datetime_to=9999-12-31",
        "datetime_from=0001-01-01T00:01Z&datetime_to=9999-12-31T23:59:59Z",
        "datetime_from=2025-01-01T00:00&datetime_to=2025-01-01T00:00", "range=all", "most_points=0",
        "most_points=9999999",
    ],
)  # fmt: skip
def test_the_ends_of_time_are_a_range_too(read: Folder, serve: Serve, span: str) -> None:
    (first, _) = read.ids
    get = serve(read.data, locations=read.ids)
    get(f"/locations/{first}?{span}")
    json.loads(get(f"/locations/{first}/series.json?{span}"))


def test_a_time_in_the_address_may_name_its_zone_as_to_the_api(read: Folder, serve: Serve) -> None:
    (first, _) = read.ids
    get, begins = serve(read.data, locations=read.ids), "datetime_from=2026-11-01T00:00:00+05:45"
    found = json.loads(get(f"/locations/{first}/series.json?{begins}"))
    assert datetime.fromtimestamp(found["first"], UTC) == datetime(2026, 10, 31, 18, 15, tzinfo=UTC)
    get(f"/locations/{first}?{begins}")


@pytest.mark.parametrize(
    "name", ["location_{id}.json", ".state.json", "metrics.json", "locations.json", ".alerts.json", "licenses.json"]
)
@pytest.mark.parametrize("body", [b"", b"{", b"null"], ids=["empty", "half", "null"])
def test_a_half_written_file_is_a_warning_and_not_the_end(read: Folder, serve: Serve, name: str, body: bytes) -> None:
    (first, other) = read.ids
    (read.data / name.replace("{id}", str(first))).write_bytes(body)
    get = serve(read.data, locations=read.ids)
    for path in ("/", "/map", "/runs", "/alerts", f"/locations/{first}", f"/locations/{other}"):
        get(path)


def test_a_damaged_location_is_named_where_it_is_shown_and_the_others_are_whole(read: Folder, serve: Serve) -> None:
    (first, other) = read.ids
    path = read.data / f"location_{first}.json"
    path.write_bytes(path.read_bytes()[:-40] + b"}}}")
    get = serve(read.data, locations=read.ids)
    assert "is damaged" in get("/")
    assert "is damaged" in get(f"/locations/{first}")
    assert 'class="spark"' in get("/")
    assert "is damaged" not in get(f"/locations/{other}")


def test_runs_are_told_with_their_errors(read: Folder, serve: Serve) -> None:
    page = serve(read.data, locations=read.ids)("/runs")
    assert "The last run" in page
    assert "2 of 2" in page
    metrics = json.loads((read.data / "metrics.json").read_text())
    metrics["runs"][0]["locations"][0] |= {"outcome": "partial", "error": "Sensor 7: the page <b>broke</b>"}
    (read.data / "metrics.json").write_text(json.dumps(metrics))
    page = serve(read.data, locations=read.ids)("/runs")
    assert "is-partial" in page
    assert "Sensor 7: the page <b>broke</b>" in page


def test_alerts_are_told_from_their_beginning_to_their_end(tmp_path: Path, serve: Serve) -> None:
    began, ended = datetime(2026, 11, 1, 12, tzinfo=UTC), datetime(2026, 11, 1, 15, 30, tzinfo=UTC)
    silent = Condition("silent:1", "warning", "Thamel is silent", "Since noon.", "Look there.")
    notice = Notice("n", "begun", silent, began)
    failed = Outgoing(notice, "webhook", began, began, 3, "hooks.example answered 500")

    def book(empty: Book) -> Book:
        return Book(
            empty.id,
            open={"silent:1": OpenCondition(silent, began)},
            past=(PastCondition(silent, began, ended, told=True),),
            undelivered=(failed,),
        )

    AlertFile(tmp_path).change(began, book)
    page = serve(tmp_path, locations=[1])("/alerts")
    assert "1 alert open" in page
    assert "3 h 30 min" in page
    assert "hooks.example answered 500" in page
    assert "given up" in page
