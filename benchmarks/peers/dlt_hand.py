"""A dlt resource made by hand: one state for each sensor, look-back, merge by key into DuckDB.

It goes by dlt's own documentation: `dlt.current.resource_state`, its `requests` with retries, `merge` by primary key.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
from dlt.sources.helpers import requests

from benchmarks.peers.job import PAGE_ROWS, TIMEOUT_SECONDS, Job, Key, main

NAME = "air"


@dlt.resource(name="measurements", primary_key=("sensor", "datetime"), write_disposition="merge")  # type: ignore[untyped-decorator]
def measurements(job: Job) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each sensor after its own watermark, a page at a time."""
    watermarks: dict[str, str] = dlt.current.resource_state().setdefault("watermarks", {})
    session = requests.Client().session
    session.headers["X-API-Key"] = job.key
    for location, sensors in job.locations.items():
        for sensor in sensors:
            try:
                for rows in read(session, job, sensor, job.start(watermarks.get(str(sensor)))):
                    if rows:
                        watermarks[str(sensor)] = max(watermarks.get(str(sensor), ""), rows[-1]["datetime"])
                        yield [{"location": int(location), **row} for row in rows]
            except requests.RequestException as error:
                print(f"sensor {sensor}: {error}", file=sys.stderr)


def read(session: Any, job: Job, sensor: int, start: str) -> Iterator[list[dict[str, Any]]]:
    """Yield a sensor's rows after `start`, page by page."""
    page = 1
    while True:
        response = session.get(
            f"{job.base_url}/sensors/{sensor}/measurements",
            params={"datetime_from": start, "limit": PAGE_ROWS, "page": page},
            timeout=TIMEOUT_SECONDS,
        )
        response.raise_for_status()
        results = response.json()["results"]
        yield [
            {
                "sensor": sensor,
                "parameter": row["parameter"]["name"],
                "units": row["parameter"]["units"],
                "datetime": row["period"]["datetimeTo"]["utc"],
                "value": row["value"],
            }
            for row in results
        ]
        if len(results) < PAGE_ROWS:
            return
        page += 1


def poll(job: Job, folder: Path) -> None:
    """Bring the tables up to now."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    pipeline = dlt.pipeline(
        pipeline_name=NAME,
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.duckdb(str(folder / "openaq.duckdb")),
        dataset_name=NAME,
    )
    pipeline.run(measurements(job), loader_file_format="parquet")


def keys(folder: Path) -> Iterable[Key]:
    """Yield the key of each stored row."""
    with duckdb.connect(str(folder / "openaq.duckdb"), read_only=True) as database:
        sql = f"SELECT sensor, strftime(datetime AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') FROM {NAME}.measurements"  # noqa: S608
        yield from database.execute(sql).fetchall()


if __name__ == "__main__":
    main(poll, keys)
