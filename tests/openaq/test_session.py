"""Asking over real HTTP: what leaves, what comes back, what is tried again, and that the key stays here."""

from __future__ import annotations

import gc
import gzip
import itertools
import logging
import socket
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from openaq_pipeline.errors import (
    FatalError,
    ItemMissing,
    PipelineError,
    RetriableError,
    ServerFault,
    Stopped,
    Unreachable,
    WindowTooLarge,
)
from openaq_pipeline.openaq.budget import Budget
from openaq_pipeline.openaq.session import (
    ATTEMPTS,
    FALTERING_AFTER,
    MAX_BACKOFF_SECONDS,
    MAX_BODY_BYTES,
    OUTAGE_AFTER,
    Client,
    require_key,
)
from openaq_pipeline.simulator.mischief import bomb
from openaq_pipeline.simulator.worlds import named

if TYPE_CHECKING:
    from tests.conftest import Simulate
    from tests.openaq.conftest import Answer, Answering, Ask, FakeTime, Serve

GOOD = b'{"results":[]}'


def raw(content: bytes) -> Answer:
    """Send these bytes and close."""

    def send(connection: socket.socket, _request: bytes) -> bool:
        connection.sendall(content)
        return False

    return send


def reset(connection: socket.socket, _request: bytes) -> bool:
    """Close with a linger of zero seconds: the kernel sends RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    return False


def closed_url() -> str:
    """Return a base URL at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v3"


# What leaves ---------------------------------------------------------------------------------------------------


def test_the_key_goes_in_its_header_and_nowhere_else(serve: Serve, good: Answer, client_for: Ask, key: str) -> None:
    server = serve(good)
    assert client_for(server.base_url).get("/x", {"limit": 5}) == GOOD
    (request,) = server.requests
    assert request.startswith(b"GET /v3/x?limit=5 HTTP/1.1\r\n")
    assert f"\r\nX-API-Key: {key}\r\n".encode() in request
    assert request.count(key.encode()) == 1


def test_many_requests_share_one_connection(serve: Serve, good: Answer, client_for: Ask) -> None:
    server = serve(good)
    client = client_for(server.base_url)
    for _ in range(5):
        client.get("/x")
    assert (len(server.requests), server.connections) == (5, 1)


def test_an_error_does_not_cost_the_connection(
    serve: Serve, good: Answer, answering: Answering, client_for: Ask
) -> None:
    server = serve(answering(404, b'{"detail":"Not Found"}'), good)
    client = client_for(server.base_url)
    with pytest.raises(ItemMissing):
        client.get("/x")
    client.get("/y")
    assert server.connections == 1


def test_each_thread_has_a_session_of_its_own(serve: Serve, good: Answer, client_for: Ask) -> None:
    server = serve(good)
    client = client_for(server.base_url)
    ready = threading.Barrier(3)

    def ask() -> None:
        client.get("/x")
        ready.wait(5)  # keeps the thread and its session alive until all have one
        client.get("/y")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(server.requests), server.connections) == (6, 3)


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_names_and_ipv6_addresses_are_reached(serve: Serve, good: Answer, client_for: Ask, host: str) -> None:
    try:
        server = serve(good, host=host)
    except OSError as error:
        pytest.skip(f"this machine has no {host}: {error}")
    assert client_for(server.base_url).get("/x") == GOOD


def test_a_stop_comes_before_a_request_leaves_and_before_it_is_counted(
    serve: Serve, good: Answer, client_for: Ask, budget: Budget
) -> None:
    def stop() -> None:
        raise Stopped("stop")

    server = serve(good)
    client = client_for(server.base_url, checkpoint=stop)
    with pytest.raises(Stopped):
        client.get("/x")
    assert (server.requests, client.requests_sent, budget.use().minute) == ([], 0, 0)


def test_a_stop_during_the_wait_for_the_budget_keeps_the_request_here(
    serve: Serve, good: Answer, client_for: Ask
) -> None:
    calls = itertools.count()

    def stop_at_the_second_look() -> None:
        if next(calls):
            raise Stopped("stop")

    server = serve(good)
    with pytest.raises(Stopped):
        client_for(server.base_url, checkpoint=stop_at_the_second_look).get("/x")
    assert server.requests == []


