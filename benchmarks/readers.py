"""What reads, each in a process of its own: `python -m benchmarks.readers KIND PLACE`; prints rows and seconds as JSON.

The seconds are of the second call: the first pays for what is imported and opened for the first time.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

DAILY_MEANS = "SELECT sensors_id, date_trunc('day', datetime) AS day, avg(value) AS mean FROM measurements GROUP BY ALL"


def files(pattern: str) -> int:
    """Return how many rows DuckDB, left to itself, finds in CSV files; it reads the value of each."""
    import duckdb  # noqa: PLC0415 - each process loads what it measures and nothing else

    found = duckdb.execute("SELECT count(*), sum(value) FROM read_csv($1)", [pattern]).fetchone()
    return int(found[0]) if found else 0


def query(folder: str) -> int:
    """Return how many daily means there are in a data folder."""
    from openaq_pipeline.reading.query import run  # noqa: PLC0415 - see above

    return run(Path(folder), DAILY_MEANS, lambda rows: int(rows.read_all().num_rows))


def load(folder: str) -> int:
    """Return how many rows there are in a data folder, all of them loaded."""
    from openaq_pipeline import load as load_rows  # noqa: PLC0415 - see above

    return int(load_rows(data_dir=folder).num_rows)


def main() -> None:
    """Read as the arguments say."""
    kind, place = sys.argv[1:]
    if kind == "files":
        print(json.dumps({"rows": files(place)}))
        return
    read: Callable[[str], int] = {"query": query, "load": load}[kind]
    read(place)
    began = time.perf_counter()
    rows = read(place)
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
