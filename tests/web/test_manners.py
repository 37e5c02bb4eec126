"""What holds for every answer: headers, tags, who may ask what, and errors in the form that suits who asks."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from openaq_pipeline.settings import Settings
from openaq_pipeline.web.manners import HEADERS, is_local
from openaq_pipeline.web.server import running
from tests.web.served import Served, served

PATHS = ("/", "/runs", "/alerts", "/api/v1/status", "/api/v1/locations/1/measurements", "/openapi.json", "/healthz")
PAGES = ("/locations/1", "/locations/1/series.json", "/api/v1/locations/1/latest", "/map")
PATHS_TOO = ("/static/style.css", "/metrics", "/nothing", "/api/v1/nothing", "/api/v1/locations/9")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("data")) as found:
        yield found


def asked(page: Served, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Ask as no library would; return the status and the body."""
    with closing(http.client.HTTPConnection(urlsplit(page.address).netloc, timeout=10)) as connection:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")


@pytest.mark.parametrize("path", [*PATHS, *PATHS_TOO])
def test_every_answer_forbids_browsers_what_no_page_of_ours_does(page: Served, path: str) -> None:
    answer = page.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "Server" not in answer.headers


@pytest.mark.parametrize("path", [*PATHS, *PATHS_TOO])
def test_head_is_get_without_the_body(page: Served, path: str) -> None:
    got, told = page.get(path), requests.head(page.address + path, timeout=10)
    assert (told.status_code, told.content) == (got.status_code, b"")
    assert told.headers["Content-Type"] == got.headers["Content-Type"]


@pytest.mark.parametrize("path", PATHS)
def test_what_the_asker_has_is_not_sent_again(page: Served, path: str) -> None:
    tag = page.get(path).headers["ETag"]
    again = page.get(path, **{"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert page.get(path, **{"If-None-Match": tag.removeprefix("W/")}).status_code == 304
    assert page.get(path, **{"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/static/style.css"])
def test_a_tag_stands_for_what_is_compressed_too(page: Served, path: str) -> None:
    tag = page.get(path, **{"Accept-Encoding": "gzip"}).headers["ETag"]
    assert tag.startswith('W/"')
    again = page.get(path, **{"If-None-Match": tag, "Accept-Encoding": "identity"})
    assert (again.status_code, again.headers["ETag"], again.headers["Vary"]) == (304, tag, "Accept-Encoding")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/openmetrics-text", "application/openmetrics-text"),
        ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
         "application/openmetrics-text"),
        ("text/plain;version=0.0.4;q=0.3, application/openmetrics-text; q=0.5", "application/openmetrics-text"),
        ("application/openmetrics-text;q=0", "text/plain"),
        ("application/openmetrics-text;q=0.000,*/*", "text/plain"),
        ("application/openmetrics-text;version=1.0.0;q=0.5, text/plain;version=0.0.4;q=0.9", "text/plain"),
        ("application/openmetrics-text;q=0.5, text/plain", "text/plain"),
        ("", "text/plain"),
    ],
)  # fmt: skip
def test_a_scrape_gets_the_format_that_it_prefers(page: Served, accept: str, kind: str) -> None:
    assert page.get("/metrics", Accept=accept).headers["Content-Type"].partition(";")[0] == kind


@pytest.mark.parametrize("version", ["x", "1.x", "", "1.0.0\xe9", "9" * 5_000])
def test_a_scrape_that_asks_for_a_version_that_is_none_is_answered_all_the_same(page: Served, version: str) -> None:
    answer = page.get("/metrics", Accept=f"application/openmetrics-text; version={version}")
    assert answer.status_code == 200
    assert "openaq_pipeline_locations" in answer.text


