"""`python -m benchmarks.layouts`: what it costs to keep the Parquet history in folders of one kind or another.

Three worlds, each written in every layout by the same code: ten locations in full; in full, the 98 of 25,000 locations
that would share a bucket; and 25,000 locations with a row a day instead of 24, two sensors instead of five and one year
instead of three, because there the number of files is what counts. And one file, written in several ways. CPU seconds
are of this process, with all its threads and the kernel's work for it. Decision record 0013 has the figures. In full
it takes some twenty minutes and 1.3 GB in the temporary folder, most of both for the 300,000 files of one layout.
"""
# ruff: noqa: S608 - the only values in the questions are the numbers and folders of this file

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.world import KEY, Cell, Month, World, ordered
from openaq_pipeline.columns import HISTORY, NAME
from openaq_pipeline.files import replacing

BUCKETS = 256
LAYOUTS = {
    "(a) location, year, month": "location_id={location}/year={year}/month={month}/measurements.parquet",
    "(b) location, year": "location_id={location}/year={year}/measurements.parquet",
    "(c) year, month, bucket": "year={year}/month={month}/bucket-{bucket}.parquet",
    "(d) location": "location_id={location}/measurements.parquet",
}
DELTAS = {"datetime": "DELTA_BINARY_PACKED", "first_seen": "DELTA_BINARY_PACKED", "datetime_local": "DELTA_BYTE_ARRAY"}

TEXTS = [field.name for field in HISTORY if field.type == NAME]


def place(template: str, location: object, year: object, month: object) -> str:
    """Return the path of the file that holds a location's month; "*" stands for any."""
    bucket = location % BUCKETS if isinstance(location, int) else location
    return template.format(location=location, bucket=bucket, year=year, month=month)


def files_of(world: World, template: str, months: Sequence[Month]) -> dict[str, list[Cell]]:
    """Return for each file of a layout which locations and months it holds."""
    found: dict[str, list[Cell]] = {}
    for location in world.ids:
        for month in months:
            found.setdefault(place(template, location, *month), []).append((location, month))
    return found


def table_of(world: World, template: str, cells: Sequence[Cell]) -> pa.Table:
    """Return rows as a file of a layout holds them: sorted, with their location where the path does not tell."""
    tables = []
    for location, month in cells:
        rows = world.month(location, month)
        if "bucket" in template:
            rows = rows.add_column(0, "location_id", pa.repeat(pa.scalar(location), len(rows)))
        tables.append(rows)
    return ordered(pa.concat_tables(tables))


class Cost(NamedTuple):
    """CPU and wall seconds."""

    cpu: float
    wall: float


def cost(action: Callable[[], object]) -> Cost:
    """Return what an action takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def middle(costs: Iterable[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum of each figure."""
    return Cost(*(sum(column) for column in zip(*costs, strict=True)))


def write(table: pa.Table, path: object, **how: Any) -> None:
    """Write as `storage.history` does, but for what `how` says."""
    usual = {"compression": "zstd", "compression_level": 3, "store_schema": False, "write_page_checksum": True}
    pq.write_table(table, path, **{**usual, **how})


def build(world: World, root: Path, template: str) -> None:
    """Write all months but the last, without waiting for the disk."""
    for name, cells in files_of(world, template, world.months[:-1]).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(table_of(world, template, cells), path)


def merge(path: Path, new: pa.Table) -> None:
    """Bring rows into a file, durably: all of it is read, and replaced by itself and the new rows."""
    table = new
    if path.exists():
        with pq.ParquetFile(path, read_dictionary=TEXTS, page_checksum_verification=True) as file:
            table = ordered(pa.concat_tables([file.read(use_threads=False).cast(new.schema), new]))
        again = [pc.equal(table[name].slice(1), table[name].slice(0, len(table) - 1)) for name in KEY]
        table = table.filter(pa.chunked_array([*pc.invert(pc.and_(*again)).chunks, pa.array([True])]))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        write(table, file)


def seal(world: World, root: Path, template: str) -> Cost:
    """Bring the last month of all locations in, and return what that takes, making up the rows not included."""
    found = files_of(world, template, world.months[-1:]).items()
    return total(cost(partial(merge, root / name, table_of(world, template, cells))) for name, cells in found)


def late_row(world: World, root: Path, template: str) -> Cost:
    """Return the median of bringing one row of one location into an old month, over twenty locations."""
    month = world.months[3]
    return middle(
        cost(
            partial(
                merge, root / place(template, location, *month), table_of(world, template, [(location, month)])[5:6]
            )
        )
        for location in world.ids[:20]
    )


def questions(world: World, root: Path, template: str) -> dict[str, str]:
    """Return what is asked of a layout, in DuckDB's SQL; "by path" is by a reader that knows the layout."""
    location, (year, month) = world.ids[3], world.months[-6]
    everything, one = (f"read_parquet('{root}/{place(template, which, '*', '*')}')" for which in ("*", location))
    known = [f"{name} = {value}" for name, value in (("year", year), ("month", month)) if f"{{{name}}}" in template]
    first, end = (f"TIMESTAMPTZ '{year}-{number:02}-01 00:00:00Z'" for number in (month, month + 1))
    in_month = " AND ".join([f"datetime >= {first} AND datetime < {end}", *known])
    daily = "SELECT sensors_id, date_trunc('day', datetime) AS day, avg(value) AS mean"
    sensor = f"WHERE location_id = {location} AND sensors_id = {location * 100} GROUP BY ALL"
    return {
        "sensor by path": f"{daily} FROM {one} {sensor}",
        "sensor by filter": f"{daily} FROM {everything} {sensor}",
        "daily means of all": f"SELECT sum(mean) FROM ({daily} FROM {everything} GROUP BY ALL)",
        "month of all": f"SELECT location_id, avg(value) FROM {everything} WHERE {in_month} GROUP BY ALL",
        "list": f"SELECT count(*) FROM glob('{root}/{place(template, '*', '*', '*')}')",
        "open all": f"SELECT count(*) FROM {everything}",
    }


