"""Every answer ends by its deadline, however slowly it drips, and the next one has the whole of its own again."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from openaq_pipeline import lookup
from openaq_pipeline.errors import RetriableError, Unreachable
from openaq_pipeline.openaq import deadline
from openaq_pipeline.openaq.session import ATTEMPTS

if TYPE_CHECKING:
    from tests.openaq.conftest import Answer, Ask, RawServer, Serve

SILENCE_SECONDS = 0.1
TOTAL_SECONDS = 2 * SILENCE_SECONDS
PAUSE_SECONDS = 0.07
SLACK_SECONDS = 3.0
"""A busy machine may take it; without a deadline it would be 4 s and more for each attempt."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
GOOD = b'{"results":[]}'


def drip(connection: socket.socket, content: bytes, pause_seconds: float = PAUSE_SECONDS) -> None:
    for index in range(len(content)):
        connection.sendall(content[index : index + 1])
        time.sleep(pause_seconds)


def drips_body(connection: socket.socket, _request: bytes) -> bool:
    connection.sendall(HEAD)
    drip(connection, b" " * 30)
    return False


def drips_chunks(connection: socket.socket, _request: bytes) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    drip(connection, b"5\r\n12345\r\n" * 3)
    return False


def drips_headers(connection: socket.socket, _request: bytes) -> bool:
    drip(connection, HEAD[:30])
    return False


def goes_on_and_on_with_headers(connection: socket.socket, _request: bytes) -> bool:
    for _ in range(20):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(PAUSE_SECONDS)
    return False


def hangs(connection: socket.socket, _request: bytes) -> bool:
    with suppress(TimeoutError):
        connection.settimeout(4)
        connection.recv(1)  # ends when the client hangs up
    return False


def hangs_in_the_body(connection: socket.socket, request: bytes) -> bool:
    connection.sendall(HEAD + b"{")
    return hangs(connection, request)


def seconds_until_cut_off(server: RawServer, total_seconds: float, silence_seconds: float) -> float:
    """Ask once, without a client; return how long it took to give up."""
    began = time.monotonic()
    with deadline.PlainSession() as session:
        session.mount("http://", deadline.DeadlineAdapter())
        deadline.start(total_seconds, silence_seconds)
        with pytest.raises(requests.RequestException):
            session.get(server.base_url, timeout=10)
    return time.monotonic() - began


DRIPS = [drips_body, drips_chunks, drips_headers, goes_on_and_on_with_headers]
HANGS = [hangs, hangs_in_the_body]


@pytest.mark.parametrize("answer", [*DRIPS, *HANGS])
def test_an_answer_is_cut_off_by_the_total_deadline_however_it_comes(serve: Serve, answer: Answer) -> None:
    took = seconds_until_cut_off(serve(answer), total_seconds=0.3, silence_seconds=5)
    assert 0.3 <= took < 3.5, "neither the server, after 4 s, nor the silence, after 5 s, ended it"


@pytest.mark.parametrize("answer", HANGS)
def test_a_silence_is_cut_off_before_the_whole_is_due(serve: Serve, answer: Answer) -> None:
    took = seconds_until_cut_off(serve(answer), total_seconds=5, silence_seconds=0.2)
    assert 0.2 <= took < 3.5


@pytest.mark.parametrize("answer", [drips_body, hangs])
def test_a_late_answer_is_no_answer_and_is_asked_for_again(serve: Serve, client_for: Ask, answer: Answer) -> None:
    server = serve(answer)
    began = time.monotonic()
    with pytest.raises(RetriableError, match="timed out"):
        client_for(server.base_url, timeout_seconds=SILENCE_SECONDS).get("/x")
    assert len(server.requests) == ATTEMPTS
    assert time.monotonic() - began <= ATTEMPTS * TOTAL_SECONDS + SLACK_SECONDS


