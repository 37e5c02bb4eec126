"""OpenAQ's public archive: which files it has for a location, and what is in them (OPENAQ section 5).

It lies in a bucket on S3 that anybody may read, without a key and without a budget, or in a folder that holds a copy.
Both are read by the same code, through `pyarrow.fs`. Nothing is tried without end: S3's client tries a request three
times, each try has a time limit, and so has the whole of a call.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import duckdb
import msgspec
from pyarrow import fs
from requests.utils import get_environ_proxies, select_proxy

from openaq_pipeline.bounded import whole
from openaq_pipeline.errors import ConfigError, PipelineError, RetriableError, Unreachable
from openaq_pipeline.model import Window
from openaq_pipeline.openaq import archive_rows
from openaq_pipeline.openaq.archive_files import ArchiveFile, day_of, days_of, folders_of
from openaq_pipeline.openaq.archive_lines import BadFile
from openaq_pipeline.openaq.archive_rows import ArchiveRows
from openaq_pipeline.settings import ArchiveSettings

S3 = "s3://"
AWS = "amazonaws.com"

PARALLEL = 16
"""Files fetched at the same time from S3: each is small, so that nearly all of its time is the way there and back."""

ATTEMPTS = 3
MAX_PACKED_BYTES = 16 * 1024 * 1024
"""A day of 20 sensors that report every minute has 0.2 MB."""

NO_CONNECTION = "no connection"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NETWORK_HINT = "Check the network connection, the proxy settings and archive.endpoint."
PLACE_HINT = "Check archive.location, archive.endpoint and archive.region."


class Patience(NamedTuple):
    """How many seconds the archive may take, in which a remote one is meant: a folder is not waited for.

    `connect` and `silence` (until it sends anything more) are of one request, which is tried `ATTEMPTS` times;
    `listing` is of one listing, `first_file` and `each_file` add up to what a whole `read` may take.
    """

    connect: float = 10.0
    silence: float = 30.0
    listing: float = 120.0
    first_file: float = 120.0
    each_file: float = 2.0


class Archive:
    """OpenAQ's archive, or a copy; thread-safe. Temporary files are made in `folder_for_temporary`."""

    def __init__(
        self, settings: ArchiveSettings, *, folder_for_temporary: Path, patience: Patience | None = None
    ) -> None:
        self._location = settings.location
        self._temporary = folder_for_temporary
        self._patience = patience or Patience()
        self._is_remote = settings.location.startswith(S3)
        self._source = _bucket(settings, self._patience) if self._is_remote else _folder(settings)
        self._guard = threading.Lock()
        self._database: duckdb.DuckDBPyConnection | None = None

    def files(self, location_id: int, window: Window) -> list[ArchiveFile]:
        """Return the files that may hold rows of a location in a window, by day; none if it is not in the archive.

        Raises `ConfigError` if the archive itself is not there, `Unreachable` or another `RetriableError` if it can't
        be listed now.
        """
        days = days_of(window)
        if days is None:
            return []
        found = []
        for folder in folders_of(location_id, *days):
            for info in self._list(folder):
                day = day_of(info.path, location_id) if info.is_file else None
                if day is not None and days[0] <= day <= days[1]:
                    found.append(ArchiveFile(day, info.path, info.size, _modified(info)))
        return sorted(found)

    def read(self, location_id: int, files: Sequence[ArchiveFile], now: datetime) -> ArchiveRows:
        """Return the rows of files of one location, first seen `now`; of a year at most, for the sake of memory.

        A file that can't be fetched or used is a problem in the answer, and the others are read. Raises `Unreachable`
        if there is no connection any more, `StorageError` if no temporary file can be written.
        """
        fetched = self._fetch_together(files) if self._is_remote else ((file, self._fetch(file)) for file in files)
        with self._cursor() as database:
            return archive_rows.read(
                fetched, location_id=location_id, now=now, folder=self._temporary, database=database
            )

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor of this thread on the one database; making a database takes as long as reading 50 files."""
        with self._guard:
            self._database = self._database or archive_rows.connect(self._temporary)
            return self._database.cursor()

    def _list(self, folder: str) -> list[fs.FileInfo]:
        """Return all that is below a folder, nothing if it is not there."""
        selector = fs.FileSelector(folder, recursive=True)
        try:
            found: list[fs.FileInfo]
            if not self._is_remote:
                found = self._source.get_file_info(selector)
            else:
                with _threads(1) as pool:
                    found = pool.submit(self._source.get_file_info, selector).result(self._patience.listing)
        except FileNotFoundError:
            return []  # but a bucket that is not there has an error of its own
        except Late as error:
            raise Unreachable(f"{self._location} gave no list of its files in time", hint=NETWORK_HINT) from error
        except OSError as error:
            raise self._no_list(error) from error
        return found

    def _no_list(self, error: OSError) -> PipelineError:
        """Return what it means that nothing can be listed."""
        kind = kind_of(error)
        if kind == NO_CONNECTION:
            return Unreachable(f"No connection to {self._location}", hint=NETWORK_HINT)
        if kind == "NO_SUCH_BUCKET":
            return ConfigError(f"There is no bucket {self._location}", hint=PLACE_HINT)
        return RetriableError(f"{self._location} gave no list of its files: {kind}", hint=PLACE_HINT)

    def _fetch_together(self, files: Sequence[ArchiveFile]) -> Iterator[tuple[ArchiveFile, bytes | BadFile]]:
        """Yield files with their bytes, in the order given, while the next ones are on their way."""
        deadline = time.monotonic() + self._patience.first_file + self._patience.each_file * len(files)
        rest, coming, lost = iter(files), deque[tuple[ArchiveFile, Future[bytes | BadFile]]](), 0
        with _threads(PARALLEL) as pool:
            while True:
                # no more than these are in memory
                for file in itertools.islice(rest, 2 * PARALLEL - len(coming)):
                    coming.append((file, pool.submit(self._fetch, file)))
                if not coming:
                    return
                file, fetched = coming.popleft()
                try:
                    data = fetched.result(max(0.0, deadline - time.monotonic()))
                except Late as error:
                    raise Unreachable(f"{self._location} gave no files in time", hint=NETWORK_HINT) from error
                lost = lost + 1 if isinstance(data, Lost) else 0
                if lost >= min(PARALLEL, len(files)):
                    raise Unreachable(f"No connection to {self._location} any more", hint=NETWORK_HINT)
                yield file, data

    def _fetch(self, file: ArchiveFile) -> bytes | BadFile:
        """Return the bytes of a file, or why there are none."""
        if file.size_bytes > MAX_PACKED_BYTES:
            return BadFile("is far too large")
        try:
            if not self._is_remote:
                return whole(Path(self._location, file.path), MAX_PACKED_BYTES)
            with self._source.open_input_file(file.path) as opened:
                return bytes(opened.read(MAX_PACKED_BYTES))
        except FileNotFoundError:
            return BadFile("is gone")
        except msgspec.DecodeError:
            return BadFile("is far too large")
        except OSError as error:
            kind = kind_of(error)
            return (Lost if kind == NO_CONNECTION else BadFile)(f"could not be fetched: {kind}")


class Lost(BadFile):
    """This file was not fetched because there was no connection."""


def kind_of(error: OSError) -> str:
    """Return in a few words what went wrong; `NO_CONNECTION` if nobody answered."""
    found = re.search(r"AWS Error (\w+)(?: \((HTTP status \d+)\))?", str(error))
    if found is None:
        return error.strerror or str(error)
    return NO_CONNECTION if found[1] == "NETWORK_CONNECTION" else found[2] or found[1]


def _modified(info: fs.FileInfo) -> datetime:
    return EPOCH + timedelta(microseconds=info.mtime_ns // 1000)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool that is left without waiting for what is still under way."""
    pool = ThreadPoolExecutor(count, thread_name_prefix="archive")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _folder(settings: ArchiveSettings) -> fs.FileSystem:
    """Return a folder that holds a copy of the bucket; raises `ConfigError` if it is not there."""
    if not Path(settings.location).is_dir():
        raise ConfigError(f"The folder {settings.location} of archive.location is not there", hint=PLACE_HINT)
    return fs.SubTreeFileSystem(str(Path(settings.location).absolute()), fs.LocalFileSystem())


def _bucket(settings: ArchiveSettings, patience: Patience) -> fs.FileSystem:
    """Return a bucket, read without any key; raises `ConfigError` for an endpoint that is no address."""
    bucket = settings.location.removeprefix(S3).strip("/")
    endpoint = urlsplit(_endpoint(settings.endpoint)) if settings.endpoint else None
    if not bucket or (endpoint and (endpoint.scheme not in {"http", "https"} or not endpoint.hostname)):
        raise ConfigError(f"{settings.location} at {settings.endpoint or AWS} is no bucket", hint=PLACE_HINT)
    address = endpoint or urlsplit(f"https://{bucket.partition('/')[0]}.s3.{settings.region}.{AWS}")
    proxy = select_proxy(address.geturl(), get_environ_proxies(address.geturl(), None))
    service = fs.S3FileSystem(
        anonymous=True,
        region=settings.region,
        endpoint_override=endpoint.netloc if endpoint else None,
        scheme=address.scheme,
        connect_timeout=patience.connect,
        request_timeout=patience.silence,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        proxy_options=proxy,
    )
    return fs.SubTreeFileSystem(bucket, service)


def _endpoint(address: str) -> str:
    return address if "://" in address else f"https://{address}"
