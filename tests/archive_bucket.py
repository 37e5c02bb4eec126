"""A real S3 server on loopback, with buckets that anybody may read, as OpenAQ's."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from openaq_pipeline.settings import ArchiveSettings

PUBLIC = {"x-amz-acl": "public-read"}


class Bucket:
    """A bucket of a server at `endpoint`."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.endpoint = endpoint
        self.name = name
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy of whoever runs the tests
        self._put(f"{endpoint}/{name}")

    @property
    def settings(self) -> ArchiveSettings:
        return ArchiveSettings(location=f"s3://{self.name}", endpoint=self.endpoint)

    def put(self, path: str, content: bytes, *, public: bool = True) -> None:
        """Put an object, in place of one of the same name; one that is not public is refused to readers."""
        self._put(f"{self.endpoint}/{self.name}/{path}", content, PUBLIC if public else {})

    def remove(self, path: str) -> None:
        with self._http.delete(f"{self.endpoint}/{self.name}/{path}") as answer:
            answer.raise_for_status()

    def put_many(self, paths: Iterable[str]) -> None:
        """Put empty objects without asking the server, which takes its time for each request."""
        store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for path in paths:
            store.put_object(self.name, path, b"")

    def upload(self, root: Path) -> None:
        """Put all files of a folder."""
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            self.put(file.relative_to(root).as_posix(), file.read_bytes())

    def close(self) -> None:
        self._http.close()

    def _put(self, url: str, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        with self._http.put(url, data=content, headers=headers) as answer:
            answer.raise_for_status()


@contextmanager
def s3_server() -> Iterator[str]:
    """Run a server with nothing in it; gives its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()
