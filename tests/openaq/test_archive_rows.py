"""Many files of the archive as one table: which rows, which rejects, and that no file spoils another."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from openaq_pipeline.columns import HISTORY, to_rows
from openaq_pipeline.errors import StorageError, Unreachable
from openaq_pipeline.model import Measurement
from openaq_pipeline.openaq import archive_rows
from openaq_pipeline.openaq.archive_files import ArchiveFile
from openaq_pipeline.openaq.archive_lines import BadFile
from openaq_pipeline.openaq.archive_rows import ArchiveRows
from tests.archive_files import archive_csv, archive_path
from tests.conftest import ROOT
from tests.measurements import measurement
from tests.often import examples

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HEADER = "location_id,sensors_id,location,datetime,lat,lon,parameter,units,value\n"
LINE = '7,71,"Del Norte-7","{}T{:02d}:00:00-07:00",35.1353,-106.584702,"pm10","µg/m³",{}\n'
DAY = date(2023, 2, 22)

Read = Callable[..., ArchiveRows]


def line(hour: int, value: object = 4.5, day: date = DAY) -> str:
    return LINE.format(day, hour, value)


def good(hours: int = 3, day: date = DAY) -> str:
    """Return a file that holds `hours` rows."""
    return HEADER + "".join(line(hour, hour + 0.5, day) for hour in range(1, hours + 1))


def file_of(number: int) -> ArchiveFile:
    day = DAY + timedelta(days=number)
    return ArchiveFile(day, archive_path(7, day), 1, NOW)


def packed(content: str | bytes) -> bytes:
    return gzip.compress(content.encode() if isinstance(content, str) else content, mtime=0)  # one name for each test


def read_into(folder: Path, *contents: str | bytes) -> ArchiveRows:
    """Read files of location 7, a day each; text is packed, bytes are the file as it is."""
    files = [(file_of(number), packed(each) if isinstance(each, str) else each) for number, each in enumerate(contents)]
    with archive_rows.connect(folder) as database:
        return archive_rows.read(files, location_id=7, now=NOW, folder=folder, database=database)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return lambda *contents: read_into(tmp_path, *contents)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for tests with many examples."""
    return tmp_path_factory.mktemp("shelf")


def stamps(found: ArchiveRows) -> list[str]:
    column: list[str] = found.table["datetime_local"].to_pylist()
    return column


# Rows ----------------------------------------------------------------------------------------------------------


def test_a_line_becomes_a_row_with_what_the_archive_knows(read: Read) -> None:
    found = read(HEADER + line(1))
    assert to_rows(7, found.table) == [
        Measurement(
            location_id=7,
            sensors_id=71,
            parameters_id=None,
            parameter="pm10",
            units="µg/m³",
            value=4.5,
            datetime=datetime(2023, 2, 22, 8, tzinfo=UTC),
            datetime_local="2023-02-22T01:00:00-07:00",
            interval_seconds=None,
            has_flags=None,
            issues=(),
            source="archive",
            first_seen=NOW,
        )
    ]
    assert found.table.schema.equals(HISTORY)
    found.table.validate(full=True)
    assert (found.rejects, found.problems) == ([], [])


def test_an_empty_field_is_a_row_without_a_value(read: Read) -> None:
    assert read(HEADER + line(1, "") + line(2, '""')).table["value"].to_pylist() == [None, None]


def test_rows_are_sorted_by_sensor_and_then_by_time(read: Read) -> None:
    text = HEADER + line(3).replace(",71,", ",9,") + line(2) + line(1) + line(1).replace(",71,", ",9,")
    found = read(text).table
    assert list(zip(found["sensors_id"].to_pylist(), found["datetime"].to_pylist(), strict=True)) == [
        (9, datetime(2023, 2, 22, 8, tzinfo=UTC)),
        (9, datetime(2023, 2, 22, 10, tzinfo=UTC)),
        (71, datetime(2023, 2, 22, 8, tzinfo=UTC)),
        (71, datetime(2023, 2, 22, 9, tzinfo=UTC)),
    ]


