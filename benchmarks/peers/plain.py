"""A plain loop with `requests` that keeps all rows in one JSON file: read it, add, drop what is double, write it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import requests

from benchmarks.peers.job import PAGE_ROWS, TIMEOUT_SECONDS, Job, Key, main


def poll(job: Job, folder: Path) -> None:
    """Bring the file up to now."""
    path = folder / "measurements.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    newest: dict[int, str] = {}
    for row in rows:
        newest[row["sensor"]] = max(newest.get(row["sensor"], ""), row["datetime"])
    session = requests.Session()
    session.headers["X-API-Key"] = job.key
    for location, sensors in job.locations.items():
        for sensor in sensors:
            try:
                found = read(session, job, sensor, job.start(newest.get(sensor)))
                rows.extend({"location": int(location), "sensor": sensor, **row} for row in found)
            except requests.RequestException as error:
                print(f"sensor {sensor}: {error}", file=sys.stderr)
    # The later one of two with the same key counts.
    unique = {(row["sensor"], row["datetime"]): row for row in rows}
    part = path.with_suffix(".part")
    part.write_text(json.dumps([unique[key] for key in sorted(unique)]))
    part.replace(path)


def read(session: requests.Session, job: Job, sensor: int, start: str) -> Iterator[dict[str, Any]]:
    """Yield a sensor's rows after `start`, page by page."""
    page = 1
    while True:
        response = session.get(
            f"{job.base_url}/sensors/{sensor}/measurements",
            params={"datetime_from": start, "limit": str(PAGE_ROWS), "page": str(page)},
            timeout=TIMEOUT_SECONDS,
        )
        response.raise_for_status()
        results = response.json()["results"]
        for row in results:
            yield {
                "parameter": row["parameter"]["name"],
                "units": row["parameter"]["units"],
                "datetime": row["period"]["datetimeTo"]["utc"],
                "value": row["value"],
            }
        if len(results) < PAGE_ROWS:
            return
        page += 1


def keys(folder: Path) -> Iterable[Key]:
    """Yield the key of each stored row."""
    for row in json.loads((folder / "measurements.json").read_text()):
        yield row["sensor"], row["datetime"]


if __name__ == "__main__":
    main(poll, keys)