# What comes back -----------------------------------------------------------------------------------------------


def test_a_compressed_answer_is_unpacked(serve: Serve, answering: Answering, client_for: Ask) -> None:
    body = b'{"results":[' + b" " * 5000 + b"]}"
    server = serve(answering(200, gzip.compress(body), Content_Encoding="gzip"))
    assert client_for(server.base_url).get("/x") == body
    assert b"gzip" in server.requests[0]


def test_the_client_tells_how_many_requests_left_and_how_slow_the_slowest_answer_was(
    serve: Serve, good: Answer, client_for: Ask
) -> None:
    def slow(connection: socket.socket, request: bytes) -> bool:
        time.sleep(0.2)
        return good(connection, request)

    server = serve(good, slow, good)
    client = client_for(server.base_url)
    assert client.slowest_seconds is None
    for _ in range(3):
        client.get("/x")
    assert client.requests_sent == 3
    assert client.slowest_seconds is not None
    assert 0.2 <= client.slowest_seconds < 2


def test_without_an_answer_there_is_no_slowest_one(client_for: Ask) -> None:
    client = client_for(closed_url())
    with pytest.raises(Unreachable):
        client.get("/x")
    assert client.slowest_seconds is None


# What is tried again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, FatalError),
        (403, FatalError),
        (410, FatalError),
        (404, ItemMissing),
        (422, ItemMissing),
        (400, ItemMissing),
        (408, WindowTooLarge),
    ],
)
def test_what_another_try_cannot_mend_is_asked_once(
    serve: Serve, answering: Answering, client_for: Ask, status: int, kind: type[PipelineError]
) -> None:
    server = serve(answering(status, b'{"detail":"because"}'))
    with pytest.raises(kind, match="because"):
        client_for(server.base_url).get("/x")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, ServerFault),
        (429, RetriableError),
        (502, RetriableError),
        (503, RetriableError),
        (504, RetriableError),
        (407, RetriableError),
        (204, RetriableError),
        (302, RetriableError),
    ],
)
def test_what_may_pass_is_asked_again_and_then_told(
    serve: Serve, answering: Answering, client_for: Ask, budget: Budget, status: int, kind: type[PipelineError]
) -> None:
    server = serve(answering(status, b"" if status == 204 else b"Internal Server Error"))
    client = client_for(server.base_url)
    with pytest.raises(kind) as caught:
        client.get("/x")
    assert type(caught.value) is kind
    assert len(server.requests) == client.requests_sent == ATTEMPTS
    assert client.requests_by_status == {str(status): ATTEMPTS}
    assert budget.use().hour == ATTEMPTS  # the server counts failures, and so does the ledger


def test_a_passing_fault_is_got_over(serve: Serve, good: Answer, answering: Answering, client_for: Ask) -> None:
    server = serve(answering(500, b"Internal Server Error"), reset, good)
    assert client_for(server.base_url).get("/x") == GOOD
    assert len(server.requests) == 3


def test_fewer_attempts_are_for_a_500_alone(serve: Serve, good: Answer, answering: Answering, client_for: Ask) -> None:
    fault = answering(500, b"Internal Server Error")
    server = serve(fault)
    with pytest.raises(ServerFault):
        client_for(server.base_url).get("/x", attempts=1)
    assert len(server.requests) == 1
    shaky = serve(reset, answering(503, b""), good)
    assert client_for(shaky.base_url).get("/x", attempts=1) == GOOD


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.5), (1.0, 1.0)])
def test_the_back_off_doubles_between_half_and_all_of_its_span(
    serve: Serve, answering: Answering, client_for: Ask, fake_time: FakeTime, jitter: float, share: float
) -> None:
    server = serve(answering(503, b""))
    with pytest.raises(RetriableError):
        client_for(server.base_url, jitter=jitter).get("/x")
    assert fake_time.slept == [2 * share, 4 * share, 8 * share]
    assert max(fake_time.slept) <= MAX_BACKOFF_SECONDS


