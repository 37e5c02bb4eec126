"""`python -m benchmarks.page`: how long the status page takes over a folder of ten thousand locations.

The server is a process of its own, as `monitor.py --serve` is, and asked one request after the other over a connection
that stays. *Cold* is the first request after the start, *warm* the median and the slowest of many, *moving* that while
a run rewrites `.state.json` and a location's file every second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import requests

from benchmarks.process import ROOT
from openaq_pipeline.files import replacing
from openaq_pipeline.model import License, Location, LocationState, Measurement, Sensor, SensorState
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.metrics import LocationMetrics, RunMetrics

SENSORS = {"pm25": (2, "µg/m³"), "no2": (7, "ppm"), "o3": (10, "ppm")}
HOURS = 26
CC_BY = License(41, "CC BY 4.0", "Somebody", "https://example.org", "2016-01-01", None)
KINDS = {
    "status page": "/",
    "status page, searched": "/?q=station+77",
    "map page": "/map",
    "map's data": "/api/v1/map?parameter=pm25",
    "API: status": "/api/v1/status",
    "API: first page of locations": "/api/v1/locations",
    "API: a location's last values": "/api/v1/locations/77/latest",
    "API: a location's measurements": "/api/v1/locations/77/measurements",
    "metrics": "/metrics",
}


class Timed(NamedTuple):
    """What requests of a kind took, in milliseconds, and how large the answer was, in bytes as sent."""

    status: int
    cold: float
    warm: tuple[float, float]
    moving: tuple[float, float]
    sent: int


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--locations", type=int, default=10_000, help="how many locations (default: 10,000)")
    parser.add_argument("--requests", type=int, default=20, help="warm requests of each kind (default: 20)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        folder.mkdir()
        fill(folder, asked.locations)
        print(f"{asked.locations:,} locations x {len(SENSORS)} sensors, {datetime.now(UTC):%Y-%m-%d}")
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
        print("| asked for | cold ms | warm ms (slowest) | moving ms (slowest) | kB sent |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, path in KINDS.items():
            found = timed(folder, asked.locations, path, asked.requests)
            if found.status == 200:
                print(
                    f"| {name} | {found.cold:,.0f} | {found.warm[0]:,.0f} ({found.warm[1]:,.0f}) "
                    f"| {found.moving[0]:,.0f} ({found.moving[1]:,.0f}) | {found.sent / 1e3:,.0f} |"
                )


def timed(folder: Path, locations: int, path: str, times: int) -> Timed:
    """Start a server, and time requests of one kind."""
    with serving(folder, locations) as (address, process), requests.Session() as session:
        cold, status, sent = _ask(session, address + path)
        time.sleep(2)  # values that are looked up meanwhile are there then
        warm = [_ask(session, address + path)[0] for _ in range(times)]
        with moving(folder, locations):
            shaken = []
            for _ in range(times):
                shaken.append(_ask(session, address + path)[0])
                time.sleep(0.2)
        resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        print(f"{path}: {resident / 1e6:.0f} MB resident", file=sys.stderr)
    return Timed(status, cold, (median(warm), max(warm)), (median(shaken), max(shaken)), sent)


def _ask(session: requests.Session, address: str) -> tuple[float, int, int]:
    began = time.perf_counter()
    answer = session.get(address, stream=True, timeout=60)
    body = answer.raw.read(decode_content=False)
    return (time.perf_counter() - began) * 1000, answer.status_code, len(body)


@contextmanager
def serving(folder: Path, locations: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve a folder; give the address and the process."""
    config = folder.with_name("config.yaml")
    config.write_text(json.dumps({"locations": list(range(1, locations + 1)), "web": {"port": 0}}))
    command = [sys.executable, str(ROOT / "dataset/monitor.py"), "--serve", "--config", str(config)]
    process = subprocess.Popen([*command, "--data-dir", str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        yield (process.stdout or sys.stdin).readline().split()[-1].rstrip("/"), process
    finally:
        process.terminate()
        process.wait()
        if process.stdout:
            process.stdout.close()


@contextmanager
def moving(folder: Path, locations: int) -> Iterator[None]:
    """Change the state and a location's file every second, as a run does."""
    end = threading.Event()

    def move() -> None:
        number = 0
        while not end.wait(1.0):
            number += 1
            write_state(folder, locations, datetime.now(UTC).replace(microsecond=number))
            write_rows(folder, number % locations + 1, datetime.now(UTC))

    mover = threading.Thread(target=move)
    mover.start()
    try:
        yield
    finally:
        end.set()
        mover.join()


def fill(folder: Path, locations: int) -> None:
    """Lay out a folder as a run leaves it, with a day of hourly rows for each location."""
    now = datetime.now(UTC).replace(microsecond=0)
    ids = range(1, locations + 1)
    with replacing(folder / "locations.json") as file:
        file.write(b"[\n" + b",\n".join(msgspec.json.encode(_location(key, now)) for key in ids) + b"\n]\n")
    write_state(folder, locations, now)
    place = tuple(LocationMetrics(key, f"Station {key}", "ok", 3, 0, 0, 0, None, (), ()) for key in ids)
    for hours in range(24, 0, -1):
        history.append(folder, _run(now - timedelta(hours=hours), place), now)
    for key in ids:
        write_rows(folder, key, now)


def write_state(folder: Path, locations: int, now: datetime) -> None:
    """Write `.state.json`."""
    states = {
        key: LocationState(now, now, None, {key * 10 + n: SensorState(watermark=now) for n in range(len(SENSORS))})
        for key in range(1, locations + 1)
    }
    with replacing(folder / ".state.json") as file:
        file.write(msgspec.json.encode({"version": 1, "consecutive_failures": 0, "locations": states}))


def write_rows(folder: Path, location_id: int, now: datetime) -> None:
    """Write a location's file."""
    last = now.replace(minute=0, second=0, microsecond=0)
    rows = [
        Measurement(
            location_id,
            location_id * 10 + place,
            number,
            parameter,
            units,
            float(location_id % 90 + hour),
            last - timedelta(hours=hour),
            f"{last - timedelta(hours=hour):%Y-%m-%dT%H:%M:%S+00:00}",
            3600,
            None,
            (),
            "api",
            now,
        )
        for hour in reversed(range(HOURS))
        for place, (parameter, (number, units)) in enumerate(SENSORS.items())
    ]
    # As a run does, but for the sync: ten thousand of those take minutes, and no reader sees them.
    path = folder / f"location_{location_id}.json"
    new = path.with_suffix(".new")
    new.write_bytes(b"[\n" + b",\n".join(map(msgspec.json.encode, rows)) + b"\n]\n")
    new.replace(path)


def _location(location_id: int, now: datetime) -> Location:
    sensors = tuple(
        Sensor(location_id * 10 + place, number, parameter, units, parameter.upper())
        for place, (parameter, (number, units)) in enumerate(SENSORS.items())
    )
    return Location(
        location_id,
        f"Station {location_id}",
        f"Town {location_id % 900}",
        "Asia/Kathmandu",
        "NP",
        "Nepal",
        round(-60 + location_id % 1200 / 10, 4),
        round(-170 + location_id % 3400 / 10, 4),
        "AirNow",
        "Somebody",
        is_mobile=False,
        is_monitor=True,
        licenses=(CC_BY,),
        sensors=sensors,
        datetime_first=now,
        datetime_last=now,
        fetched=now,
    )


def _run(started: datetime, places: tuple[LocationMetrics, ...]) -> RunMetrics:
    count = len(places)
    return RunMetrics(started, 60.0, 3 * count, 0, count, count, 0, 0, 10, 10, 0.5, 99.0, None, places)


if __name__ == "__main__":
    main()
