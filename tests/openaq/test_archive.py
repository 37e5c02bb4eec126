"""The archive as it is reached: a real S3 server, servers that misbehave, a folder that holds a copy."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

import pytest

from openaq_pipeline.columns import to_rows
from openaq_pipeline.errors import ConfigError, PipelineError, RetriableError, Unreachable
from openaq_pipeline.model import Measurement, Window
from openaq_pipeline.openaq.archive import ATTEMPTS, MAX_PACKED_BYTES, PARALLEL, Archive, Patience
from openaq_pipeline.openaq.archive_files import ArchiveFile
from openaq_pipeline.settings import ArchiveSettings
from tests.archive_bucket import Bucket, s3_server
from tests.archive_files import archive_path, write_archive
from tests.measurements import measurement

if TYPE_CHECKING:
    from tests.openaq.conftest import Answer, Serve

NOW = datetime(2026, 11, 25, tzinfo=UTC)
HOUR = timedelta(hours=1)
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
ALWAYS = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC))
HURRY = Patience(connect=0.5, silence=1.0, listing=1.0, first_file=1.0, each_file=0.0)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


class Copy:
    """A folder that holds a copy of the archive."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir()

    @property
    def settings(self) -> ArchiveSettings:
        return ArchiveSettings(location=str(self._root))

    def put(self, path: str, content: bytes) -> None:
        (self._root / path).parent.mkdir(parents=True, exist_ok=True)
        (self._root / path).write_bytes(content)

    def remove(self, path: str) -> None:
        (self._root / path).unlink()


class Place(Protocol):
    """Where an archive can be."""

    @property
    def settings(self) -> ArchiveSettings: ...
    def put(self, path: str, content: bytes) -> None: ...
    def remove(self, path: str) -> None: ...


