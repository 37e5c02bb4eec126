"""The simulator answers every recorded request as OpenAQ's own server did."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.server import Running, running
from tests.simulator.recorded_world import RECORDINGS, RecordedWorld, Recording, read_recordings

ALL = read_recordings()

LEFT_OUT = {"root": "the official server's start page is a document of its own, no part of the API"}

SHAPE_ONLY = {
    "days": (
        {"value", "summary", "period", "coverage"},
        "means of hours that no recording shows; upstream had not rolled up the first day",
    ),
    "years": ({"value", "summary"}, "its value is the mean of 1,440 hours that no recording shows"),
    "measurements_daily": ({"value", "summary"}, "its values are means of hours that no recording shows"),
    "hours_monthly": (
        {"value", "summary", "period", "coverage"},
        "means of hours that no recording shows; upstream's February is two months long, not imitated here",
    ),
}
"""Fields of which only keys and types are compared, with the reason; the rest of the body must be equal."""

UNORDERED = {"sensors", "parameters"}
"""Lists inside objects that OpenAQ leaves unordered: compared as sets by id, as is a page of `latest`."""

OPTIONS = Options(
    requests_per_minute=60,
    limits_by_key={"test-key-big": 1_000_000, "test-key-5": 5, "test-key-60": 60},
    keys=frozenset({"test-key-big", "test-key-5", "test-key-60"}),
    nulls_crash=True,
)


@pytest.fixture(scope="module")
def official() -> Iterator[Running]:
    if not ALL:
        pytest.skip(f"the recorded replies are not here ({RECORDINGS.parent.name}/{RECORDINGS.name})")
    clock = Clock(ALL[0].at, speed=0)
    with running(RecordedWorld(ALL), options=OPTIONS, clock=clock) as simulator:
        yield simulator


def ask(simulator: Running, recording: Recording) -> requests.Response:
    """Ask at the recorded time; the n-th of the rate-limit series after its n - 1 forerunners, in a minute of its own.

    So any order of the tests will do, on any number of workers.
    """
    simulator.clock.set(recording.at)
    if series := re.fullmatch(r"ratelimit_(\d+)", recording.name):
        simulator.clock.advance(60 * int(series[1]))
        for _ in range(int(series[1]) - 1):
            send(simulator, recording)
    return send(simulator, recording)


def send(simulator: Running, recording: Recording) -> requests.Response:
    headers = {"X-API-Key": recording.key} if recording.key else {}
    return requests.get(simulator.root_url + recording.path, headers=headers, timeout=10, allow_redirects=False)


def body_of(response: requests.Response) -> Any:
    return response.json() if "json" in response.headers["content-type"] else response.text


def in_order(told: Any) -> Any:
    """Sort what OpenAQ leaves unordered."""
    if isinstance(told, list):
        items = [in_order(item) for item in told]
        of_latest = bool(items) and isinstance(items[0], dict) and "sensorsId" in items[0]
        return sorted(items, key=lambda item: item["sensorsId"]) if of_latest else items
    if not isinstance(told, dict):
        return told
    return {
        name: sorted(value, key=lambda item: item["id"]) if name in UNORDERED and value else in_order(value)
        for name, value in told.items()
    }


def shape(told: Any) -> Any:
    """Put the type in each value's place; all numbers are alike, because JSON does not tell them apart."""
    if isinstance(told, dict):
        return {name: shape(value) for name, value in told.items()}
    if isinstance(told, list):
        return [shape(item) for item in told]
    return "number" if type(told) in {int, float} else type(told).__name__


def masked(body: Any, unknown: set[str]) -> Any:
    """Put its shape in the place of each unknown field of the rows."""
    if not unknown:
        return body
    rows = [
        {name: shape(value) if name in unknown else value for name, value in row.items()} for row in body["results"]
    ]
    return {**body, "results": rows}


def assert_equal(told: Any, recorded: Any, where: str = "") -> None:
    """Compare values of all kinds; floats to 12 digits, because projected coordinates went there and back."""
    if isinstance(recorded, dict):
        assert list(told) == list(recorded), where
        for name, value in recorded.items():
            assert_equal(told[name], value, f"{where}.{name}")
    elif isinstance(recorded, list):
        assert len(told) == len(recorded), where
        for index, value in enumerate(recorded):
            assert_equal(told[index], value, f"{where}[{index}]")
    elif isinstance(recorded, float):
        assert type(told) is float, where
        assert math.isclose(told, recorded, rel_tol=1e-12), where
    else:
        assert (type(told), told) == (type(recorded), recorded), where


@pytest.mark.skipif(not ALL, reason="../shared/data/official_server_replies is absent: nothing to compare with")
@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_answers_like_the_official_server(official: Running, recording: Recording) -> None:
    if recording.name in LEFT_OUT:
        pytest.skip(LEFT_OUT[recording.name])
    response = ask(official, recording)
    told = body_of(response)
    assert response.status_code == recording.status
    for name in ("content-type", "cache-control", "vary"):
        assert response.headers.get(name) == recording.headers.get(name), name
    assert_rate_headers(response, recording)
    unknown = SHAPE_ONLY[recording.name][0] if recording.name in SHAPE_ONLY else set()
    assert_equal(masked(in_order(told), unknown), masked(in_order(recording.body), unknown))


def assert_rate_headers(response: requests.Response, recording: Recording) -> None:
    names = {name for name in recording.headers if name.startswith("x-ratelimit-")}
    assert {name.lower() for name in response.headers if name.lower().startswith("x-ratelimit-")} == names
    if recording.name.startswith("ratelimit_"):
        assert {name: response.headers[name] for name in names} == {name: recording.headers[name] for name in names}


def test_every_exception_from_exact_comparison_names_a_recording() -> None:
    if not ALL:
        pytest.skip("../shared/data/official_server_replies is absent")
    assert {*SHAPE_ONLY, *LEFT_OUT} <= {recording.name for recording in ALL}
