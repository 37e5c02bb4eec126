"""The page under those who mean no good: they get 4xx or are cut off, others are served, and the data come in."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from openaq_pipeline.web import gate
from openaq_pipeline.web.look import Look
from openaq_pipeline.web.server import running
from tests.faults import oracle
from tests.faults.conftest import Tally
from tests.faults.net import LATER, Bench, bench, copied
from tests.faults.test_hostile_names import HOSTILE, renaming

MOST = 20
SOON_SECONDS = 3.0
"""So long may a request to the API take beside an attack, on a machine that is busy with other tests."""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("old")) as made:
        yield made


@contextmanager
def page_of(made: Bench) -> Iterator[str]:
    settings = made.settings(made.folder).model_copy(update={"api": made.settings(made.folder).api})
    with running(settings, Look(settings, clock=made.simulator.clock.now)) as address:
        yield address


class Attackers:
    """Connections that say too little, too slowly."""

    def __init__(self, address: str, count: int) -> None:
        parts = urlsplit(address)
        self._stack = ExitStack()
        self._end = threading.Event()
        self.sockets = [
            self._stack.enter_context(closing(socket.create_connection((parts.hostname or "", parts.port or 0))))
            for _ in range(count)
        ]
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def _drip(self) -> None:
        for letter in f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 10_000}":
            for each in self.sockets:
                try:
                    each.send(letter.encode())
                except OSError:
                    continue
            if self._end.wait(0.05):
                return

    def alive(self) -> int:
        """Return how many connections are still open."""
        return sum(map(_is_open, self.sockets))

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._stack.close()


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.setblocking(True)


def seconds_of(address: str) -> float:
    """Return how long a good request takes."""
    began = time.monotonic()
    assert requests.get(f"{address}/api/v1/status", timeout=30).status_code == 200
    return time.monotonic() - began


def test_who_drips_his_request_is_cut_off_and_meanwhile_others_are_served_and_the_data_come_in(
    old: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    monkeypatch.setattr(gate, "MOST_CONNECTIONS", MOST)
    monkeypatch.setattr(gate, "REQUEST_SECONDS", 3.0)
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0.2)
    with copied(old, tmp_path) as made, page_of(made) as address:
        seconds_of(address)
        attackers = Attackers(address, 3 * MOST)
        try:
            assert seconds_of(address) < SOON_SECONDS, "more connections than are allowed"
            assert attackers.alive() < MOST
            assert made.poll(LATER).complete
            assert seconds_of(address) < SOON_SECONDS
            until = time.monotonic() + 10
            while attackers.alive() and time.monotonic() < until:
                time.sleep(0.05)
            assert attackers.alive() == 0
        finally:
            attackers.close()
        oracle.check(made.folder, restarted=True)
        tally(29, "slowloris: three times as many dripping connections as are allowed", 3 * MOST)


def fill(place: Path, rows: int) -> None:
    """Put so many rows into a location file."""
    row = json.loads(place.read_text())[0]
    large = [row | {"datetime": "1999-01-01T00:00:00Z", "sensors_id": number + 1} for number in range(rows)]
    place.write_text("[\n" + ",\n".join(map(json.dumps, large)) + "\n]\n")


def test_who_does_not_take_his_answer_is_cut_off(
    old: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    monkeypatch.setattr(gate, "TAKE_SECONDS", 1.0)
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0.2)
    with copied(old, tmp_path) as made, page_of(made) as address, ExitStack() as stack:
        location_id = made.settings(made.folder).locations[0]
        fill(made.folder / f"location_{location_id}.json", 30_000)
        parts = urlsplit(address)
        path = f"/api/v1/locations/{location_id}/measurements?format=json"
        assert len(requests.get(address + path, timeout=30).content) > 5_000_000
        asked = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        readers = []
        for _ in range(5):
            reader = stack.enter_context(closing(socket.socket()))
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect((parts.hostname, parts.port))
            reader.sendall(asked.encode())
            readers.append(reader)
        until = time.monotonic() + 20
        while time.monotonic() < until and not all(map(_is_cut, readers)):
            assert seconds_of(address) < SOON_SECONDS
        assert all(map(_is_cut, readers))
        tally(29, "readers that do not take their answer", len(readers))


def _is_cut(connection: socket.socket) -> bool:
    """Say whether the other side has given up on a connection on which there is something to read."""
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0 or _state(connection) != 1


def _state(connection: socket.socket) -> int:
    """Return the state of a TCP connection; 1 is established."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