@pytest.mark.parametrize(("headers", "least"), [({"x_ratelimit_reset": "40"}, 40), ({}, 60)])
def test_a_429_is_not_asked_again_before_its_reset(
    serve: Serve,
    good: Answer,
    answering: Answering,
    client_for: Ask,
    fake_time: FakeTime,
    headers: dict[str, str],
    least: float,
) -> None:
    refused = answering(429, b'{"detail":"Too many requests"}', **headers)
    server = serve(refused, refused, good)
    assert client_for(server.base_url).get("/x") == GOOD
    assert fake_time.slept == [least, least]


def test_a_429_that_stays_tells_how_long_to_wait(serve: Serve, answering: Answering, client_for: Ask) -> None:
    server = serve(answering(429, b"{}", x_ratelimit_reset="7"))
    with pytest.raises(RetriableError) as caught:
        client_for(server.base_url).get("/x")
    assert caught.value.retry_after_seconds == 7


def test_an_answer_that_says_nothing_remains_holds_back_the_next_question(
    serve: Serve, good: Answer, answering: Answering, client_for: Ask, fake_time: FakeTime
) -> None:
    server = serve(answering(200, GOOD, x_ratelimit_remaining="0", x_ratelimit_reset="25"), good)
    client = client_for(server.base_url)
    client.get("/x")
    assert fake_time.slept == []
    client.get("/x")
    assert fake_time.slept == [25]


# An outage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_while_every_answer_is_bad_each_question_is_tried_once_until_one_is_answered(
    serve: Serve, client_for: Ask, answering: Answering, status: int
) -> None:
    bad = answering(status)
    first = FALTERING_AFTER * ATTEMPTS
    server = serve(*[bad] * (first + 5), answering(200, GOOD), bad)
    client = client_for(server.base_url)
    for asked in [*range(ATTEMPTS, first + 1, ATTEMPTS), *range(first + 1, first + 6)]:
        with pytest.raises(RetriableError):
            client.get("/x")
        assert len(server.requests) == asked
    assert client.get("/x") == GOOD
    with pytest.raises(RetriableError):
        client.get("/x")
    assert len(server.requests) == first + 6 + ATTEMPTS, "patient again"


def test_a_series_that_ends_in_500_makes_nobody_impatient(serve: Serve, client_for: Ask, answering: Answering) -> None:
    server = serve(*[answering(500)] * 10, answering(503))
    client = client_for(server.base_url)
    for _ in range(10):
        with pytest.raises(ServerFault):
            client.get("/x", attempts=1)
    with pytest.raises(RetriableError):
        client.get("/x")
    assert len(server.requests) == 10 + ATTEMPTS


def test_after_three_questions_without_any_answer_the_rest_is_refused_at_once(client_for: Ask) -> None:
    client = client_for(closed_url())
    for _ in range(OUTAGE_AFTER):
        with pytest.raises(Unreachable, match="refused"):
            client.get("/x")
    assert client.requests_sent == OUTAGE_AFTER * ATTEMPTS
    with pytest.raises(Unreachable, match="given up for this run"):
        client.get("/x")
    assert client.requests_sent == OUTAGE_AFTER * ATTEMPTS
    assert client.requests_by_status == {"none": client.requests_sent}


def test_a_status_that_http_does_not_know_is_counted_with_all_others_of_its_kind(
    serve: Serve, answering: Answering, good: Answer, client_for: Ask
) -> None:
    client = client_for(serve(answering(599), answering(799), answering(988), good).base_url)
    client.get("/x")
    assert client.requests_by_status == {"200": 1, "other": 3}


def test_any_answer_shows_that_the_server_is_there(serve: Serve, answering: Answering, client_for: Ask) -> None:
    lost = [reset] * (3 * ATTEMPTS)  # broken answers of one question say nothing of the others
    missing = answering(404, b"{}")
    server = serve(*lost, missing, *lost, missing)
    client = client_for(server.base_url)
    for kind in (RetriableError, RetriableError, RetriableError, ItemMissing) * 2:
        with pytest.raises(kind):
            client.get("/x")


def peak_of_a_refusal(client: Client) -> int:
    """Return the most bytes held while an answer is refused for its size."""
    tracemalloc.start()
    try:
        with pytest.raises(RetriableError, match="larger than"):
            client.get("/x")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# What is no answer ---------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"