@pytest.fixture
def bucket(endpoint: str, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    """A bucket of this test's own."""
    made = Bucket(endpoint, f"bucket-{abs(hash(request.node.nodeid))}")
    yield made
    made.close()


@pytest.fixture(params=["bucket", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An archive with nothing in it, of either kind."""
    found: Place = request.getfixturevalue("bucket") if request.param == "bucket" else Copy(tmp_path / "copy")
    return found


Open = Callable[..., Archive]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    def make(settings: ArchiveSettings, patience: Patience | None = None) -> Archive:
        return Archive(settings, folder_for_temporary=tmp_path, patience=patience)

    return make


def fill(place: Place, folder: Path, rows: list[Measurement]) -> list[str]:
    """Put the files of these rows; return their paths."""
    paths = [path.relative_to(folder).as_posix() for path in write_archive(folder, rows)]
    for path in paths:
        place.put(path, (folder / path).read_bytes())
    return paths


def hours(count: int, start: datetime = NEW_YEAR, location_id: int = 7) -> list[Measurement]:
    return [
        measurement(float(number), start + number * HOUR, first_seen=NOW, location_id=location_id)
        for number in range(1, count + 1)
    ]


def some_files(count: int, size_bytes: int = 10) -> list[ArchiveFile]:
    days = [date(2024, 1, 1) + timedelta(days=number) for number in range(count)]
    return [ArchiveFile(day, archive_path(7, day), size_bytes, NOW) for day in days]


# Both kinds ----------------------------------------------------------------------------------------------------


def test_what_was_put_in_is_read_again(place: Place, opened: Open, tmp_path: Path) -> None:
    fill(place, tmp_path / "made", hours(24 * 40))
    fill(place, tmp_path / "made", hours(24, location_id=70))
    archive = opened(place.settings)
    files = archive.files(7, ALWAYS)
    found = archive.read(7, files, NOW)
    assert [file.day for file in files] == [date(2024, 1, 1) + timedelta(days=number) for number in range(40)]
    assert [(row.datetime, row.value) for row in to_rows(7, found.table)] == [
        (row.datetime, row.value) for row in hours(24 * 40)
    ]
    assert (found.rejects, found.problems) == ([], [])


def test_only_files_that_may_hold_stamps_of_the_window_are_listed(place: Place, opened: Open, tmp_path: Path) -> None:
    fill(place, tmp_path / "made", hours(24 * 400, NEW_YEAR - timedelta(days=300)))
    window = Window(NEW_YEAR - HOUR, NEW_YEAR + HOUR)
    days = [file.day.isoformat() for file in opened(place.settings).files(7, window)]
    assert days == ["2023-12-30", "2023-12-31", "2024-01-01", "2024-01-02"]


@pytest.mark.parametrize("window", [ALWAYS, Window(NEW_YEAR, NEW_YEAR + HOUR), Window(NEW_YEAR, NEW_YEAR)])
def test_a_location_that_is_not_in_the_archive_has_no_files(
    place: Place, opened: Open, window: Window, tmp_path: Path
) -> None:
    assert opened(place.settings).files(7, window) == []
    fill(place, tmp_path / "made", hours(24, location_id=70))
    assert opened(place.settings).files(7, window) == []


def test_names_that_mean_nothing_are_passed_over(place: Place, opened: Open) -> None:
    folder = "records/csv.gz/locationid=7/year=2024/month=01"
    for name in ("location-7-20240101.csv.gz", "location-7-20240102.csv.gz.part", "location-7-2024.csv.gz", "x/y"):
        place.put(f"{folder}/{name}", b"")
    assert [file.name for file in opened(place.settings).files(7, ALWAYS)] == ["location-7-20240101.csv.gz"]


def test_a_file_looks_the_same_until_it_is_written_anew(place: Place, opened: Open, tmp_path: Path) -> None:
    paths = fill(place, tmp_path / "made", hours(48))
    before = opened(place.settings).files(7, ALWAYS)
    assert opened(place.settings).files(7, ALWAYS) == before
    time.sleep(1.1)  # S3 counts in whole seconds
    place.put(paths[1], (tmp_path / "made" / paths[1]).read_bytes())
    first, second = opened(place.settings).files(7, ALWAYS)
    assert (first, second.path, second.size_bytes) == (before[0], before[1].path, before[1].size_bytes)
    assert second.modified_utc > before[1].modified_utc
    assert abs(datetime.now(UTC) - second.modified_utc) < timedelta(minutes=1)


def test_a_file_that_is_gone_or_cut_is_a_problem_and_the_others_are_read(
    place: Place, opened: Open, tmp_path: Path
) -> None:
    paths = fill(place, tmp_path / "made", hours(24 * 4))
    archive = opened(place.settings)
    files = archive.files(7, ALWAYS)
    place.remove(paths[1])
    place.put(paths[2], (tmp_path / "made" / paths[2]).read_bytes()[:-4])
    found = archive.read(7, files, NOW)
    assert found.problems == [
        (files[1], "location-7-20240102.csv.gz is gone"),
        (files[2], "location-7-20240103.csv.gz is cut off"),
    ]
    assert found.table.num_rows == 48


def test_a_file_too_large_to_be_one_is_not_fetched(place: Place, opened: Open, tmp_path: Path) -> None:
    fill(place, tmp_path / "made", hours(24))
    archive = opened(place.settings)
    huge = [file._replace(size_bytes=MAX_PACKED_BYTES + 1) for file in archive.files(7, ALWAYS)]
    found = archive.read(7, huge, NOW)
    assert found.problems == [(huge[0], "location-7-20240101.csv.gz is far too large")]


def test_several_threads_may_read_at_once(place: Place, opened: Open, tmp_path: Path) -> None:
    for location_id in range(1, 5):
        fill(place, tmp_path / "made", hours(24 * location_id, location_id=location_id))
    archive, counts = opened(place.settings), dict[int, int]()

    def read(location_id: int) -> None:
        counts[location_id] = archive.read(location_id, archive.files(location_id, ALWAYS), NOW).table.num_rows

    threads = [threading.Thread(target=read, args=(location_id,)) for location_id in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts == {1: 24, 2: 48, 3: 72, 4: 96}


# A folder ------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_a_wrong_setting(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent") as caught:
        opened(ArchiveSettings(location=str(tmp_path / "absent")))
    assert "archive.location" in caught.value.hint


def test_a_file_this_user_may_not_read_is_a_problem(opened: Open, tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy")
    (path,) = fill(copy, tmp_path / "made", hours(24))
    archive = opened(copy.settings)
    files = archive.files(7, ALWAYS)
    (tmp_path / "copy" / path).unlink()
    (tmp_path / "copy" / path).mkdir()
    ((_, said),) = archive.read(7, files, NOW).problems
    assert said == "location-7-20240101.csv.gz could not be fetched: Is a directory"


# S3 ------------------------------------------------------------------------------------------------------------


def test_more_than_a_thousand_files_are_listed(bucket: Bucket, opened: Open) -> None:
    days = [date(2020, 1, 1) + timedelta(days=number) for number in range(1100)]
    bucket.put_many(archive_path(7, day) for day in days)
    assert [file.day for file in opened(bucket.settings).files(7, ALWAYS)] == days


def test_a_bucket_may_have_the_archive_in_a_folder(bucket: Bucket, opened: Open) -> None:
    bucket.put(f"mirror/openaq/{archive_path(7, date(2024, 1, 1))}", b"")
    settings = ArchiveSettings(location=f"s3://{bucket.name}/mirror/openaq/", endpoint=bucket.endpoint)
    assert len(opened(settings).files(7, ALWAYS)) == 1


def test_a_bucket_that_is_not_there_is_a_wrong_setting(endpoint: str, opened: Open) -> None:
    archive = opened(ArchiveSettings(location="s3://absent", endpoint=endpoint))
    with pytest.raises(ConfigError, match="no bucket s3://absent") as caught:
        archive.files(7, ALWAYS)
    assert "archive.location" in caught.value.hint


@pytest.mark.parametrize(
    ("location", "endpoint"), [("s3://", ""), ("s3://bucket", "ftp://x"), ("s3://bucket", "http://"), ("s3:///", "x")]
)
def test_an_address_that_is_none_is_a_wrong_setting(opened: Open, location: str, endpoint: str) -> None:
    with pytest.raises(ConfigError, match="no bucket"):
        opened(ArchiveSettings(location=location, endpoint=endpoint))


def test_a_file_that_nobody_may_read_is_a_problem(bucket: Bucket, opened: Open, tmp_path: Path) -> None:
    paths = fill(bucket, tmp_path / "made", hours(48))
    bucket.put(paths[0], b"secret", public=False)
    archive = opened(bucket.settings)
    found = archive.read(7, archive.files(7, ALWAYS), NOW)
    ((_, said),) = found.problems
    assert said == "location-7-20240101.csv.gz could not be fetched: ACCESS_DENIED"
    assert found.table.num_rows == 24


# S3, misbehaving -----------------------------------------------------------------------------------------------


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def at(url: str) -> ArchiveSettings:
    return ArchiveSettings(location="s3://bucket", endpoint=url.removesuffix("/v3"))


def plain(status: int, body: bytes = b"") -> Answer:
    """Answer with a status and a body, and close."""

    def send(connection: socket.socket, request: bytes) -> bool:
        shown = b"" if request.startswith(b"HEAD") else body
        connection.sendall(f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\n\r\n".encode() + shown)
        return True

    return send


def silent(connection: socket.socket, _request: bytes) -> bool:
    """Say nothing for as long as the other side waits."""
    connection.settimeout(10)
    connection.recv(1)
    return False


def trickle(connection: socket.socket, _request: bytes) -> bool:
    """Send a little at a time, so that no silence is long, for three seconds."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(15):
        connection.sendall(b" ")
        time.sleep(0.2)
    return False


def test_no_connection_is_said_to_be_that(opened: Open) -> None:
    archive = opened(at(closed_port()))
    with pytest.raises(Unreachable, match="No connection to s3://bucket") as listing:
        archive.files(7, ALWAYS)
    with pytest.raises(Unreachable, match="No connection to s3://bucket any more") as reading:
        archive.read(7, some_files(3), NOW)
    assert "network" in listing.value.hint
    assert "network" in reading.value.hint


def test_when_the_network_is_gone_the_rest_of_the_files_is_not_tried(opened: Open, serve: Serve) -> None:
    def hang_up(_connection: socket.socket, _request: bytes) -> bool:
        return False

    server = serve(hang_up)
    with pytest.raises(Unreachable):
        opened(at(server.base_url)).read(7, some_files(300), NOW)
    assert len(server.requests) <= 3 * PARALLEL * ATTEMPTS


@pytest.mark.parametrize("answer", [silent, trickle])
def test_a_server_that_hangs_is_given_up_in_time(opened: Open, serve: Serve, answer: Answer) -> None:
    archive = opened(at(serve(answer).base_url), HURRY)
    for ask in (lambda: archive.files(7, ALWAYS), lambda: archive.read(7, some_files(1), NOW)):
        with pytest.raises(Unreachable, match="in time"):
            ask()


def test_a_slow_server_is_waited_for(opened: Open, serve: Serve) -> None:
    def slow(connection: socket.socket, request: bytes) -> bool:
        time.sleep(4)  # S3's own client would wait for three
        return plain(403)(connection, request)

    server = serve(slow)
    with pytest.raises(RetriableError, match="ACCESS_DENIED"):
        opened(at(server.base_url)).files(7, ALWAYS)
    assert len(server.requests) == 1


def test_a_silent_server_is_asked_only_so_often(opened: Open, serve: Serve) -> None:
    server = serve(silent)
    with pytest.raises(Unreachable, match="No connection"):
        opened(at(server.base_url), HURRY._replace(listing=60)).files(7, ALWAYS)
    assert server.connections == ATTEMPTS


@pytest.mark.parametrize(
    ("status", "kind", "said", "requests"),
    [
        (503, RetriableError, "HTTP status 503", ATTEMPTS),
        (500, RetriableError, "HTTP status 500", ATTEMPTS),
        (403, RetriableError, "ACCESS_DENIED", 1),
        (301, RetriableError, "HTTP status 301", 1),
    ],
)
def test_a_server_that_refuses_is_told_with_what_it_said(
    opened: Open, serve: Serve, status: int, kind: type[PipelineError], said: str, requests: int
) -> None:
    server = serve(plain(status))
    with pytest.raises(kind, match=said) as caught:
        opened(at(server.base_url)).files(7, ALWAYS)
    assert not isinstance(caught.value, Unreachable)
    assert "archive.location" in caught.value.hint
    assert len(server.requests) == requests


def path_in(request: bytes) -> str:
    """Return which object of the bucket is asked for."""
    return unquote(request.split()[1].decode()).removeprefix("/bucket/")


def test_a_file_that_fails_is_a_problem_after_a_few_tries(opened: Open, serve: Serve, tmp_path: Path) -> None:
    write_archive(tmp_path, hours(48))
    files, tries = some_files(2), list[bytes]()

    def answer(connection: socket.socket, request: bytes) -> bool:
        if path_in(request) == files[0].path:
            return plain(200, (tmp_path / files[0].path).read_bytes())(connection, request)
        tries.append(request)
        return plain(503)(connection, request)

    found = opened(at(serve(answer).base_url)).read(7, files, NOW)
    assert found.problems == [(files[1], "location-7-20240102.csv.gz could not be fetched: HTTP status 503")]
    assert found.table.num_rows == 24
    assert len(tries) == ATTEMPTS


def test_files_are_fetched_in_parallel_and_not_all_at_once(opened: Open, serve: Serve, tmp_path: Path) -> None:
    write_archive(tmp_path, hours(24 * 3 * PARALLEL))
    together = threading.Barrier(PARALLEL)

    def answer(connection: socket.socket, request: bytes) -> bool:
        together.wait(10)  # nobody is answered unless so many ask at the same time
        return plain(200, (tmp_path / path_in(request)).read_bytes())(connection, request)

    server = serve(answer)
    read = opened(at(server.base_url)).read(7, some_files(3 * PARALLEL), NOW)
    assert (read.table.num_rows, read.problems) == (24 * 3 * PARALLEL, [])
    assert server.connections <= PARALLEL


def test_no_key_of_the_user_is_sent(opened: Open, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "canary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    server = serve(plain(403))
    with pytest.raises(RetriableError):
        opened(at(server.base_url)).files(7, ALWAYS)
    (request,) = server.requests
    assert b"canary" not in request
    assert b"authorization" not in request.lower()


def test_the_proxy_of_the_environment_is_used(opened: Open, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(plain(403))
    for name in [name for name in os.environ if name.lower() == "no_proxy"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/v3"))
    with pytest.raises(RetriableError):
        opened(at("http://archive.invalid")).files(7, ALWAYS)
    (request,) = proxy.requests
    assert request.startswith(b"GET http://archive.invalid/bucket?")
