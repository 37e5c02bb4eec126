"""What the copy in PostgreSQL costs: `python -m benchmarks.postgres`, against a server of its own.

*sync*: `mirror.sync_all` of a history into an empty database, from Parquet to COMMIT, with the migrations, marks and
partitions. *plain COPY*: the same rows, as CSV text that is ready in a file, by one COPY into an identical empty table
(same columns, key and months' partitions, made beforehand). Both in one run, in turns; the median is shown.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from pydantic import SecretStr

from openaq_pipeline.mirror import sync_all
from openaq_pipeline.model import Measurement
from openaq_pipeline.settings import PostgresSettings, Settings, StorageSettings
from tests.measurements import measurement
from tests.postgres.folders import write_history
from tests.postgres.server import Server, binaries

SENSORS, YEARS = 40, (2024, 2025)
END = datetime(2026, 1, 1, tzinfo=UTC)
SEEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
BLOCK_BYTES = 1 << 20


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind (default: 3)")
    runs = parser.parse_args().runs
    found = binaries()
    if found is None:
        raise SystemExit("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        Path(name).chmod(0o755)
        write_history(Path(name) / "data", 7, _rows(), END)
        server = Server(found, Path(name) / "s", durable=True)
        server.create()
        server.start()
        try:
            _compare(server, Path(name), runs)
        finally:
            server.stop("immediate")


def _rows() -> list[Measurement]:
    """Return two years of hourly rows, one in fifty with an issue."""
    start = datetime(YEARS[0], 1, 1, 1, tzinfo=UTC)
    hours = int((END - start) / timedelta(hours=1))
    return [
        measurement(
            round(20 + 15 * math.sin(hour / 7 + sensor), 1),
            start + timedelta(hours=hour),
            first_seen=SEEN,
            sensors_id=1000 + sensor,
        )
        for sensor in range(SENSORS)
        for hour in range(hours)
    ]


def _compare(server: Server, folder: Path, runs: int) -> None:
    synced, copied, again = [], [], []
    rows = 0
    for number in range(runs):
        name = f"bench{number}"
        server.make_database(name)
        settings = Settings(
            data_dir=folder / "data",
            storage=StorageSettings(postgres=PostgresSettings(enabled=True, dsn=SecretStr(server.url(name)))),
        )
        began = time.monotonic()
        report = sync_all(settings)
        synced.append(time.monotonic() - began)
        rows = report.written
        if rows != report.rows or not report.complete:
            raise SystemExit(f"the sync fell short: {report}")
        copied.append(_plain_copy(server, name, folder / "rows.csv", rows))
        with psycopg.connect(server.dsn(name), autocommit=True) as connection:
            connection.execute("UPDATE openaq.sync_marks SET mtime_ns = 0")
        began = time.monotonic()
        sync_all(settings)
        again.append(time.monotonic() - began)
    _print(rows, runs, {"plain COPY": copied, "sync": synced, "sync of the same rows again, nothing to write": again})


def _plain_copy(server: Server, name: str, file: Path, rows: int) -> float:
    """Return the seconds that a plain COPY takes into an identical, empty table; the text is made before."""
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        _make_twin(connection)
        if not file.exists():
            with file.open("wb") as text, connection.cursor() as cursor:
                query = "COPY (SELECT * FROM openaq.measurements ORDER BY sensors_id, datetime) TO STDOUT CSV"
                with cursor.copy(query) as copy:
                    for block in copy:
                        text.write(block)
        connection.execute("CHECKPOINT")
        began = time.monotonic()
        with file.open("rb") as text, connection.cursor() as cursor:
            with cursor.copy("COPY twin.measurements FROM STDIN CSV") as copy:
                while block := text.read(BLOCK_BYTES):
                    copy.write(block)
            took = time.monotonic() - began
        stored = connection.execute("SELECT count(*) FROM twin.measurements").fetchone()
        connection.execute("DROP SCHEMA twin CASCADE")
        connection.execute("CHECKPOINT")
    if stored != (rows,):
        raise SystemExit(f"the plain COPY fell short: {stored} of {rows}")
    return took


def _make_twin(connection: psycopg.Connection) -> None:
    connection.execute("CREATE SCHEMA twin")
    connection.execute(
        "CREATE TABLE twin.measurements (LIKE openaq.measurements INCLUDING ALL) PARTITION BY RANGE (datetime)"
    )
    for year in YEARS:
        for month in range(1, 13):
            after = f"{year + month // 12}-{month % 12 + 1:02}-01"
            connection.execute(
                f"CREATE TABLE twin.m_{year}_{month:02} PARTITION OF twin.measurements "
                f"FOR VALUES FROM ('{year}-{month:02}-01T00:00Z') TO ('{after}T00:00Z')".encode()
            )


def _print(rows: int, runs: int, times: dict[str, list[float]]) -> None:
    best = rows / statistics.median(times["plain COPY"])
    print(f"{rows:,} rows, median of {runs} runs, {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}\n")
    print("| way | rows/s | of plain COPY |\n| --- | ---: | ---: |")
    for name, seconds in times.items():
        speed = rows / statistics.median(seconds)
        print(f"| {name} | {speed:,.0f} | {speed / best:.0%} |")


if __name__ == "__main__":
    main()