def test_of_rows_with_the_same_key_the_last_one_holds(read: Read) -> None:
    same = line(1, 9.0).replace("T01:00:00-07:00", "T08:00:00Z")
    assert read(HEADER + line(1, 1.0) + line(1, 2.0) + line(2)).table["value"].to_pylist() == [2.0, 4.5]
    assert read(HEADER + line(1, 1.0) + line(2), HEADER + same).table["value"].to_pylist() == [9.0, 4.5]
    assert read(HEADER + same, HEADER + line(1, 1.0)).table["value"].to_pylist() == [1.0]


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("2023-02-23T00:00:00-07:00", datetime(2023, 2, 23, 7, tzinfo=UTC)),
        ("2023-02-22T01:00:00+05:45", datetime(2023, 2, 21, 19, 15, tzinfo=UTC)),
        ("2023-02-22T01:00:00+0545", datetime(2023, 2, 21, 19, 15, tzinfo=UTC)),
        ("2023-02-22 01:00:00+05", datetime(2023, 2, 21, 20, tzinfo=UTC)),
        ("2023-02-22T01:00Z", datetime(2023, 2, 22, 1, tzinfo=UTC)),
        ("2023-02-22T01:00:00.250Z", datetime(2023, 2, 22, 1, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_a_stamp_is_kept_as_written_and_in_utc(read: Read, written: str, utc: datetime) -> None:
    found = read(HEADER + line(1).replace("2023-02-22T01:00:00-07:00", written)).table
    assert (found["datetime"].to_pylist(), found["datetime_local"].to_pylist()) == ([utc], [written])


REORDERED = (
    'value,unit,parameter,lon,lat,datetime,location,sensor_id,location_id,extra\n4.5,"µg/m³",pm10,1,2,{},x,71,7,!\n'
)


@pytest.mark.parametrize(
    "text",
    [
        (HEADER + line(1)).replace("\n", "\r\n"),
        HEADER + line(1).removesuffix("\n"),
        HEADER + line(1).replace('"', ""),
        "\ufeff" + HEADER + line(1),
        '"' + HEADER.strip().replace(",", '","') + '"\r\n' + line(1),
        HEADER.replace("sensors_id", "sensor_id").replace("units", "unit") + line(1),
        REORDERED.format("2023-02-22T01:00:00-07:00"),
        HEADER + line(1).replace("Del Norte", "Del\nNorte"),
        HEADER + line(1).replace("Del Norte", 'Del "Norte", the'.replace('"', '""')),
        HEADER + "\n\n" + line(1) + "\n",
        HEADER + line(1).replace("Del Norte", "Del\0Norte"),
        HEADER + line(1).replace("Del Norte", "Del\rNorte"),
        HEADER.replace(",lat,lon", "") + line(1).replace(",35.1353,-106.584702", ""),
    ],
)
def test_the_same_rows_come_from_every_way_to_write_them(read: Read, text: str) -> None:
    assert read(text, good(day=DAY + timedelta(days=1))) == read(HEADER + line(1), good(day=DAY + timedelta(days=1)))


def test_files_may_be_written_differently_in_one_reading(read: Read) -> None:
    found = read(HEADER + line(2), REORDERED.format("2023-02-22T01:00:00-07:00"), HEADER, HEADER + line(3))
    assert [stamp[11:13] for stamp in stamps(found)] == ["01", "02", "03"]
    assert (found.rejects, found.problems) == ([], [])


@pytest.mark.parametrize("contents", [(), (HEADER,), (HEADER, HEADER.strip())])
def test_no_lines_are_no_rows(read: Read, contents: tuple[str, ...]) -> None:
    found = read(*contents)
    assert (found.table.num_rows, found.rejects, found.problems) == (0, [], [])
    assert found.table.schema.equals(HISTORY)


# Rejects -------------------------------------------------------------------------------------------------------

NO_MEASUREMENTS = {
    "offset": line(2).replace("-07:00", ""),
    "time": line(2).replace("2023-02-22T", "2023-02-30T"),
    "time ": line(2).replace("T02:", "T24:"),
    " time": line(2).replace("-07:00", "+25:00"),
    "time  ": line(2).replace("-07:00", " America/Denver"),
    "calendar": line(2).replace("2023-02-22T02", "0001-01-01T02").replace("-07", "+07"),
    "sensor": line(2).replace(",71,", ",,"),
    "sensor ": line(2).replace(",71,", ",71.5,"),
    " sensor": line(2).replace(",71,", ",0,"),
    "sensor  ": line(2).replace(",71,", ",-71,"),
    "parameter": line(2).replace('"pm10"', ""),
    "unit": line(2).replace('"µg/m³"', '""'),
    "location ": line(2).replace("7,71", "x,71"),
    " location": line(2).replace("7,71", '7",71'),
    "location": line(2).replace("7,71", ",71"),
    "number": line(2, "NaN"),
    "number ": line(2, "inf"),
    " number": line(2, "-Infinity"),
    "number  ": line(2, "1e999"),
    "  number": line(2, "4.5.6"),
    " number ": line(2, "1_000"),
    "number   ": line(2, '"4,5"'),
    "fields": line(2, "4,5"),
    "fields ": line(2).replace(",4.5", ""),
    " fields": "Internal error\n",
    "quotes": line(2).replace('Norte-7"', "Norte-7"),
    " quotes": line(2).replace('"2023', '"2023"'),
}


@pytest.mark.parametrize(("reason", "broken"), NO_MEASUREMENTS.items())
def test_a_line_that_is_no_measurement_is_rejected_and_the_others_kept(read: Read, reason: str, broken: str) -> None:
    found = read(HEADER + line(1) + broken + line(3), good(day=DAY + timedelta(days=1)))
    (reject,) = found.rejects
    assert reason.strip() in reject.reason
    assert reject.reason.startswith("A line of location-7-20230222.csv.gz is no measurement: ")
    assert found.table.num_rows == 5
    assert found.problems == []
    assert (reject.location_id, reject.seen) == (7, NOW)
    kept = json.loads(reject.row)
    for part in kept.values() if isinstance(kept, dict) else kept:
        assert (part or "").replace('"', "") in broken.replace('"', "")


def test_a_reject_says_what_the_line_held(read: Read) -> None:
    (reject,) = read(HEADER + line(1, "NaN")).rejects
    assert reject.sensors_id == 71
    assert json.loads(reject.row) == {
        "location_id": "7",
        "sensors_id": "71",
        "location": "Del Norte-7",
        "datetime": "2023-02-22T01:00:00-07:00",
        "lat": "35.1353",
        "lon": "-106.584702",
        "parameter": "pm10",
        "units": "µg/m³",
        "value": "NaN",
    }


@pytest.mark.parametrize(
    "broken",
    [
        line(2).replace('"Del Norte-7"', '"Del Norte-7'),
        line(2).replace('"pm10"', '"pm10'),
        line(2).replace('"µg/m³"', '"µg/m³'),
        line(2, '"4.5'),
        '"',
        '7,71,"Del',
    ],
)
def test_a_quote_that_is_not_closed_swallows_no_row_of_the_next_file(read: Read, broken: str) -> None:
    after = [good(5, DAY + timedelta(days=days)) for days in (1, 2)]
    found = read(HEADER + line(1) + broken, *after)
    assert found.table.num_rows == 11
    assert len(found.rejects) == 1
    assert found.problems == []


def test_two_quotes_that_fit_together_swallow_nothing_between_two_files(read: Read) -> None:
    opens = line(1).replace('"', "").replace("Del", '"Del')
    closes = line(3).replace('"', "").replace("Norte-7", 'Norte-7"')
    found = read(HEADER + opens, HEADER + line(2).replace('"', "") + closes)
    assert [stamp[11:13] for stamp in stamps(found)] == ["02", "03"]
    assert len(found.rejects) == 1


def test_a_field_too_many_is_not_taken_for_the_mark_of_its_file(read: Read) -> None:
    found = read(*(HEADER + line(1, f"14,{number}") for number in range(3)))
    assert (found.table.num_rows, len(found.rejects)) == (0, 3)


PIECES = st.sampled_from([*NO_MEASUREMENTS.values(), "\n", ",~0\n", '"\n', '""\n', 'x"\n', "\r\n", ",,,,,,,,\n"])


@settings(deadline=None, max_examples=examples(30))
@given(st.lists(st.lists(st.one_of(PIECES, st.integers(0, 23)), max_size=6), min_size=1, max_size=4))
def test_no_line_is_lost_to_a_broken_one(shelf: Path, days: list[list[str | int]]) -> None:
    texts = [
        HEADER + "".join(piece if isinstance(piece, str) else line(piece, day=DAY + timedelta(number)) for piece in day)
        for number, day in enumerate(days)
    ]
    found = read_into(shelf, *texts)
    wanted = {(number, piece) for number, day in enumerate(days) for piece in day if isinstance(piece, int)}
    assert sorted(stamps(found)) == sorted(
        f"{DAY + timedelta(number)}T{hour:02d}:00:00-07:00" for number, hour in wanted
    )
    assert found.problems == []


VALUES = st.none() | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(st.characters(codec="utf-8"), max_size=5)


@settings(deadline=None, max_examples=examples(30))
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 300), VALUES), max_size=30), NAMES)
def test_what_was_measured_is_what_is_read(shelf: Path, known: list[tuple[int, int, float | None]], name: str) -> None:
    rows = {}
    for sensor, hours, value in known:
        stamp = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
        row = measurement(value, stamp, first_seen=NOW, sensors_id=sensor)
        rows[sensor, stamp] = replace(row, parameters_id=None, interval_seconds=None, has_flags=None, source="archive")
    found = read_into(shelf, packed(archive_csv(rows.values(), name=name)))
    assert to_rows(7, found.table) == [rows[key] for key in sorted(rows)]
    assert (found.rejects, found.problems) == ([], [])


