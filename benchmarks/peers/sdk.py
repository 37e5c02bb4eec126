"""The official SDK with the simplest correct loop: each sensor after its own watermark, one JSON file a location.

Its limiter goes by the headers of the answers, which name a limit of a million here: it never waits. It speaks nothing
but HTTPS; the benchmark's server has none, so its connections are made plain ones, which spares it the TLS.
"""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from openaq import OpenAQ
from openaq.core.exceptions import APIError, OpenAQError

from benchmarks.peers.job import PAGE_ROWS, Job, Key, main

http.client.HTTPSConnection = http.client.HTTPConnection  # type: ignore[assignment, misc]


def poll(job: Job, folder: Path) -> None:
    """Bring the files up to now; the state is written last."""
    state_path = folder / "state.json"
    watermarks: dict[str, str] = json.loads(state_path.read_text()) if state_path.exists() else {}
    with OpenAQ(api_key=job.key, base_url=job.base_url + "/", rate_limit_override=1_000_000) as client:
        for location, sensors in job.locations.items():
            fresh: dict[str, dict[str, Any]] = {}
            for sensor in sensors:
                try:
                    for row in read(client, sensor, job.start(watermarks.get(str(sensor)))):
                        fresh[f"{sensor} {row['datetime']}"] = row
                except (APIError, OpenAQError) as error:
                    print(f"sensor {sensor}: {error}", file=sys.stderr)
            if not fresh:
                continue
            upsert(folder / f"location_{location}.json", fresh)
            for row in fresh.values():
                known = watermarks.get(str(row["sensor"]), "")
                watermarks[str(row["sensor"])] = max(known, row["datetime"])
    state_path.write_text(json.dumps(watermarks))


def read(client: OpenAQ, sensor: int, start: str) -> Iterator[dict[str, Any]]:
    """Yield a sensor's rows after `start`, page by page."""
    page = 1
    while True:
        results = client.measurements.list(
            sensor, data="measurements", datetime_from=start, page=page, limit=PAGE_ROWS
        ).results
        for row in results:
            yield {
                "sensor": sensor,
                "parameter": row.parameter.name,
                "units": row.parameter.units,
                "datetime": row.period.datetime_to.utc,
                "value": row.value,
            }
        if len(results) < PAGE_ROWS:
            return
        page += 1


def upsert(path: Path, fresh: dict[str, dict[str, Any]]) -> None:
    """Put rows into a location's file, in the place of those with the same key."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(stored | fresh))
    part.replace(path)


def keys(folder: Path) -> Iterable[Key]:
    """Yield the key of each stored row."""
    for path in sorted(folder.glob("location_*.json")):
        for row in json.loads(path.read_text()).values():
            yield row["sensor"], row["datetime"]


if __name__ == "__main__":
    main(poll, keys)
