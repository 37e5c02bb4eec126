"""A PostgreSQL that is down, dies in a transaction or refuses rows: the files are whole, and it catches up."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from openaq_pipeline.mirror import after_run
from openaq_pipeline.reports import RunReport
from openaq_pipeline.settings import PostgresSettings, Settings, StorageSettings
from tests.faults import oracle
from tests.faults.conftest import Tally, Times
from tests.faults.net import Bench, bench, wired
from tests.postgres.server import Server, binaries

BETWEEN_HOURS = 5.0


@pytest.fixture
def server(times: Times) -> Iterator[Server]:
    found = binaries()
    if found is None:
        pytest.skip("NOT tested: PostgreSQL is not installed (apt-get install postgresql)")
    if not times(0, 1):
        pytest.skip("NOT tested here but by `make faults-long`; tests/postgres kills a server six times every day")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        made = Server(found, Path(name) / "s")
        made.create()
        made.start()
        made.make_database("copy")
        try:
            yield made
        finally:
            made.stop("immediate")


class Mirrored:
    """A bench whose runs are followed by the sync with a database."""

    def __init__(self, made: Bench, server: Server) -> None:
        self.bench, self.server, self.hours = made, server, 0.0
        self._storage = StorageSettings(
            postgres=PostgresSettings(enabled=True, dsn=SecretStr(server.url("copy"))),
        )

    def settings(self) -> Settings:
        return self.bench.settings(self.bench.folder).model_copy(update={"storage": self._storage})

    def poll(self) -> RunReport:
        self.hours += BETWEEN_HOURS
        report = self.bench.poll(self.hours)
        assert report.complete, "the files do not wait for the database"
        oracle.check(self.bench.folder, restarted=True)
        return report

    def sync(self, report: RunReport) -> str | None:
        changes = {place.location_id: place.change for place in report.locations if place.change}
        return after_run(self.settings(), changes)

    def compare(self) -> None:
        """Assert that the database holds what the files do, each row once."""
        with psycopg.connect(self.server.dsn("copy"), autocommit=True) as connection:
            rows = connection.execute("SELECT location_id, sensors_id, datetime, value FROM openaq.measurements")
            found = {oracle.Place(*row[:3]): row[3] for row in rows}
            count = connection.execute("SELECT count(*) FROM openaq.measurements").fetchone()
        assert count == (len(found),)
        assert found == {place: row["value"] for place, row in oracle.content(self.bench.folder).items()}

    def never_ahead(self) -> None:
        """Assert that the database has no row that the files do not have."""
        with psycopg.connect(self.server.dsn("copy"), autocommit=True) as connection:
            rows = connection.execute("SELECT location_id, sensors_id, datetime FROM openaq.measurements").fetchall()
        places = [oracle.Place(*row) for row in rows]
        assert len(set(places)) == len(places)
        assert set(places) <= oracle.content(self.bench.folder).keys()


@pytest.fixture
def mirrored(server: Server, tmp_path: Path) -> Iterator[Mirrored]:
    with bench(tmp_path) as made, wired(made.time):
        found = Mirrored(made, server)
        assert found.sync(found.poll()) is None
        found.compare()
        yield found


def test_a_database_that_is_killed_at_any_moment_has_all_rows_once_in_the_end(
    mirrored: Mirrored, times: Times, chance: random.Random, tally: Tally
) -> None:
    kills, struck = times(0, 40), 0
    for _ in range(kills):
        report, behind = mirrored.poll(), list[str | None]()
        thread = threading.Thread(target=lambda r=report, b=behind: b.append(mirrored.sync(r)))
        thread.start()
        time.sleep(chance.uniform(0.0, 0.15))
        mirrored.server.stop("immediate")
        thread.join(120)
        struck += behind != [None]
        mirrored.server.start()
        mirrored.never_ahead()
        assert mirrored.sync(mirrored.poll()) is None
        mirrored.compare()
    tally(25, "pg_ctl stop -m immediate during the sync", kills, note=f"{struck} of them in it")


def test_a_database_that_is_down_for_days_or_refuses_rows_catches_up(mirrored: Mirrored, tally: Tally) -> None:
    mirrored.server.stop()
    for _ in range(6):
        assert "does not answer" in str(mirrored.sync(mirrored.poll()))
    mirrored.server.start()
    with psycopg.connect(mirrored.server.dsn("copy"), autocommit=True) as connection:
        connection.execute("ALTER TABLE openaq.measurements ADD CONSTRAINT mine CHECK (false) NOT VALID")
    assert "behind" in str(mirrored.sync(mirrored.poll()))
    mirrored.never_ahead()
    with psycopg.connect(mirrored.server.dsn("copy"), autocommit=True) as connection:
        connection.execute("ALTER TABLE openaq.measurements DROP CONSTRAINT mine")
    assert mirrored.sync(mirrored.poll()) is None
    mirrored.compare()
    tally(25, "down for six runs, then a constraint", 7)