def test_what_has_changed_has_another_tag(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        before = page.get("/api/v1/locations/1/measurements").headers["ETag"]
        page.folder.joinpath("location_1.json").write_text("[]\n")
        assert page.get("/api/v1/locations/1/measurements").headers["ETag"] != before


def test_large_answers_are_compressed_and_small_ones_are_not(page: Served) -> None:
    large = requests.get(
        f"{page.address}/api/v1/locations/1/measurements", headers={"Accept-Encoding": "gzip"}, timeout=10, stream=True
    )
    assert large.headers["Content-Encoding"] == "gzip"
    assert b'"results"' in gzip.decompress(large.raw.read())
    assert "Content-Encoding" not in page.get("/healthz").headers
    plain = page.get("/api/v1/locations/1/measurements", **{"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/static/style.css"])
def test_nothing_but_asking_is_possible(page: Served, method: str, path: str) -> None:
    status, said = asked(page, method, path)
    assert status == 405
    assert "Only GET and HEAD are possible here" in said


def test_a_question_has_no_body_and_no_endless_address(page: Served) -> None:
    assert asked(page, "GET", "/", b"x" * 9, Content_Length="9")[0] == 413
    assert asked(page, "GET", "/", Transfer_Encoding="chunked")[0] == 413
    assert asked(page, "GET", f"/?q={'x' * 2100}")[0] == 414
    assert asked(page, "GET", "/", X=("x" * 20_000))[0] == 431


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8765", 200),
        ("127.0.0.1", 200),
        ("127.9.9.9:1", 200),
        ("[::1]:8765", 200),
        ("localhost.", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.evil.example:8765", 400),
        ("192.168.0.1", 400),
        ("0.0.0.0", 400),  # noqa: S104 - nothing is bound to it
        ("localhost@evil.example", 400),
        ("evil.example/localhost", 400),
        ("localhost:", 400),
        ("", 400),
    ],
)
def test_a_page_for_this_machine_alone_has_no_other_name(page: Served, host: str, status: int) -> None:
    for path in ("/", "/api/v1/locations", "/static/style.css"):
        assert asked(page, "GET", path, Host=host)[0] == status


def test_a_name_of_the_settings_is_one_too() -> None:
    assert is_local("air.local:80", frozenset({"air.local"}))
    assert not is_local("air.local:80", frozenset({"localhost"}))


def test_errors_are_objects_for_programs_and_pages_for_people(page: Served) -> None:
    assert page.get("/api/v1/nothing").json().keys() == {"detail", "hint"}
    answer = page.get("/nothing")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "There is nothing under this address" in answer.text
    assert page.get("/healthz/x").status_code == 404


def test_it_lives_whatever_the_data_are_like_and_is_ready_only_while_runs_are_good(
    page: Served, tmp_path: Path
) -> None:
    assert (page.get("/healthz").text, page.get("/healthz").status_code) == ("ok\n", 200)
    assert page.get("/readyz").text.startswith("healthy: the last good run was")
    with running(Settings(data_dir=tmp_path / "none")) as address:
        assert requests.get(f"{address}/healthz", timeout=10).status_code == 200
        ready = requests.get(f"{address}/readyz", timeout=10)
        assert (ready.status_code, ready.text[:27]) == (503, "unhealthy: no good run with")


BROKEN = {
    ".state.json": b'{"version":1,"locations":{"1":{"last_fetch',
    "locations.json": b'[{"id": 1, "na',
    "metrics.json": b'{"runs": [{"started"',
    ".alerts.json": b"\x00" * 100,
    ".selections.json": b"[]",
    "location_1.json": b'[\n{"location_id":1,"sensors_id":11,"para',
    "licenses.json": b"{",
}


@pytest.mark.parametrize("how", ["half", "folders", "newer", "gone"])
def test_a_folder_of_which_nothing_can_be_read_is_a_warning_and_no_bug(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "data"
    for name, body in BROKEN.items():
        folder.mkdir(exist_ok=True)
        if how == "half":
            (folder / name).write_bytes(body)
        elif how == "folders":
            (folder / name).mkdir()
        elif how == "newer":
            (folder / name).write_bytes(b'{"version": 99}')
        else:
            folder.rmdir()
    with running(Settings(locations=[1], data_dir=folder)) as address:
        found = requests.get(f"{address}/api/v1/status", timeout=10).json()
        assert found["status"] == "down"
        assert found["warnings"]
        assert str(tmp_path) not in " ".join(found["warnings"])
        for path in (
            *PATHS,
            *PATHS_TOO,
            *PAGES,
            "/readyz",
            "/api/v1/alerts",
            "/api/v1/runs",
            "/api/v1/map?parameter=pm25",
        ):
            answer = requests.get(address + path, timeout=10)
            assert answer.status_code in {200, 404, 503}, path
            assert str(tmp_path) not in answer.text, path
        if how == "half":
            answer = requests.get(f"{address}/api/v1/locations/1/measurements", timeout=10)
            assert answer.status_code == 503
            assert "damaged" in answer.json()["detail"]
