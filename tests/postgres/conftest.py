"""A real PostgreSQL for these tests, and in it a database for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from openaq_pipeline.settings import PostgresSettings, Settings, StorageSettings
from tests.postgres.copies import Copy
from tests.postgres.server import Server, binaries


@pytest.fixture(scope="session")
def cluster() -> Iterator[Server]:
    """A server that runs for all tests; those that stop it start it again."""
    found = binaries()
    if found is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql): nothing of its sink was tested")
    # Not pytest's own folder: nobody but its owner may look into that, and sockets have short names.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        server = Server(found, Path(name) / "s")
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


@pytest.fixture
def copy(cluster: Server, tmp_path: Path) -> Copy:
    """An empty data folder and an empty database that shall become its copy."""
    name = f"t{uuid4().hex[:12]}"
    cluster.make_database(name)
    settings = Settings(
        data_dir=tmp_path / "data",
        storage=StorageSettings(postgres=PostgresSettings(enabled=True, dsn=SecretStr(cluster.url(name)))),
    )
    return Copy(settings, lambda: psycopg.connect(cluster.dsn(name), autocommit=True, options="-c TimeZone=UTC"), name)
