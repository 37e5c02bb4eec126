"""What the daemon costs while it waits: resident memory, and CPU seconds over thirty idle ones."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import running
from openaq_pipeline.simulator.worlds import named

SCHEDULER = Path(__file__).resolve().parents[1] / "dataset" / "scheduler.py"
START_SECONDS = 30.0
IDLE_SECONDS = 30.0


class Idle(NamedTuple):
    """What a waiting daemon occupies and uses."""

    resident_bytes: int
    cpu_seconds: float
    seconds: float


def measure(seconds: float = IDLE_SECONDS) -> Idle:
    """Return the figures of a daemon that has done one run and waits for the next, two hours away."""
    with (
        tempfile.TemporaryDirectory() as name,
        running(named.bench(locations=1, sensors=1, days=2), options=Options(requests_per_minute=0)) as simulator,
    ):
        folder = Path(name)
        ids = [station.id for station in simulator.world.stations]
        settings = {"locations": ids, "api": {"base_url": simulator.base_url}, "data": {"initial_days": 1}}
        (folder / "config.yaml").write_text(json.dumps(settings))
        with _daemon(folder) as process:
            _wait_until_idle(folder / "log")
            before = _cpu_seconds(process.pid)
            time.sleep(seconds)
            idle = Idle(_resident_bytes(process.pid), _cpu_seconds(process.pid) - before, seconds)
            process.send_signal(signal.SIGTERM)
            process.wait(START_SECONDS)
    return idle


def _daemon(folder: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "OPENAQ_API_KEY": "benchmark", "XDG_STATE_HOME": str(folder)}
    flags = ["--interval", "2", "--config", str(folder / "config.yaml"), "--data-dir", str(folder / "data")]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen([sys.executable, str(SCHEDULER), *flags], env=env, stderr=log, stdin=subprocess.DEVNULL)


def _wait_until_idle(log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not re.search("The next run is due at", log.read_text()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the daemon did not come to rest: {log.read_text()}")
        time.sleep(0.1)


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_seconds(pid: int) -> float:
    """Return what the process itself has used, without the runs it has started, in steps of 0.01 s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the row of the benchmark table."""
    idle = measure()
    print(
        f"idle daemon: {idle.resident_bytes / 1e6:.0f} MB resident (promised: under 80), "
        f"{idle.cpu_seconds:.2f} CPU s in {idle.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
