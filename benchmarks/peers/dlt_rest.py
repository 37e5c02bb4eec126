"""dlt's `rest_api` source as its documentation would have one write it, into DuckDB.

The sensors are the parent resource (from the benchmark's file: nothing is looked up), the measurements their child; the
child's incremental cursor, with a lag for late rows, is one for all sensors: that is how the source works.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import dlt
import duckdb
from dlt.sources.rest_api import rest_api_source

from benchmarks.peers.job import LOOK_BACK, PAGE_ROWS, Job, Key, main

NAME = "air"


@dlt.resource(name="sensors", primary_key="id", write_disposition="replace", selected=False)  # type: ignore[untyped-decorator]
def sensors(job: Job) -> Iterator[list[dict[str, int]]]:
    """Yield the sensors, a location at a time."""
    for location, ids in job.locations.items():
        yield [{"id": sensor, "location": int(location)} for sensor in ids]


def poll(job: Job, folder: Path) -> None:
    """Bring the tables up to now."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    source = rest_api_source(
        {
            "client": {
                "base_url": job.base_url + "/",
                "auth": {"type": "api_key", "name": "X-API-Key", "api_key": job.key, "location": "header"},
                "paginator": {"type": "page_number", "base_page": 1, "page_param": "page", "total_path": None},
            },
            "resources": [
                sensors(job),
                {
                    "name": "measurements",
                    "primary_key": ["_sensors_id", "period__datetime_to__utc"],
                    "write_disposition": "merge",
                    "include_from_parent": ["id", "location"],
                    "endpoint": {
                        "path": "sensors/{resources.sensors.id}/measurements",
                        "params": {"limit": PAGE_ROWS},
                        "data_selector": "results",
                        "incremental": {
                            "start_param": "datetime_from",
                            "cursor_path": "period.datetimeTo.utc",
                            "initial_value": job.since.replace("+00:00", "Z"),
                            "lag": LOOK_BACK.total_seconds(),
                        },
                        "response_actions": [{"status_code": 500, "action": "ignore"}],
                    },
                },
            ],
        }
    )
    pipeline = dlt.pipeline(
        pipeline_name=NAME,
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.duckdb(str(folder / "openaq.duckdb")),
        dataset_name=NAME,
    )
    pipeline.run(source, loader_file_format="parquet")


def keys(folder: Path) -> Iterable[Key]:
    """Yield the key of each stored row."""
    with duckdb.connect(str(folder / "openaq.duckdb"), read_only=True) as database:
        stamp = "strftime(period__datetime_to__utc AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ')"
        yield from database.execute(f"SELECT _sensors_id, {stamp} FROM {NAME}.measurements").fetchall()  # noqa: S608


if __name__ == "__main__":
    main(poll, keys)
