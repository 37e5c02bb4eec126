"""What reads, each in a process of its own: `python -m benchmarks.readers KIND PLACE`; prints rows and seconds as JSON.

The seconds are of the second call: the first pays for what is imported and opened for the first time. What is no table
gives something else to count in the place of rows.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

MOST_POINTS = 2000

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


def series(folder: str) -> int:
    """Return how many bytes the first location's series are as a page draws them, of all that is kept."""
    from openaq_pipeline.reading.folder import live_locations  # noqa: PLC0415 - see above
    from openaq_pipeline.reading.moments import window  # noqa: PLC0415
    from openaq_pipeline.reading.series import series as drawn  # noqa: PLC0415

    place = Path(folder)
    found = drawn(place, live_locations(place)[0], window(None, None), most_points=MOST_POINTS)
    return len(msgspec.json.encode(found))


def rows_as_json(folder: str) -> int:
    """Return how many bytes the first location's rows are as JSON, all of them: what is drawn without a server."""
    from openaq_pipeline.columns import HISTORY, to_rows  # noqa: PLC0415 - see above
    from openaq_pipeline.reading.folder import live_locations  # noqa: PLC0415
    from openaq_pipeline.reading.location import Selection, read  # noqa: PLC0415
    from openaq_pipeline.reading.moments import window  # noqa: PLC0415

    place = Path(folder)
    location_id = live_locations(place)[0]
    table = read(place, location_id, Selection(window(None, None)))
    return len(msgspec.json.encode(to_rows(location_id, table.select(HISTORY.names))))


def latest(folder: str) -> int:
    """Return how many sensors there are, each with its last value, its last day and its index."""
    from openaq_pipeline.reading.folder import live_locations  # noqa: PLC0415 - see above
    from openaq_pipeline.reading.latest import latest as last  # noqa: PLC0415

    place, now = Path(folder), datetime.now(UTC)
    return sum(len(last(place, location_id, now)) for location_id in live_locations(place))


def calendar(folder: str) -> int:
    """Return how many sensor-days a year of the first location's calendar has."""
    from openaq_pipeline.reading.folder import live_locations  # noqa: PLC0415 - see above
    from openaq_pipeline.settings import Settings  # noqa: PLC0415
    from openaq_pipeline.web.calendar import calendar as days  # noqa: PLC0415

    place = Path(folder)
    found = days(Settings(data_dir=place), live_locations(place)[0], datetime.now(UTC), days=365)
    return sum(len(each.kinds) for each in found.sensors)


READERS: dict[str, Callable[[str], int]] = {
    "query": query,
    "load": load,
    "series": series,
    "rows": rows_as_json,
    "latest": latest,
    "calendar": calendar,
}


def main() -> None:
    """Read as the arguments say."""
    kind, place = sys.argv[1:]
    if kind == "files":
        print(json.dumps({"rows": files(place)}))
        return
    read = READERS[kind]
    read(place)
    began = time.perf_counter()
    rows = read(place)
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