def test_the_deadline_of_one_request_does_not_leak_into_the_next(serve: Serve, client_for: Ask) -> None:
    silence_seconds, pause_seconds = 0.6, 0.3  # what is in time here has to be so on a busy machine as well

    def slow_but_in_time(connection: socket.socket, _request: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n")
        for start in (0, 7):
            time.sleep(pause_seconds)
            connection.sendall(GOOD[start : start + 7])
        return True

    server = serve(slow_but_in_time, slow_but_in_time, drips_body, slow_but_in_time)
    client = client_for(server.base_url, timeout_seconds=silence_seconds)
    # Together three of them take one and a half times as long as one may.
    assert [client.get("/x") for _ in range(3)] == [GOOD] * 3
    assert len(server.requests) == 4  # the third was cut off and asked again


def test_a_proxy_that_drips_is_cut_off_too(serve: Serve, client_for: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(drips_body)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    began = time.monotonic()
    with pytest.raises(RetriableError):
        client_for("http://openaq.invalid/v3", timeout_seconds=SILENCE_SECONDS).get("/x")
    assert proxy.requests[0].startswith(b"GET http://openaq.invalid/v3/x ")
    assert time.monotonic() - began <= ATTEMPTS * TOTAL_SECONDS + SLACK_SECONDS


def test_a_name_that_nobody_looks_up_is_no_connection_and_cut_off(
    client_for: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: let_go.wait(30))
    began = time.monotonic()
    with pytest.raises(Unreachable, match="timed out"):
        client_for("http://openaq.invalid/v3", timeout_seconds=SILENCE_SECONDS).get("/x")
    assert time.monotonic() - began <= ATTEMPTS * TOTAL_SECONDS + SLACK_SECONDS
    let_go.set()


def test_a_host_of_many_addresses_that_swallow_everything_is_cut_off_as_a_whole(
    client_for: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [_begun(port) for _ in range(4)]  # the queue is full: nobody else is answered, as by a firewall
        monkeypatch.setattr(lookup, "addresses", lambda *_: ["127.0.0.1"] * 7)
        began = time.monotonic()
        with pytest.raises(Unreachable):
            client_for(f"http://many:{port}/v3", timeout_seconds=SILENCE_SECONDS).get("/x")
        assert time.monotonic() - began <= ATTEMPTS * TOTAL_SECONDS + SLACK_SECONDS
        for each in waiting:
            each.close()


def _begun(port: int) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    with suppress(BlockingIOError):
        connection.connect(("127.0.0.1", port))
    return connection


def test_without_a_start_there_is_no_deadline() -> None:
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(deadline.left()))
    thread.start()
    thread.join()
    assert found == [float("inf")]


def test_a_deadline_that_has_passed_is_a_timeout() -> None:
    deadline.start(0.0, 1.0)
    with pytest.raises(TimeoutError):
        deadline.left()


# TLS -----------------------------------------------------------------------------------------------------------


class TlsServer:
    """Answers TLS connections, one after the other, in a thread."""

    def __init__(self, certificate: Path, drips: bool) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._drips = drips
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"https://localhost:{self._listening.getsockname()[1]}/v3"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            with suppress(OSError), plain, self._context.wrap_socket(plain, server_side=True) as connection:
                connection.settimeout(0.5)
                while connection.recv(65536):
                    if self._drips:
                        drips_body(connection, b"")
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" + GOOD)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.crt"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"openssl made no certificate: {error}")
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture(params=[False, True])
def tls_server(request: pytest.FixtureRequest, certificate: Path) -> Iterator[tuple[TlsServer, bool]]:
    server = TlsServer(certificate, request.param)
    yield server, request.param
    server.close()


def test_over_tls_answers_come_in_time_or_are_cut_off(
    tls_server: tuple[TlsServer, bool], certificate: Path, client_for: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, drips = tls_server
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    client = client_for(server.base_url, timeout_seconds=SILENCE_SECONDS)
    began = time.monotonic()
    if drips:
        with pytest.raises(RetriableError, match="timed out"):
            client.get("/x")
        # A server that drips notices late that nobody listens: the next handshake waits for it.
        assert time.monotonic() - began <= ATTEMPTS * 2 * TOTAL_SECONDS + SLACK_SECONDS
    else:
        assert [client.get("/x"), client.get("/y")] == [GOOD, GOOD]


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path, client_for: Ask) -> None:
    server = TlsServer(certificate, drips=False)
    try:
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            client_for(server.base_url).get("/x")
    finally:
        server.close()
