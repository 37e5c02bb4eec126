from __future__ import annotations

import gzip
import time

import pytest
import requests

from openaq_pipeline.simulator.faults import Faults
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import quirks as q
from tests.simulator.asking import KEY, control, get

SERIES = f"/sensors/{q.PLAIN * 10 + 1}/measurements"
COMPLETE = {"limit": 20, "datetime_from": "2026-03-10T00:00:00Z"}


def test_a_fault_strikes_only_what_it_matches_and_only_so_often() -> None:
    faults = Faults()
    faults.inject("status", r"/sensors/7/.*limit=5", count=2)
    targets = ["/v3/locations", "/v3/sensors/7/measurements?limit=5"]
    assert [[faults.pick(target) is not None for target in targets] for _ in range(3)] == [
        [False, True],
        [False, True],
        [False, False],
    ]


def test_a_fault_may_strike_every_third_request() -> None:
    faults = Faults()
    faults.inject("delay", every=3)
    assert [faults.pick("/v3/x") is not None for _ in range(6)] == [False, False, True] * 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, '{"detail":"Invalid credentials"}'),
        (429, '{"detail":"Too many requests"}'),
        (500, "Internal Server Error"),
        (504, '{"message":"Endpoint request timed out"}'),
    ],
)
def test_an_injected_status_has_the_official_body(quirks: Running, status: int, body: str) -> None:
    control(quirks, "POST", "faults", kind="status", match="measurements", status=status, count=1)
    answer = get(quirks, SERIES)
    assert (answer.status_code, answer.text) == (status, body)
    assert get(quirks, SERIES).status_code == 200


@pytest.mark.parametrize("reset", [None, 7, -1])
def test_an_injected_429_tells_any_reset_or_none(quirks: Running, reset: int | None) -> None:
    quirks.faults.inject("status", status=429, reset=reset)
    told = get(quirks, SERIES).headers.get("x-ratelimit-reset")
    assert told == (None if reset is None else str(reset))


def test_a_hanging_request_gets_no_answer_and_clearing_lets_it_go(quirks: Running) -> None:
    quirks.faults.inject("hang", count=1)
    with pytest.raises(requests.ReadTimeout):
        requests.get(quirks.base_url + SERIES, headers=KEY, timeout=0.3)
    assert quirks.requests.entries()[0].status is None
    assert get(quirks, SERIES).status_code == 200


def test_a_dripping_answer_comes_whole_but_slowly(quirks: Running) -> None:
    quirks.faults.inject("drip", seconds=0.001)
    begun = time.monotonic()
    answer = get(quirks, "/nosuch")
    assert answer.json() == {"detail": "Not Found"}
    assert time.monotonic() - begun > 0.02


def test_a_truncated_body_is_shorter_than_announced(quirks: Running) -> None:
    quirks.faults.inject("truncate")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        get(quirks, SERIES, **COMPLETE)


def test_a_reset_connection_gives_no_answer_at_all(quirks: Running) -> None:
    quirks.faults.inject("reset", count=1)
    with pytest.raises(requests.ConnectionError, match="reset"):
        get(quirks, SERIES)
    assert get(quirks, SERIES).status_code == 200


def test_a_captive_portal_answers_200_with_html(quirks: Running) -> None:
    quirks.faults.inject("html200")
    answer = get(quirks, SERIES)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize("kind", ["bad_json", "deep"])
def test_bad_bodies_are_complete_in_http_but_no_json(quirks: Running, kind: str) -> None:
    control(quirks, "POST", "faults", kind=kind)
    answer = get(quirks, SERIES, **COMPLETE)
    assert int(answer.headers["content-length"]) == len(answer.content)
    with pytest.raises((ValueError, RecursionError)):
        answer.json()


def test_a_value_may_be_no_number(quirks: Running) -> None:
    quirks.faults.inject("nan")
    assert b'"value":NaN' in get(quirks, SERIES, **COMPLETE).content


def test_a_huge_body_has_the_size_asked_for(quirks: Running) -> None:
    quirks.faults.inject("huge", size_bytes=3_000_000)
    assert 3_000_000 < len(get(quirks, SERIES).content) < 3_000_200


def test_a_gzip_bomb_is_small_until_unpacked(quirks: Running) -> None:
    quirks.faults.inject("gzip_bomb", size_bytes=5_000_000)
    with requests.get(quirks.base_url + SERIES, headers=KEY, timeout=10, stream=True) as answer:
        packed = answer.raw.read(decode_content=False)
    assert len(packed) < 10_000
    assert len(gzip.decompress(packed)) == 5_000_000


def test_a_redirect_leads_where_it_is_told(quirks: Running) -> None:
    quirks.faults.inject("redirect", url="http://127.0.0.1:9/elsewhere")
    answer = requests.get(quirks.base_url + SERIES, headers=KEY, timeout=10, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:9/elsewhere")


def test_a_delayed_answer_is_right_but_late(quirks: Running) -> None:
    quirks.faults.inject("delay", seconds=0.2)
    begun = time.monotonic()
    assert get(quirks, SERIES).status_code == 200
    assert time.monotonic() - begun >= 0.2


def test_a_fault_with_an_unknown_field_or_a_bad_pattern_is_refused(quirks: Running) -> None:
    assert control(quirks, "POST", "faults", kind="delay", wait=1).status_code == 422
    assert control(quirks, "POST", "faults", kind="delay", match="(").status_code == 422
    assert control(quirks, "GET", "faults").json() == {"faults": []}
