"""What a whole process takes, start-up included, as the operating system accounts for it when the process ends.

Linux counts what the parent occupies at the moment of the start into the peak of the child. So nothing is started from
the benchmark itself, which may be large, but by a small program in between: this file, run as a script.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Cost(NamedTuple):
    """Seconds of wall and CPU time, peak memory, and what was written to files, both in millions of bytes.

    Written is all that was handed to `write`, stdout and stderr aside: each rewriting of a file counts whole.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    written_mb: float


def run(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, accept: Container[int] = (0,)
) -> tuple[bytes, Cost]:
    """Return what a command wrote to stdout, and what it took; raises `SystemExit` for an exit code not accepted."""
    inside = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "dataset"))), **(environment or {})}
    inside.pop("PYTHONDONTWRITEBYTECODE", None)  # what was compiled once stays compiled, as it does for a user
    between = [sys.executable, "-I", "-S", __file__, *command]
    done = subprocess.run(between, env=inside, capture_output=True, check=False)
    output, _, figures = done.stdout.rpartition(b"\0")
    if done.returncode not in accept:
        said = done.stderr.decode(errors="replace").strip()
        raise SystemExit(f"{' '.join(command)} failed with exit code {done.returncode}: {said}")
    cost = Cost(*json.loads(figures))
    return output, cost._replace(written_mb=cost.written_mb - (len(output) + len(done.stderr)) / 1e6)


def middle(costs: Iterable[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(*(median(column) for column in zip(*costs, strict=True)))


def _between(command: Sequence[str]) -> int:
    """Run a command, and write a zero byte and its `Cost` behind what it writes; return its exit code."""
    began, written = time.monotonic(), _written()
    process = os.posix_spawnp(command[0], list(command), os.environ)
    _, status, usage = os.wait4(process, 0)
    seconds, peak_bytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    cost = Cost(time.monotonic() - began, seconds, peak_bytes / 1e6, (_written() - written) / 1e6)
    sys.stdout.write("\0" + json.dumps(cost))
    return os.waitstatus_to_exitcode(status) & 0xFF


def _written() -> int:
    """Return how many bytes this process and its finished children have handed to `write`."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("wchar:")))


if __name__ == "__main__":
    sys.exit(_between(sys.argv[1:]))
