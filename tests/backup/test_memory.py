"""However large the folder, a backup and a restore take the memory of some pieces of it."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from openaq_pipeline.backup.restoring import restore
from openaq_pipeline.backup.writing import back_up
from openaq_pipeline.cli.restore_command import opened
from tests.backup.archives import NOW, lay_out
from tests.faults import disks
from tests.often import examples

MEGABYTE = 1 << 20
LARGE_BYTES = 24 * MEGABYTE
FEW, MANY = 200, examples(6000)
BYTES_EACH = 600
"""Its names and its lines while they are compressed: 10,000 locations are a few megabytes."""


def most(act: Callable[[], object]) -> int:
    """Return how many bytes Python had at once at most, more than before."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def backed_up(folder: Path) -> Path:
    target = folder.with_name(f"{folder.name}.tar.gz")
    with target.open("wb") as file:
        back_up(folder, file.write, NOW)
    return target


def put_back(archive: Path) -> Path:
    folder = archive.with_name(f"{archive.name}-back")
    with opened(str(archive)) as found:
        restore(found, folder)
    return folder


def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "data", {"locations.json": b"[]"})
    large = folder / "history/location_id=7/year=2024/measurements.parquet"
    large.parent.mkdir(parents=True)
    with large.open("wb") as file:
        for _ in range(LARGE_BYTES // MEGABYTE):
            file.write(os.urandom(MEGABYTE))
    assert most(lambda: backed_up(folder)) < 4 * MEGABYTE
    assert most(lambda: put_back(tmp_path / "data.tar.gz")) < 4 * MEGABYTE
    assert (tmp_path / "data.tar.gz-back" / large.relative_to(folder)).stat().st_size == LARGE_BYTES


def taken(folder: Path, locations: int) -> tuple[int, int]:
    """Return how many bytes a backup and a restore of so many locations take, of two files each."""
    ids = range(1, locations + 1)
    lay_out(folder, {f"location_{location_id}.json": b"[]\n" for location_id in ids})
    lay_out(folder, {f".sealed/location_{location_id}.json": b"{}\n" for location_id in ids})
    return most(lambda: backed_up(folder)), most(lambda: put_back(folder.with_name(f"{folder.name}.tar.gz")))


def test_a_location_more_takes_hardly_more_than_its_line_in_the_list(tmp_path: Path) -> None:
    with disks.room(tmp_path) as place:
        taken(place / "first", 1)  # what is loaded once is no location's
        few, many = taken(place / "few", FEW), taken(place / "many", MANY)
    for one, other in zip(few, many, strict=True):
        assert other - one < 3 * MEGABYTE + BYTES_EACH * (MANY - FEW)
