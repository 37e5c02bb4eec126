"""Location files: their form, and what becomes of files that are not as this program left them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import IO

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import replacing
from openaq_pipeline.model import Measurement, Stored
from openaq_pipeline.storage import locations
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.view import View
from tests.often import examples
from tests.storage.rows import ALL, ID, NOW, as_file, grid, hour, names, row

ROWS = grid(4)
LATEST = {1: hour(3), 2: hour(3), 3: hour(3)}
FIELDS = list(Measurement.__struct_fields__)


class Folder:
    """A data folder with one location's file, as another program may have left it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LocationFiles(folder)
        self.path = self.store.path(ID)

    def aside(self) -> list[bytes]:
        """Return what was set aside, oldest first."""
        return [path.read_bytes() for path in sorted(self.folder.glob("*.damaged-*"), key=lambda path: path.name)]

    def holds(self, rows: list[Measurement]) -> bool:
        """Say whether the file holds these rows, in our form."""
        return self.path.read_bytes() == (as_file(rows) if rows else b"[]\n") and self.store.tail(ID, ALL) == rows


@pytest.fixture
def disk(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# --- the form ---


def test_the_file_is_json_with_one_measurement_a_line_sorted(disk: Folder) -> None:
    disk.store.replace_tail(ID, ALL, ROWS)
    text = disk.path.read_text()
    lines = text.splitlines()
    assert (lines[0], lines[-1], text[-1]) == ("[", "]", "\n")
    assert [json.loads(line.removesuffix(",")) for line in lines[1:-1]] == json.loads(text)
    keys = [(entry["datetime"], entry["sensors_id"]) for entry in json.loads(text)]
    assert keys == sorted(set(keys))
    assert list(json.loads(text)[0]) == FIELDS
    assert json.loads(text)[0]["datetime"] == "2026-10-01T00:00:00Z"


@pytest.mark.parametrize("rows", [[], [row(0)], ROWS], ids=["none", "one", "many"])
def test_pandas_and_duckdb_read_it(disk: Folder, rows: list[Measurement]) -> None:
    import duckdb  # noqa: PLC0415 - slow to import
    import pandas as pd  # noqa: PLC0415

    disk.store.replace_tail(ID, ALL, rows)
    assert len(pd.read_json(BytesIO(disk.path.read_bytes()))) == len(rows)
    with duckdb.connect() as connection:
        assert connection.execute("SELECT count(*) FROM read_json(?)", [str(disk.path)]).fetchall() == [(len(rows),)]


def test_appending_changes_no_byte_in_front(disk: Folder) -> None:
    disk.store.replace_tail(ID, ALL, ROWS)
    before = disk.path.read_bytes()
    disk.store.replace_tail(ID, hour(4), [row(4)])
    assert disk.path.read_bytes().startswith(before.removesuffix(b"\n]\n"))


def test_what_is_in_front_of_the_cut_is_copied_and_never_decoded(disk: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locations, "ROWS_AT_ONCE", 7)  # the rows are written in pieces
    rows = grid(300)
    disk.store.replace_tail(ID, ALL, rows)
    decoded: list[bytes] = []
    real = locations._decode_stamp

    def decode(line: bytes) -> object:
        decoded.append(line)
        return real(line)

    monkeypatch.setattr(locations, "_decode_stamp", decode)
    disk.store.replace_tail(ID, hour(299), [row(299, value=9)])
    assert disk.store.tail(ID, ALL) == [*rows[:-3], row(299, value=9)]
    assert len(decoded) < 30, "a bisection, not a reading"


def test_a_path_is_made_of_a_number_only(disk: Folder) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        disk.store.path("../../etc/passwd")  # type: ignore[arg-type]


def test_a_link_to_another_disk_stays_a_link(disk: Folder, tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    disk.path.symlink_to("big/rows.json")
    disk.store.replace_tail(ID, ALL, ROWS)
    (tmp_path / "big" / ".rows.json.tmp").write_bytes(b"left")
    real = tmp_path / "big" / "rows.json"
    real.write_bytes(real.read_bytes()[:-100])
    assert disk.store.inspect(ID, None, NOW).latest == {}
    assert disk.path.is_symlink()
    assert disk.holds(ROWS[:-1])
    assert len(names(tmp_path / "big")) == 2, "the file and the damaged one beside it; no temporary"


# --- as somebody else left it, but whole: brought into order, nothing set aside ---


def pretty(rows: list[Measurement]) -> bytes:
    done = subprocess.run(["jq", "."], input=as_file(rows), capture_output=True, check=True)
    return done.stdout


HARMLESS: dict[str, Callable[[], bytes]] = {
    "written by python's json": lambda: json.dumps(json.loads(as_file(ROWS))).encode(),
    "indented": lambda: json.dumps(json.loads(as_file(ROWS)), indent=2).encode(),
    "with the line ends of Windows": lambda: as_file(ROWS).replace(b"\n", b"\r\n"),
    "without a last line end": lambda: as_file(ROWS).removesuffix(b"\n"),
    "with empty lines": lambda: as_file(ROWS).replace(b",\n", b",\n\n"),
    "unsorted": lambda: as_file(ROWS[::-1]),
    "of one stamp, unsorted by sensor": lambda: as_file([ROWS[1], ROWS[0], *ROWS[2:]]),
    "with rows twice": lambda: as_file([*ROWS, *ROWS[:5]]),
    "with a row twice in a row": lambda: as_file([ROWS[0], *ROWS]),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_whole_file_in_another_form_is_brought_into_ours(disk: Folder, name: str) -> None:
    disk.path.write_bytes(HARMLESS[name]())
    found = disk.store.inspect(ID, None, NOW)
    assert found.latest == LATEST
    assert found.warning == "location_7.json had been changed by another program and was brought back into order"
    assert disk.holds(ROWS)
    assert names(disk.folder) == {"location_7.json"}
    assert disk.store.inspect(ID, None, NOW) == Stored(LATEST), "the next look finds nothing to do"


def test_a_file_that_jq_has_printed_is_brought_into_our_form(disk: Folder) -> None:
    try:
        disk.path.write_bytes(pretty(ROWS))
    except FileNotFoundError:
        pytest.skip("jq is not installed")
    assert disk.store.inspect(ID, None, NOW).latest == LATEST
    assert disk.holds(ROWS)


@pytest.mark.parametrize("body", [b"[]", b"[ ]\n", b"[\n]\n", b"[\n\n]\n"])
def test_an_empty_list_in_any_form_is_an_empty_file(disk: Folder, body: bytes) -> None:
    disk.path.write_bytes(body)
    assert disk.store.inspect(ID, None, NOW).latest == {}
    assert disk.holds([])
    assert disk.aside() == []


def test_of_two_versions_of_a_row_the_last_stays_and_the_file_is_kept(disk: Folder) -> None:
    body = as_file([*ROWS, row(1, 1, value=99.0)])
    disk.path.write_bytes(body)
    found = disk.store.inspect(ID, None, NOW)
    assert found.latest == LATEST, "no time is missing, so nothing must be read anew"
    assert "several versions" in (found.warning or "")
    assert disk.holds([row(1, 1, value=99.0) if one.key == row(1, 1).key else one for one in ROWS])
    assert disk.aside() == [body]


# --- damaged: everything that can be read stays, the old file is kept, and nothing counts as known ---

LINES = as_file(ROWS).splitlines(keepends=True)
BROKEN = ROWS[:4] + ROWS[5:]  # without the row of LINES[5]


def with_line(line: bytes) -> bytes:
    return b"".join([*LINES[:5], line, *LINES[6:]])


DAMAGED: dict[str, tuple[bytes, list[Measurement]]] = {
    "empty": (b"", []),
    "an object": (b"{}", []),
    "no json": (b"hello", []),
    "short and no json": (b"[1]\n", []),
    "an object of objects": (b'{"results": ' + as_file(ROWS) + b"}", ROWS),
    "cut in the middle of a line": (as_file(ROWS)[:-200], ROWS[:-1]),
    "cut between two lines": (b"".join(LINES[:5]), ROWS[:4]),
    "cut in front of the last bracket": (as_file(ROWS).removesuffix(b"]\n"), ROWS),
    "written by python's json and cut": (json.dumps(json.loads(as_file(ROWS))).encode()[:-150], ROWS[:-1]),
    "indented and cut": (json.dumps(json.loads(as_file(ROWS)), indent=1).encode()[:-150], ROWS[:-1]),
    "nothing but NULs": (b"\0" * 4096, []),
    "NULs at the end": (as_file(ROWS)[:-200] + b"\0" * 200, ROWS[:-1]),
    "NULs in the middle": (with_line(b"\0" * 300 + b",\n"), BROKEN),
    "NULs over a line end": (as_file(ROWS).replace(LINES[5][-9:], b"\0" * 9, 1), ROWS[1:]),
    "a letter that is no UTF-8": (with_line(LINES[5].replace(b"pm25", b"pm\xff5")), BROKEN),
    "a number that is a letter": (with_line(LINES[5].replace(b":1.5,", b":1.x,")), BROKEN),
    "a quote lost": (with_line(LINES[5].replace(b'"value"', b'"value')), BROKEN),
    "a quote lost, on one line": (
        with_line(LINES[5].replace(b'"value"', b'"value')).replace(b"\n", b""),
        BROKEN,
    ),
    "an opening brace lost": (with_line(LINES[5].replace(b"{", b"[", 1)), BROKEN),
    "a closing brace lost": (with_line(LINES[5].replace(b"}", b")", 1)), BROKEN),
    "a comma lost": (as_file(ROWS).replace(b",\n", b" \n", 1), ROWS),
    "a row that is none": (with_line(b'{"value": 5},\n'), BROKEN),
    "a row that is null": (with_line(b"null,\n"), BROKEN),
    "times without a zone": (with_line(LINES[5].replace(b'T01:00:00Z"', b'T01:00:00"', 1)), BROKEN),
    "first seen without a zone": (with_line(LINES[5].replace(b'12:00:00Z"', b'12:00:00"')), BROKEN),
    "stamps in milliseconds": (with_line(LINES[5].replace(b'"2026-10-01T01:00:00Z"', b"1759280400000", 1)), BROKEN),
    "a number beyond all": (with_line(LINES[5].replace(b":1.5,", b":1e999,")), BROKEN),
    "nested without end": (with_line(b"[" * 100_000 + b",\n"), BROKEN),
    "rows behind an empty list": (b"[]\n" + as_file(ROWS), ROWS),
    "two files in one": (as_file(ROWS[:4]) + as_file(ROWS[4:]), ROWS),
    "a row of another location": (as_file([*ROWS, row(9, location_id=8)]), ROWS),
    "another location's file": (as_file([row(9, location_id=8)]), []),
    "a merge conflict of git": (
        with_line(b"<<<<<<< HEAD\n" + LINES[5] + b"=======\n" + LINES[5] + b">>>>>>> x\n"),
        ROWS,
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_from_a_damaged_file_every_readable_row_stays_and_the_old_file_is_kept(disk: Folder, name: str) -> None:
    body, readable = DAMAGED[name]
    disk.path.write_bytes(body)
    found = disk.store.inspect(ID, None, NOW)
    assert found.latest == {}
    assert f"set aside as location_7.json.damaged-20261101T120000Z: {len(readable)} rows" in (found.warning or "")
    assert disk.holds(readable)
    assert disk.aside() == [body]


OUT_OF_FORM = [name for name, (body, _) in DAMAGED.items() if body[:2] != b"[\n" or body[-3:] != b"\n]\n"]


@pytest.mark.parametrize("name", OUT_OF_FORM)
def test_what_is_damaged_between_the_look_and_the_write_is_not_built_upon(disk: Folder, name: str) -> None:
    body, _ = DAMAGED[name]
    disk.path.write_bytes(body)
    for since in (ALL, hour(1.5), hour(99)):
        with pytest.raises(StorageError, match="is damaged"):
            disk.store.tail(ID, since)
        with pytest.raises(StorageError, match="is damaged") as caught:
            disk.store.replace_tail(ID, since, [row(99)])
        assert "sets it aside" in caught.value.hint
        assert disk.path.read_bytes() == body
    assert names(disk.folder) == {"location_7.json"}


def test_a_second_damaged_file_does_not_overwrite_the_first(disk: Folder) -> None:
    for body in (b"one", b"two", b"three"):
        disk.path.write_bytes(body)
        disk.store.inspect(ID, None, NOW)
    assert disk.aside() == [b"one", b"two", b"three"]


UNLIKE = [msgspec.structs.replace(one, value=float(number)) for number, one in enumerate(ROWS)]


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(as_file(UNLIKE)) - 1), bit=st.integers(0, 7))
def test_one_flipped_bit_costs_one_row_or_two_at_a_seam(disk: Folder, place: int, bit: int) -> None:
    for path in disk.folder.iterdir():
        path.unlink()
    body = bytearray(as_file(UNLIKE))
    body[place] ^= 1 << bit
    disk.path.write_bytes(body)
    found = disk.store.inspect(ID, None, NOW)
    stored = disk.store.tail(ID, ALL)
    assert sum(one in stored for one in UNLIKE) >= len(UNLIKE) - 2
    assert len(json.loads(disk.path.read_bytes())) == len(stored)
    if len(stored) < len(UNLIKE):
        assert found.latest == {} or disk.aside() == [bytes(body)]


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(end=st.integers(0, len(as_file(ROWS)) - 1))
def test_a_file_cut_anywhere_keeps_every_whole_row(disk: Folder, end: int) -> None:
    for path in disk.folder.iterdir():
        path.unlink()
    body = as_file(ROWS)[:end]
    disk.path.write_bytes(body)
    disk.store.inspect(ID, None, NOW)
    assert disk.holds(ROWS[: body.count(b"}")])


# --- a loss is not forgotten before a run has acted upon it ---


def test_a_loss_is_told_until_a_caller_brings_the_mark_of_the_mended_file(disk: Folder) -> None:
    old = disk.store.replace_tail(ID, ALL, ROWS)
    disk.path.write_bytes(DAMAGED["NULs in the middle"][0])
    assert disk.store.inspect(ID, old, NOW).latest == {}
    assert disk.store.inspect(ID, old, NOW) == Stored({}, lost=True), (
        "the run that saw it was killed, or was a backfill"
    )
    mark = disk.store.replace_tail(ID, hour(50), [row(50)])
    assert LocationFiles(disk.folder).inspect(ID, old, NOW) == Stored({}, lost=True), "a new start knows it too"
    assert disk.store.inspect(ID, mark, NOW) == Stored(None)
    assert disk.store.inspect(ID, None, NOW).latest == {**LATEST, 1: hour(50)}
    assert {name for name in names(disk.folder) if name.startswith(".")} == set()


def test_a_crash_before_the_mended_file_is_written_loses_nothing(disk: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    body, readable = DAMAGED["cut in the middle of a line"]
    disk.path.write_bytes(body)

    def crash(path: Path) -> AbstractContextManager[IO[bytes]]:
        if path == disk.path:
            raise KeyboardInterrupt
        return replacing(path)

    monkeypatch.setattr(locations, "replacing", crash)
    with pytest.raises(KeyboardInterrupt):
        disk.store.inspect(ID, None, NOW)
    monkeypatch.undo()
    assert disk.path.read_bytes() == body
    assert disk.store.inspect(ID, None, NOW + timedelta(hours=1)).latest == {}
    assert disk.holds(readable)


def test_rot_under_an_unchanged_time_is_found_by_the_run_after(disk: Folder) -> None:
    mark = disk.store.replace_tail(ID, ALL, ROWS)
    body = disk.path.read_bytes().replace(b"pm25", b"pm\xff5")
    disk.path.write_bytes(body)
    os.utime(disk.path, ns=(mark.mtime_ns, mark.mtime_ns))
    assert disk.store.inspect(ID, mark, NOW) == Stored(None), "nothing tells"
    with pytest.raises(StorageError, match="is damaged"):
        disk.store.tail(ID, ALL)
    assert disk.store.inspect(ID, mark, NOW).latest == {}, "as the error's hint promises"
    assert disk.aside() == [body]


def test_a_look_removes_what_a_killed_writer_left(disk: Folder) -> None:
    mark = disk.store.replace_tail(ID, ALL, ROWS)
    (disk.folder / ".location_7.json.tmp").write_bytes(b"half")
    disk.store.inspect(ID, mark, NOW)
    assert names(disk.folder) == {"location_7.json"}


def test_a_failed_write_keeps_the_old_version_and_its_mark(disk: Folder) -> None:
    mark = disk.store.replace_tail(ID, ALL, ROWS)
    unencodable = msgspec.structs.replace(row(9), units="\ud800")
    with pytest.raises(UnicodeEncodeError):
        disk.store.replace_tail(ID, hour(2), [unencodable])
    assert disk.store.mark(ID) == mark
    assert disk.holds(ROWS)
    assert names(disk.folder) == {"location_7.json"}


@pytest.mark.parametrize("action", ["mark", "inspect", "tail", "replace_tail"])
def test_what_the_disk_refuses_is_a_storage_error(disk: Folder, action: str) -> None:
    disk.path.symlink_to(disk.path.name)  # a loop: even its size can't be asked for
    actions: dict[str, Callable[[], object]] = {
        "mark": lambda: disk.store.mark(ID),
        "inspect": lambda: disk.store.inspect(ID, None, NOW),
        "tail": lambda: disk.store.tail(ID, ALL),
        "replace_tail": lambda: disk.store.replace_tail(ID, ALL, ROWS),
    }
    with pytest.raises(StorageError, match="Too many levels of symbolic links"):
        actions[action]()


def test_a_folder_in_the_place_of_a_file_is_a_storage_error(disk: Folder) -> None:
    disk.path.mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        disk.store.inspect(ID, None, NOW)


def test_two_versions_in_one_moment_have_different_marks(disk: Folder) -> None:
    one = disk.store.replace_tail(ID, ALL, [row(0)])
    two = disk.store.replace_tail(ID, ALL, [row(0), row(1)])
    assert one != two
    assert isinstance(one.mtime_ns, int)
    assert datetime.fromtimestamp(two.mtime_ns / 1e9, tz=NOW.tzinfo).year > 2000


def test_a_file_that_another_program_cuts_short_while_it_is_read_is_an_error_and_not_the_end_of_the_process(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    with View(path) as view:
        os.truncate(path, 10)
        assert view.read(0, 10) == b"x" * 10
        with pytest.raises(msgspec.DecodeError, match="cut short"):
            view.read(0, 100_000)


def test_a_line_of_any_length_is_found_whole_wherever_one_looks(tmp_path: Path) -> None:
    path = tmp_path / "file"
    lines = [b"a" * size for size in (0, 3, 511, 512, 5000, 1)]
    path.write_bytes(b"\n".join(lines))
    with View(path) as view:
        begin = 0
        for line in lines:
            for position in {begin, begin + len(line) // 2, min(begin + len(line), len(view) - 1)}:
                assert view.line(position) == (begin, line)
            begin += len(line) + 1