PATHS = [
    "/../../../../../../etc/passwd",
    "/static/../../../../../../etc/passwd",
    "/static/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static//etc/passwd",
    "/static/../app.py",
    "/static/%00",
    "/static/\\..\\..\\app.py",
    "/locations/location_../../x",
    "/locations/..%2f.state.json",
    "/locations/%2e%2e",
    "/api/v1/locations/../../../.state.json",
    "/api/v1/locations/..%2f..%2f.state.json/measurements",
    "/api/v1/locations/1%00/measurements",
    "/api/v1/locations/1;x=1/measurements",
    "/api/v1/locations/%ef%bc%91/latest",
    "/api/v1/locations/-1/measurements",
    "/api/v1/locations/1e3/measurements",
    "/api/v1/sensors/..%2f1/measurements",
    "//evil.example/%2f..",
    "/%0d%0aSet-Cookie:x=1",
    "/.state.json",
    "/data/.state.json",
]


def test_an_address_that_wants_to_be_a_path_finds_nothing(old: Bench, tmp_path: Path, tally: Tally) -> None:
    with copied(old, tmp_path) as made, page_of(made) as address:
        before = oracle.content(made.folder)
        for path in PATHS:
            with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)) as connection:
                connection.putrequest("GET", path)
                connection.endheaders()
                answer = connection.getresponse()
                body = answer.read()
                assert 400 <= answer.status < 500, path
                assert b"root:" not in body
                assert b"watermark" not in body
                assert b"FastAPI" not in body
                assert answer.getheader("Set-Cookie") is None
        assert oracle.content(made.folder) == before
        tally(29, "addresses that want to be paths", len(PATHS))


# --- markup ---


class Markup(HTMLParser):
    """What of a page a browser would run or follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script" and not (given.get("src") or "").startswith("/static/") and given.get("type") not in DATA:
            self.wrong.append(f"a script of its own: {attrs}")
        if tag in {"iframe", "object", "embed", "base", "meta"} and not given.keys() <= {"charset", "name", "content"}:
            self.wrong.append(f"{tag}: {attrs}")
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.wrong.append(f"{tag} {name}={value}")
            if name in {"href", "src", "action", "formaction", "xlink:href"} and not ADDRESS.match(value or ""):
                self.wrong.append(f"{tag} {name}={value}")


DATA = {"application/json"}
ADDRESS = re.compile(r"^(/(?!/)|#|\?|https?://|data:image/|mailto:)")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_text_on_every_page_and_in_every_answer(
    old: Bench, tmp_path: Path, name: str, tally: Tally
) -> None:
    with copied(old, tmp_path) as made:
        (made.folder / "locations.json").unlink()
        made.server.arm(renaming(name), "/locations|/measurements")
        assert made.poll(LATER).complete
        ids = made.settings(made.folder).locations
        with page_of(made) as address:
            searched = "/?q=%3Cscript%3Ealert(1)%3C/script%3E"
            pages = ["/", "/runs", "/alerts", "/map", "/api", searched, f"/locations/{ids[0]}"]
            for path in pages:
                answer = requests.get(address + path, timeout=10)
                assert answer.status_code in {200, 404}, (path, answer.text)
                assert not Markup(answer.text).wrong, path
                assert "<script>alert" not in answer.text
            found = requests.get(f"{address}/api/v1/locations/{ids[0]}", timeout=10)
            assert found.json()["name"] == name
            assert found.headers["Content-Type"] == "application/json"
            rows = requests.get(f"{address}/api/v1/locations/{ids[0]}/measurements?format=csv", timeout=10)
            assert rows.status_code == 200
            assert name not in rows.headers["Content-Disposition"]
        tally(29, "hostile names on pages and in the API", len(pages) + 2)


def test_a_name_that_leads_here_from_elsewhere_is_refused(old: Bench, tmp_path: Path, tally: Tally) -> None:
    hosts = ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "169.254.169.254"]
    with copied(old, tmp_path) as made, page_of(made) as address:
        for host in hosts:
            for path in ("/", "/api/v1/locations", "/metrics", "/static/style.css", "/readyz"):
                answer = requests.get(address + path, headers={"Host": host}, timeout=10)
                assert answer.status_code == 400
                assert "Bench" not in answer.text
        tally(29, "names of others in the Host header (DNS rebinding)", len(hosts))
