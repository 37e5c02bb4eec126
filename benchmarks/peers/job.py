"""What every peer is told: where OpenAQ is, which sensors there are, and from when on rows are wanted.

A peer looks nothing up: the sensors of each location stand in `job.json` in its folder, which the benchmark writes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

LOOK_BACK = timedelta(hours=24)
"""How far behind its newest row a careful user reads a sensor again, for rows that came late."""

PAGE_ROWS = 1000
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Job:
    """`base_url` ends in `/v3`; `since` is an ISO time in UTC; `locations` has the sensors' ids by location's id."""

    base_url: str
    key: str
    since: str
    locations: dict[str, list[int]]

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "job.json").write_text(json.dumps(asdict(self)))

    def start(self, watermark: str | None) -> str:
        """Return after which stamp a sensor is read; `watermark` is its newest stored one, None: none."""
        if watermark is None:
            return self.since
        return max((datetime.fromisoformat(watermark) - LOOK_BACK).isoformat(), self.since)


def read_job(folder: Path) -> Job:
    """Return the job of a folder."""
    return Job(**json.loads((folder / "job.json").read_text()))


Key = tuple[int, str]
"""A sensor's id and a stamp."""


def main(poll: Callable[[Job, Path], None], keys: Callable[[Path], Iterable[Key]]) -> None:
    """Poll once, or print what is stored as `sensor stamp`, one a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["poll", "keys"])
    parser.add_argument("folder", type=Path)
    flags = parser.parse_args()
    if flags.what == "poll":
        poll(read_job(flags.folder), flags.folder)
        return
    for sensor, stamp in keys(flags.folder):
        print(sensor, stamp)
