"""What is known of the locations, on disk and in the twin in memory."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from openaq_pipeline.bounded import whole
from openaq_pipeline.errors import StorageError
from openaq_pipeline.locks import hold_descriptions
from openaq_pipeline.model import License, Location, Sensor
from openaq_pipeline.ports import MetadataStore
from openaq_pipeline.storage import metadata
from openaq_pipeline.storage.metadata import SAVE_EVERY_SECONDS, Metadata
from tests.measurements import described
from tests.memory import MemoryMetadata
from tests.storage.rows import ID, NOW, hour, names


def location(location_id: int = ID, fetched: datetime = NOW, name: str | None = "Kathmandu · काठमाडौं") -> Location:
    return described(
        location_id,
        name=name,
        fetched=fetched,
        licenses=[License(33, "US Public Domain", "EPA", None, "2016-01-30", None)],
        sensors=[Sensor(1, 2, "pm25", "µg/m³", "PM2.5"), Sensor(2, 10, "o3", "ppm")],
        datetime_first=hour(0),
    )


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MetadataStore:
    return Metadata(tmp_path) if request.param == "disk" else MemoryMetadata()


def test_nothing_is_known_of_an_unknown_location(store: MetadataStore) -> None:
    assert store.get(ID) is None
    assert not store.is_fresh(ID, NOW)


def test_what_was_put_is_known_and_the_last_one_counts(store: MetadataStore) -> None:
    store.put(location(name="old"))
    store.put(location())
    store.put(location(8))
    assert store.get(ID) == location()
    assert store.get(8) == location(8)


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(0), True),
        (timedelta(hours=24) - timedelta(seconds=1), True),
        (timedelta(hours=24), False),
        (timedelta(days=400), False),
        (-timedelta(seconds=1), False),
    ],
)
def test_a_location_is_fresh_for_a_day_and_never_when_asked_in_the_future(
    store: MetadataStore, age: timedelta, *, fresh: bool
) -> None:
    store.put(location())
    assert store.is_fresh(ID, NOW + age) is fresh


# --- on disk only ---


def saved(folder: Path, *known: Location) -> Path:
    store = Metadata(folder)
    for one in known:
        store.put(one)
    store.save()
    return folder / "locations.json"


def test_a_new_start_knows_what_was_saved(tmp_path: Path) -> None:
    saved(tmp_path, location(9), location(ID))
    again = Metadata(tmp_path)
    assert again.load(NOW) is None
    assert (again.get(ID), again.get(9)) == (location(ID), location(9))


def test_what_was_not_saved_is_asked_again(tmp_path: Path) -> None:
    Metadata(tmp_path).put(location())
    again = Metadata(tmp_path)
    assert again.load(NOW) is None
    assert again.get(ID) is None


def test_the_file_is_json_with_one_location_a_line_in_the_order_of_ids(tmp_path: Path) -> None:
    path = saved(tmp_path, location(9), location(ID))
    lines = path.read_text().splitlines()
    assert [lines[0], lines[-1]] == ["[", "]"]
    assert [json.loads(line.removesuffix(","))["id"] for line in lines[1:-1]] == [ID, 9]
    assert json.loads(path.read_text())[0]["licenses"][0]["attribution_name"] == "EPA"
    assert names(tmp_path) == {"locations.json"}


def test_saving_what_has_not_changed_writes_nothing(tmp_path: Path) -> None:
    store = Metadata(tmp_path)
    store.save()
    assert names(tmp_path) == set()
    store.put(location())
    store.save()
    before = (tmp_path / "locations.json").stat()
    store.save()
    assert (tmp_path / "locations.json").stat() == before


def test_a_save_adds_to_what_was_loaded(tmp_path: Path) -> None:
    saved(tmp_path, location(9))
    store = Metadata(tmp_path)
    store.load(NOW)
    store.put(location(ID))
    store.save()
    assert [entry["id"] for entry in json.loads((tmp_path / "locations.json").read_text())] == [ID, 9]


def test_a_save_that_failed_is_made_up_for(tmp_path: Path) -> None:
    store = Metadata(tmp_path / "folder")
    store.put(location())
    with pytest.raises(StorageError):
        store.save()
    (tmp_path / "folder").mkdir()
    store.save()
    assert (tmp_path / "folder" / "locations.json").exists()


def test_two_who_write_lose_nothing_of_each_other(tmp_path: Path) -> None:
    saved(tmp_path, location(9, name="old"))
    poller, backfill = Metadata(tmp_path), Metadata(tmp_path)
    for store in (poller, backfill):
        store.load(NOW)
    backfill.put(location(9, name="new"))
    backfill.put(location(ID))
    backfill.save()
    poller.put(location(8))
    poller.save()
    again = Metadata(tmp_path)
    again.load(NOW)
    assert again.all() == poller.all() == [location(ID), location(8), location(9, name="new")]


def test_what_one_has_asked_itself_counts_more_than_what_another_wrote_meanwhile(tmp_path: Path) -> None:
    mine, other = Metadata(tmp_path), Metadata(tmp_path)
    mine.put(location(name="mine"))
    other.put(location(name="of another"))
    other.save()
    mine.save()
    assert [one.name for one in mine.all()] == ["mine"]
    assert json.loads((tmp_path / "locations.json").read_text())[0]["name"] == "mine"


def test_what_was_asked_for_a_while_is_saved_on_the_way(tmp_path: Path) -> None:
    seconds = [1000.0]
    store = Metadata(tmp_path, clock=lambda: seconds[0])
    store.load(NOW)
    store.put(location(8))
    assert names(tmp_path) == set()
    seconds[0] += SAVE_EVERY_SECONDS
    store.put(location(ID))
    store.put(location(9))
    again = Metadata(tmp_path)
    again.load(NOW)
    assert again.all() == [location(ID), location(8)]


def test_one_who_only_looks_saves_nothing_on_the_way(tmp_path: Path) -> None:
    seconds = [1000.0]
    store = Metadata(tmp_path, clock=lambda: seconds[0])
    store.load(NOW, repair=False)
    seconds[0] += SAVE_EVERY_SECONDS
    store.put(location())
    assert names(tmp_path) == set()


def test_a_disk_that_refuses_on_the_way_is_told_at_the_end(tmp_path: Path) -> None:
    seconds = [1000.0]
    store = Metadata(tmp_path / "folder", clock=lambda: seconds[0])
    (tmp_path / "folder").mkdir()
    store.load(NOW)
    shutil.rmtree(tmp_path / "folder")
    seconds[0] += SAVE_EVERY_SECONDS
    store.put(location())
    assert store.get(ID) == location()
    with pytest.raises(StorageError):
        store.save()


def test_only_a_file_that_another_has_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, location(9))
    store, other, read = Metadata(tmp_path), Metadata(tmp_path), list[Path]()
    store.load(NOW)
    other.load(NOW)

    def counted(path: Path, most_bytes: int) -> bytes:
        read.append(path)
        return whole(path, most_bytes)

    monkeypatch.setattr(metadata, "whole", counted)
    for number in (1, 2):
        store.put(location(number))
        store.save()
    assert read == []
    other.put(location(3))
    other.save()
    assert len(read) == 1
    assert [one.id for one in other.all()] == [1, 2, 3, 9]


def test_what_many_locations_have_in_common_is_in_memory_once(tmp_path: Path) -> None:
    saved(tmp_path, location(8), location(9))
    store = Metadata(tmp_path)
    store.load(NOW)
    one, other = store.all()
    assert (one, other) == (location(8), location(9))
    assert one.licenses is other.licenses
    assert one.country_name is other.country_name
    assert one.sensors[0].parameter is other.sensors[0].parameter


def test_a_start_leaves_alone_what_another_is_writing(tmp_path: Path) -> None:
    temporary = tmp_path / ".locations.json.tmp"
    with ThreadPoolExecutor(1) as pool:
        with hold_descriptions(tmp_path):
            temporary.write_bytes(b"half")
            start = pool.submit(Metadata(tmp_path).load, NOW)
            assert not wait([start], timeout=0.2).done
            assert temporary.exists()
        assert start.result() is None


GOOD = msgspec.json.encode([location()])
BAD = {
    "empty": b"",
    "half": GOOD[:100],
    "NULs": b"\0" * 100,
    "an object": b"{}",
    "null": b"null",
    "no UTF-8": GOOD.replace(b"Nepal", b"Nep\xffl"),
    "nested without end": b"[" * 100_000,
    "a location without an id": b'[{"name": "x"}]',
    "fetched without a zone": GOOD.replace(b'"fetched":"2026-11-01T12:00:00Z"', b'"fetched":"2026-11-01T12:00:00"'),
    "a sensor in words": GOOD.replace(b'"parameters_id":2', b'"parameters_id":"two"'),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_file_is_set_aside_and_counts_as_none(tmp_path: Path, name: str) -> None:
    assert BAD[name] != GOOD
    path = tmp_path / "locations.json"
    path.write_bytes(BAD[name])
    store = Metadata(tmp_path)
    assert "was damaged and set aside as locations.json.damaged-20261101T120000Z" in (store.load(NOW) or "")
    assert store.get(ID) is None
    assert (tmp_path / "locations.json.damaged-20261101T120000Z").read_bytes() == BAD[name]
    saved(tmp_path, location())
    assert Metadata(tmp_path).load(NOW) is None


@pytest.mark.parametrize("name", BAD)
def test_one_who_only_looks_moves_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "locations.json").write_bytes(BAD[name])
    (tmp_path / ".locations.json.tmp").write_bytes(b"somebody is writing")
    assert "is damaged" in (Metadata(tmp_path).load(NOW, repair=False) or "")
    assert names(tmp_path) == {"locations.json", ".locations.json.tmp"}


def test_a_start_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    (tmp_path / ".locations.json.tmp").write_bytes(b"half")
    assert Metadata(tmp_path).load(NOW) is None
    assert names(tmp_path) == set()


def test_what_the_disk_refuses_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "locations.json").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        Metadata(tmp_path).load(NOW)
