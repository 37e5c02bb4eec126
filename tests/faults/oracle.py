"""The oracle that every fault test ends in. It reads the files itself, so that a bug of the program's readers shows.

| | invariant |
| --- | --- |
| I1 | every file is whole: `verify` finds no error |
| I2 | no watermark is later than the last stored row of its sensor |
| I3 | every row that was acknowledged is stored |
| I4 | no row is stored twice |
| I5 | the content is that of a run without the fault |
| I6 | no temporary file is left after the restart |
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from openaq_pipeline.verify import verify

Row = dict[str, Any]


class Place(NamedTuple):
    """What makes a row one and the same in a data folder."""

    location_id: int
    sensors_id: int
    datetime: datetime


Content = dict[Place, Row]


def content(folder: Path) -> Content:
    """Return the rows of a data folder as a user counts them, without when they were first seen.

    Raises `AssertionError` (I4) for a row that is there twice, and whatever reading raises for a file not whole.
    """
    found: Content = {}
    for location_id in locations(folder):
        for row in rows(folder, location_id):
            place = Place(location_id, row["sensors_id"], _moment(row["datetime"]))
            assert place not in found, f"I4: twice in {folder}: {place}"
            assert row["location_id"] == location_id, f"I1: row of another location in {folder}: {place}"
            found[place] = {key: value for key, value in row.items() if key not in {"first_seen", "datetime"}}
    return found


def locations(folder: Path) -> list[int]:
    """Return the ids of the locations that have rows or could have: by their files and their histories."""
    files = (path.stem.removeprefix("location_") for path in folder.glob("location_*.json"))
    histories = (path.name.removeprefix("location_id=") for path in (folder / "history").glob("location_id=*"))
    return sorted({int(name) for name in (*files, *histories)})


def rows(folder: Path, location_id: int) -> Iterator[Row]:
    """Yield the rows of a location that count: before the seal those in its history, else those in its file."""
    sealed = _sealed_to(folder, location_id)
    if sealed is not None:
        for path in sorted((folder / "history" / f"location_id={location_id}").glob("year=*/measurements.parquet")):
            yield from (
                {"location_id": location_id, **row}
                for row in pq.ParquetFile(path).read(use_threads=False).to_pylist()
                if _moment(row["datetime"]) < sealed
            )
    path = folder / f"location_{location_id}.json"
    for row in json.loads(path.read_bytes()) if path.exists() else []:
        if sealed is None or _moment(row["datetime"]) >= sealed:
            yield row


def _sealed_to(folder: Path, location_id: int) -> datetime | None:
    path = folder / ".sealed" / f"location_{location_id}.json"
    return _moment(json.loads(path.read_bytes())["sealed_to"]) if path.exists() else None


def _moment(stamp: str | datetime) -> datetime:
    found = datetime.fromisoformat(stamp) if isinstance(stamp, str) else stamp
    return found.replace(tzinfo=found.tzinfo or UTC)


def check(
    folder: Path,
    *,
    held: Collection[Place] = (),
    expected: Mapping[Place, Row] | None = None,
    restarted: bool = False,
    owed: bool = False,
) -> Content:
    """Return the content of a data folder; raises `AssertionError` that names the invariant which does not hold.

    `held` are the rows acknowledged before the fault, `expected` is the content of a run without it (None: not
    compared), and `restarted` says that a run has come through since, so that nothing temporary may be left. `owed`: a
    repair has still to fetch rows, which `verify` tells as an error.
    """
    if (folder / "locations.json").exists() or any(folder.glob("*location_*.json")):
        ignored = {"unfinished_repair", "missing_year"} if owed else set()
        found = verify(folder).findings
        wrong = [each for each in found if each.severity == "error" and each.rule not in ignored]
        assert not wrong, f"I1: {wrong}"
    there = content(folder)
    check_watermarks(folder, there)
    lost = sorted(set(held) - there.keys())
    assert not lost, f"I3: {len(lost)} acknowledged rows are lost, first {lost[0]}"
    if expected is not None:
        check_same(there, expected)
    if restarted:
        left = temporaries(folder)
        assert not left, f"I6: left behind: {left}"
    return there


def check_watermarks(folder: Path, found: Content) -> None:
    """Raise `AssertionError` (I2) if the state names a watermark later than the sensor's last stored row."""
    path = folder / ".state.json"
    if not path.exists():
        return
    latest: dict[tuple[int, int], datetime] = {}
    for place in found:
        sensor = place.location_id, place.sensors_id
        latest[sensor] = max(place.datetime, latest.get(sensor, place.datetime))
    for location_id, state in json.loads(path.read_bytes())["locations"].items():
        for sensors_id, sensor in state["sensors"].items():
            if watermark := sensor["watermark"]:
                stored = latest.get((int(location_id), int(sensors_id)))
                assert stored is not None, f"I2: sensor {sensors_id} has a watermark {watermark} and no row"
                assert _moment(watermark) <= stored, f"I2: sensor {sensors_id}: {watermark} is later than {stored}"


def check_same(found: Content, expected: Mapping[Place, Row]) -> None:
    """Raise `AssertionError` (I5) if two contents differ."""
    missing, more = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    assert not missing, f"I5: {len(missing)} rows are missing, first {missing[0]}"
    assert not more, f"I5: {len(more)} rows too many, first {more[0]}"
    other = [place for place in sorted(expected) if expected[place] != found[place]]
    assert not other, f"I5: {len(other)} rows differ, first {other[0]}: {found[other[0]]} not {expected[other[0]]}"


def temporaries(folder: Path) -> list[str]:
    """Return the temporary files in a data folder."""
    found = (*folder.rglob(".*.tmp"), *folder.rglob(".probe*"))
    return sorted(path.relative_to(folder).as_posix() for path in found)