def compare(title: str, world: World, *, times: int) -> None:
    """Print a table of all layouts of one world."""
    print(f"\n{title}: {len(world.ids):,} locations, {world.rows:,} rows\n")
    head = ["layout", "files", "MB on disk", "bytes a row", "seal CPU s (wall)", "late row CPU ms"]
    head += questions(world, Path(), "")
    print(f"| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}")
    for name, template in LAYOUTS.items():
        with tempfile.TemporaryDirectory(prefix="layouts-") as folder:
            print(f"| {name} | {' | '.join(_figures(world, Path(folder), template, times))} |", flush=True)


def _figures(world: World, root: Path, template: str, times: int) -> Iterator[str]:
    build(world, root, template)
    sealed, late = seal(world, root, template), late_row(world, root, template)
    found = [path.stat() for path in root.rglob("*.parquet")]
    yield f"{len(found):,}"
    yield f"{sum(stat.st_blocks for stat in found) * 512 / 1e6:,.1f}"
    yield f"{sum(stat.st_size for stat in found) / world.rows:.1f}"
    yield f"{sealed.cpu:.2f} ({sealed.wall:.1f})"
    yield f"{late.cpu * 1000:.0f}"
    with _duckdb() as connection:
        for sql in questions(world, root, template).values():
            yield f"{middle(cost(partial(_ask, connection, sql)) for _ in range(times)).cpu:.3f}"


def _duckdb() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _ask(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    if not connection.execute(sql).fetchall():
        raise RuntimeError(f"nothing found by {sql}")


def one_file(world: World, times: int) -> None:
    """Print a table of the ways to write one location's year."""
    table = ordered(pa.concat_tables([world.month(world.ids[0], month) for month in world.months[:12]]))
    by_time = ordered(table, ("datetime", "sensors_id"))
    deltas = {"column_encoding": DELTAS, "use_dictionary": [name for name in HISTORY.names if name not in DELTAS]}
    both = (("by sensor", table), ("by time", by_time))
    ways: dict[str, tuple[pa.Table, dict[str, Any]]] = {
        **{f"{name}, zstd {n}": (rows, {"compression_level": n}) for name, rows in both for n in (1, 3, 9)},
        **{f"by sensor, groups of {n:,} rows": (table, {"row_group_size": n}) for n in (1000, 8760)},
        **{f"{name}, deltas": (rows, deltas) for name, rows in both},
    }
    print(f"\nOne file: a location's year, {len(table):,} rows; CPU milliseconds\n")
    print("| written | bytes | bytes a row | write | read | one sensor | daily means |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, (rows, how) in ways.items():
        print(f"| {name} | {' | '.join(_file_figures(rows, how, times))} |", flush=True)


def _file_figures(rows: pa.Table, how: dict[str, Any], times: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="layouts-") as folder, _duckdb() as connection:
        path = Path(folder) / "measurements.parquet"
        sensor = f"SELECT sum(value), max(datetime_local) FROM '{path}' WHERE sensors_id = {rows[KEY[0]][0]}"
        daily = f"SELECT sensors_id, date_trunc('day', datetime) AS day, avg(value) FROM '{path}' GROUP BY ALL"
        written = middle(cost(partial(write, rows, path, **how)) for _ in range(times))
        read = middle(cost(partial(pq.read_table, path, read_dictionary=TEXTS)) for _ in range(times))
        asked = [middle(cost(partial(_ask, connection, sql)) for _ in range(times)) for sql in (sensor, daily)]
        yield from (f"{path.stat().st_size:,}", f"{path.stat().st_size / len(rows):.1f}")
        yield from (f"{found.cpu * 1000:.1f}" for found in (written, read, *asked))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layouts", description=__doc__)
    parser.add_argument("--locations", type=int, default=25_000, help="of the largest world (default: 25,000)")
    parser.add_argument("--quick", action="store_true", help="500 locations in the largest world, no full bucket")
    flags = parser.parse_args()
    many = range(1, (500 if flags.quick else flags.locations) + 1)
    years = (2023, 2024, 2025)
    versions = f"Python {platform.python_version()}, pyarrow {pa.__version__}, DuckDB {duckdb.__version__}"
    print(f"{versions}, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}")
    print("Questions in CPU seconds. Sealed is the last December.")
    ten = World(range(1, 11), years=years, sensors=5, every_hours=1)
    one_file(ten, 5 if flags.quick else 21)
    compare("Ten, in full", ten, times=3)
    if not flags.quick:
        ids = range(7, 25_000, BUCKETS)
        compare("One bucket of 25,000, in full", World(ids, years=years, sensors=5, every_hours=1), times=1)
    compare(
        "Many, one year, two sensors, a row a day", World(many, years=years[-1:], sensors=2, every_hours=24), times=1
    )


if __name__ == "__main__":
    main()