BROKEN = {
    "nothing at all": raw(b""),
    "a reset": reset,
    "half a first line": raw(b"HTTP/1.1 2"),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a short body": raw(HEAD + b"Content-Length: 100\r\n\r\n" + GOOD),
    "a cut chunk": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n20\r\n" + GOOD),
    "a missing last chunk": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\ne\r\n" + GOOD + b"\r\n"),
    "a senseless chunk size": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD),
    "what is not gzip": raw(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 14\r\n\r\n" + GOOD),
    "two lengths": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + GOOD),
    "a thousand headers": raw(HEAD + b"".join(b"X-%d: 1\r\n" % n for n in range(1000)) + b"\r\n"),
    "an endless header": raw(HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=list(BROKEN))
def test_a_broken_transfer_is_no_answer_and_is_tried_again(serve: Serve, client_for: Ask, answer: Answer) -> None:
    server = serve(answer)
    with pytest.raises(RetriableError, match="No whole answer from 127"):
        client_for(server.base_url).get("/x")
    assert len(server.requests) == ATTEMPTS


NO_JSON = {
    "a page of HTML": (b"<html>Please log in</html>", "text/html"),
    "HTML that claims to be JSON": (b"<html>Please log in</html>", "application/json"),
    "nothing": (b"", "application/json"),
    "text": (b"ok", "text/plain"),
    "a list": (b"[]", "application/json"),
    "a cut object": (b'{"results":[{"value":', "application/json"),
    "JSON of another kind": (GOOD, "text/html"),
}