# Problems ------------------------------------------------------------------------------------------------------

ELSEWHERE = (HEADER + line(1) + line(2)).replace("7,71", "8,81", 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (packed(good())[:-9], "is cut off"),
        (packed(good()) + b"\n", "behind its end|cut off"),
        (b"<html>", "is no gzip file"),
        (packed(""), "has no header"),
        (packed(line(1)), "lacks the column"),
        (packed(good().replace(",units", ",")), "lacks the column units"),
        (packed(good().encode().replace(b"\xc2", b"")), "is not UTF-8"),
        (packed(ELSEWHERE), "holds rows of another location than 7"),
        (packed(ELSEWHERE + "broken\n" + line(3, "NaN")), "holds rows of another location than 7"),
    ],
)
def test_of_a_file_that_is_wrong_nothing_is_kept_and_the_others_are_read(
    read: Read, content: bytes, reason: str
) -> None:
    after, last = (good(day=DAY + timedelta(days=days)) for days in (1, 2))
    found = read(after, content, last)
    ((file, said),) = found.problems
    assert file == file_of(1)
    assert said.startswith("location-7-20230223.csv.gz ")
    assert any(part in said for part in reason.split("|"))
    assert found.table.num_rows == 6
    assert [each.reason for each in found.rejects if "NaN" in each.row] == []


