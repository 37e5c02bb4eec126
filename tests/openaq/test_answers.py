"""From an answer to an error: the type says what recovers from it, the text is one readable line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline.errors import (
    FatalError,
    ItemMissing,
    PipelineError,
    RetriableError,
    ServerFault,
    WindowTooLarge,
)
from openaq_pipeline.openaq.answers import Answer, error_of, explain

MEANING = {
    401: FatalError,
    403: FatalError,
    404: ItemMissing,
    408: WindowTooLarge,
    410: FatalError,
    422: ItemMissing,
    429: RetriableError,
    500: ServerFault,
}
"""What OPENAQ section 4.2 asks for."""

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "official_server_replies"


def answer(status: int, body: bytes, kind: str = "application/json") -> Answer:
    return Answer(status, {"content-type": kind}, body, 0.1)


def body_bytes(recorded: dict[str, Any]) -> bytes:
    body = recorded["body"]
    headers = {name.lower(): value for name, value in recorded["headers"]}
    return body.encode() if "json" not in headers.get("content-type", "") else json.dumps(body).encode()


RECORDINGS = sorted(RECORDED.glob("*.json"))
RECORDED_ERRORS = [path for path in RECORDINGS if json.loads(path.read_bytes())["status"] != 200]


def test_the_recorded_answers_are_here(shared_data: Path) -> None:
    assert (shared_data / "official_server_replies") == RECORDED
    assert {json.loads(path.read_bytes())["status"] for path in RECORDED_ERRORS} >= {401, 404, 422, 429, 500}


@pytest.mark.parametrize("path", RECORDED_ERRORS, ids=lambda path: path.stem)
def test_every_recorded_error_has_its_meaning_and_a_readable_line(path: Path) -> None:
    recorded = json.loads(path.read_bytes())
    headers = {name.lower(): value for name, value in recorded["headers"]}
    error = error_of(Answer(recorded["status"], headers, body_bytes(recorded), 0.1), "/path")
    assert type(error) is MEANING[recorded["status"]]
    line = str(error)
    assert line.startswith(f"OpenAQ answered {recorded['status']} to /path: ")
    assert line.isprintable()
    assert "no reason given" not in line
    assert len(line) < 300


@pytest.mark.parametrize("path", [path for path in RECORDINGS if path not in RECORDED_ERRORS], ids=lambda p: p.stem)
def test_every_recorded_json_answer_is_no_error(path: Path) -> None:
    recorded = json.loads(path.read_bytes())
    headers = {name.lower(): value for name, value in recorded["headers"]}
    error = error_of(Answer(200, headers, body_bytes(recorded), 0.1), "/path")
    assert (error is None) == ("json" in headers["content-type"])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (201, RetriableError),
        (204, RetriableError),
        (301, RetriableError),
        (400, ItemMissing),
        (405, ItemMissing),
        (407, RetriableError),
        (418, ItemMissing),
        (501, RetriableError),
        (502, RetriableError),
        (503, RetriableError),
        (504, RetriableError),
        (599, RetriableError),
        *MEANING.items(),
    ],
)
def test_every_status_has_a_meaning_whatever_the_body(status: int, kind: type[PipelineError]) -> None:
    for body in (b"", b"{}", b"null", b'"text"', b"[1]", b"\xff\xfe", b"<html></html>", b"[" * 9000, b"NaN"):
        error = error_of(answer(status, body), "/path")
        assert type(error) is kind
        assert str(error).isprintable()


@pytest.mark.parametrize("status", [401, 403, 407, 408, 410, 429, 500, 503, 301, 204])
def test_an_error_that_somebody_can_do_something_about_says_what(status: int) -> None:
    error = error_of(answer(status, b"{}"), "/path")
    assert error is not None
    assert error.hint


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'{"detail":"Sensor not found"}', "Sensor not found"),
        (b'{"message":"Forbidden. violation"}', "Forbidden. violation"),
        (b'"Date/time from must be older"', "Date/time from must be older"),
        (b"Internal Server Error", "Internal Server Error"),
        (b"<html><h1>502</h1>\n <p>Bad  gateway</p></html>", "502 Bad gateway"),
        (b'{"detail":""}', "{'detail': ''}"),
        (b"", "no reason given"),
        (b"\n\t ", "no reason given"),
        (b"a\r\nERROR forged\x1b[31m\x9b\xe2\x80\xa8b", "a ERROR forged [31m b"),
        (b'{"detail":[{"loc":["query","limit"],"msg":"Too large"},{"msg":"Bad"}]}', "limit: Too large; Bad"),
        (b'{"detail":[{"loc":[],"msg":"Bad"}]}', "Bad"),
        (b'{"detail":[1, 2]}', "[1, 2]"),
        (b"[]", "no reason given"),
    ],
)
def test_the_reason_is_one_line_for_people(body: bytes, line: str) -> None:
    assert explain(answer(500, body)).replace("\N{REPLACEMENT CHARACTER}", "").replace("  ", " ") == line


def test_a_long_reason_is_cut() -> None:
    assert explain(answer(500, b"x" * 1_000_000), limit=50) == "x" * 50 + "…"


@pytest.mark.parametrize("depth", range(100, 3000, 100))
def test_no_depth_of_nesting_is_too_much(depth: int) -> None:
    assert explain(answer(500, b'{"detail":' + b"[" * depth + b"]" * depth + b"}"))


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_known_by_its_type_in_any_spelling(kind: str) -> None:
    assert error_of(answer(200, b'{"results":[]}\n', kind), "/path") is None


def test_a_type_that_is_not_said_is_no_obstacle() -> None:
    assert error_of(Answer(200, {}, b"{}", 0.1), "/path") is None