@pytest.mark.parametrize(("body", "kind"), NO_JSON.values(), ids=list(NO_JSON))
def test_a_200_that_is_no_whole_json_object_is_tried_again(
    serve: Serve, answering: Answering, client_for: Ask, body: bytes, kind: str
) -> None:
    server = serve(answering(200, body, Content_Type=kind))
    with pytest.raises(RetriableError, match="not JSON"):
        client_for(server.base_url).get("/x")
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize("part", [HEAD + b'\r\n{"results":[{"value":1.0,', HEAD + b"\r\n", HEAD[:20], HEAD[:15]])
def test_an_answer_cut_off_without_a_length_is_tried_again(
    serve: Serve, good: Answer, client_for: Ask, part: bytes
) -> None:
    server = serve(raw(part), good)
    assert client_for(server.base_url).get("/x") == GOOD


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_body_over_the_cap_is_dropped_before_it_fills_the_memory(
    serve: Serve, answering: Answering, client_for: Ask, encoding: str
) -> None:
    size = 8 * MAX_BODY_BYTES
    if encoding == "gzip":
        answer = answering(200, bomb(size), Content_Encoding="gzip")
    else:

        def answer(connection: socket.socket, _request: bytes) -> bool:
            connection.sendall(HEAD + b"\r\n")
            for _ in range(size // 1_000_000):
                connection.sendall(b" " * 1_000_000)
            return False

    server = serve(answer)
    assert peak_of_a_refusal(client_for(server.base_url)) < 3 * MAX_BODY_BYTES


# Redirects -----------------------------------------------------------------------------------------------------


def test_a_redirect_is_not_followed_and_the_key_does_not_reach_the_other_host(
    serve: Serve, good: Answer, answering: Answering, client_for: Ask
) -> None:
    other = serve(good)
    server = serve(answering(302, b"", Location=other.base_url + "/x"))
    with pytest.raises(RetriableError, match="redirect") as caught:
        client_for(server.base_url).get("/x")
    assert "proxy" in caught.value.hint
    assert (other.requests, other.connections) == ([], 0)
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize("place", ["http://[broken", "//", "http://\xff", "ftp://x/", "/x" * 3000])
def test_a_redirect_to_nowhere_is_an_error_like_any_other(serve: Serve, client_for: Ask, place: str) -> None:
    head = f"HTTP/1.1 301 Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
    server = serve(raw(head.encode("latin-1")))
    with pytest.raises(RetriableError, match="redirect"):
        client_for(server.base_url).get("/x")


def test_the_body_of_a_redirect_is_capped_too(serve: Serve, answering: Answering, client_for: Ask) -> None:
    packed = bomb(4 * MAX_BODY_BYTES)
    server = serve(answering(302, packed, Location="/elsewhere", Content_Encoding="gzip"))
    assert peak_of_a_refusal(client_for(server.base_url)) < 3 * MAX_BODY_BYTES


# The key -------------------------------------------------------------------------------------------------------


def echo(status: int) -> Answer:
    """Answer with what was asked, headers and all, as debugging proxies do."""

    def send(connection: socket.socket, request: bytes) -> bool:
        head = f"HTTP/1.1 {status} Said\r\nContent-Type: text/plain\r\nContent-Length: {len(request)}\r\n\r\n"
        connection.sendall(head.encode() + request)
        return True

    return send


@pytest.mark.parametrize(
    "answer",
    [*(echo(status) for status in (200, 401, 403, 404, 408, 422, 429, 500, 503)), reset, BROKEN["a short body"]],
)
def test_the_key_is_in_no_error_and_in_no_log(
    serve: Serve, client_for: Ask, caplog: pytest.LogCaptureFixture, key: str, answer: Answer
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(answer)
    with pytest.raises(PipelineError) as caught:
        client_for(server.base_url).get("/x", {"limit": 1})
    error = caught.value
    told = [str(error), repr(error), error.hint, error.advice, *traceback.format_exception(error), caplog.text]
    assert key in server.requests[0].decode()  # it was there to be leaked
    assert not [text for text in told if key in text]


def test_an_unreachable_server_is_told_without_the_question(client_for: Ask) -> None:
    with pytest.raises(Unreachable) as caught:
        client_for(closed_url()).get("/sensors/5/measurements", {"datetime_from": "2026"})
    assert str(caught.value) == "No whole answer from 127.0.0.1: Connection refused"
    assert "network" in caught.value.hint


def test_a_name_that_nobody_knows_is_told_as_such(client_for: Ask) -> None:
    with pytest.raises(Unreachable, match=r"No whole answer from absent\.invalid: .+"):
        client_for("http://absent.invalid/v3").get("/x")


@pytest.mark.parametrize("given_key", ["abc", " abc", "abc\n", "a b~c"])
def test_a_key_comes_without_the_blanks_around_it(given_key: str) -> None:
    assert require_key(given_key) == given_key.strip()


@pytest.mark.parametrize("given_key", [None, "", "  ", "a\nb", "clé", "a\x00b", "a\tb"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(given_key: str | None) -> None:
    with pytest.raises(FatalError) as caught:
        require_key(given_key)
    assert caught.value.hint
    assert not (given_key or "").strip() or str(given_key) not in caught.value.advice


def open_files() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_sessions_of_ended_threads_and_dropped_clients_leave_no_connection_open(
    serve: Serve, good: Answer, client_for: Ask
) -> None:
    server = serve(good)
    client = client_for(server.base_url)
    client.get("/x")
    before = open_files()
    for _ in range(5):
        thread = threading.Thread(target=client.get, args=("/x",))
        thread.start()
        thread.join()
        client_for(server.base_url).get("/x")
    deadline = time.monotonic() + 5
    while open_files() > before and time.monotonic() < deadline:
        time.sleep(0.01)  # the server's ends are in this process too, and close a little later
    assert server.connections == 11
    assert open_files() <= before


# With the simulator --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "html200"}, RetriableError),
        ({"kind": "truncate"}, RetriableError),
        ({"kind": "reset"}, RetriableError),
        ({"kind": "huge"}, RetriableError),
        ({"kind": "status", "status": 403}, FatalError),
        ({"kind": "status", "status": 408}, WindowTooLarge),
    ],
)
def test_the_simulators_faults_mean_what_they_mean_of_openaq(
    simulate: Simulate, client_for: Ask, fault: dict[str, object], kind: type[PipelineError]
) -> None:
    simulator = simulate(named.quirks())
    simulator.faults.inject(match="", **fault)  # type: ignore[arg-type]
    client = client_for(simulator.base_url)
    with pytest.raises(kind):
        client.get("/locations/101")
    simulator.faults.clear()
    assert b'"Plain"' in client.get("/locations/101")


def test_a_shared_client_answers_many_threads(simulate: Simulate, client_for: Callable[..., Client]) -> None:
    simulator = simulate(named.quirks())
    client = client_for(simulator.base_url)
    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(client.get("/locations/101"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bodies) == client.requests_sent == 8
    assert len(set(bodies)) == 1