def test_a_file_that_was_not_fetched_is_a_problem_with_its_reason(tmp_path: Path) -> None:
    files: list[tuple[ArchiveFile, bytes | BadFile]] = [(file_of(0), BadFile("is gone")), (file_of(1), packed(good()))]
    with archive_rows.connect(tmp_path) as database:
        found = archive_rows.read(files, location_id=7, now=NOW, folder=tmp_path, database=database)
    assert found.problems == [(file_of(0), "location-7-20230222.csv.gz is gone")]
    assert found.table.num_rows == 3


# Temporary files -----------------------------------------------------------------------------------------------


def test_no_temporary_file_is_left_neither_after_a_good_reading_nor_after_a_bad_one(tmp_path: Path) -> None:
    def lost() -> Iterator[tuple[ArchiveFile, bytes | BadFile]]:
        yield file_of(0), packed(good())
        raise Unreachable("gone")

    read_into(tmp_path, good(), good() + '"')
    with archive_rows.connect(tmp_path) as database, pytest.raises(Unreachable):
        archive_rows.read(lost(), location_id=7, now=NOW, folder=tmp_path, database=database)
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_for_temporary_files_nothing_is_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="absent"):
        read_into(tmp_path / "absent", good())


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "it's [1] *?"
    folder.mkdir()
    assert read_into(folder, good()).table.num_rows == 3


def test_reading_needs_no_numpy_and_fetches_no_extension(tmp_path: Path) -> None:
    code = """
import datetime, gzip, pathlib, sys
sys.modules["numpy"] = sys.modules["pandas"] = None
from openaq_pipeline.openaq import archive_files, archive_rows
now, data = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), gzip.compress(sys.stdin.buffer.read())
file, here = archive_files.ArchiveFile(now.date(), "", 1, now), pathlib.Path()
database = archive_rows.connect(here)
print(archive_rows.read([(file, data)], location_id=7, now=now, folder=here, database=database).table.num_rows)
print(database.sql("SELECT current_setting('autoinstall_known_extensions')").fetchall())
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "dataset"), "HOME": str(tmp_path)},
        cwd=tmp_path,
        input=(good() + "broken").encode(),
        capture_output=True,
        check=True,
    )
    assert ran.stdout == b"3\n[(False,)]\n"
    assert list(tmp_path.iterdir()) == []


def test_the_columns_of_a_million_rows_hold_their_names_once(read: Read) -> None:
    found = read(good(20), good(20, DAY + timedelta(days=1))).table
    for name in ("parameter", "units", "source"):
        assert pa.types.is_dictionary(found.schema.field(name).type)
        assert [len(chunk.dictionary) for chunk in found[name].chunks] == [1]
