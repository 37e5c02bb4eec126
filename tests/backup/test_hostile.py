"""Archives that were cut off, damaged, made by others or made to do harm: refused, and nothing of them stays."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openaq_pipeline.backup.manifest import LIST, About, Totals
from openaq_pipeline.errors import ConfigError, FatalError, PipelineError, StorageError
from openaq_pipeline.restored import ABOUT
from tests.backup.archives import OURS, Found, content, file, files, forged, header, listed, made, opened, put_back
from tests.faults.works import a_folder
from tests.often import examples

INSIDE = [(".state.json", b"{}"), ("location_7.json", b"[]\n"), ("locations.json", b"[]")]
BEGINNING = file(ABOUT, msgspec.json.encode(OURS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("whole")
    a_folder(place)
    return made(place / "data")


def assert_nothing_came_of(body: bytes, message: str, kind: type[PipelineError] = StorageError) -> None:
    """An archive is refused with these words, by a look and by a restore, and leaves neither a file nor half a one."""
    with tempfile.TemporaryDirectory() as place:
        with pytest.raises(kind, match=message) as caught:
            opened(body).read(Found())
        assert caught.value.hint
        with pytest.raises(kind, match=message):
            put_back(body, Path(place) / "data")
        assert not files(Path(place) / "data")
        assert {path.name for path in Path(place).rglob("*")} <= {"data", ".lock"}


def test_what_the_tests_forge_would_be_taken_if_it_were_right() -> None:
    assert content(forged(INSIDE)) == dict(INSIDE)


@given(st.data())
@settings(max_examples=examples(200))
def test_however_much_of_its_end_is_missing_it_is_known_to_be_cut_off(whole: bytes, data: st.DataObject) -> None:
    # From two bytes on, by which a file is known to be of gzip: fewer are no backup. A single byte of the next piece
    # of an archive is none that gzip knows: it is told as damage.
    assert_nothing_came_of(whole[: data.draw(st.integers(2, len(whole) - 1))], r"was cut off|damaged: Not a gzipped")


@given(st.data())
@settings(max_examples=examples(400))
def test_a_flipped_bit_is_found_or_changes_nothing(whole: bytes, data: st.DataObject) -> None:
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    body = bytearray(whole)
    body[place] ^= 1 << bit
    try:
        found = content(bytes(body))
    except (StorageError, ConfigError):
        return
    assert found == content(whole)  # gzip's headers have a time and a name, which mean nothing


@given(st.binary(max_size=3000))
@settings(max_examples=examples(200))
def test_noise_is_no_backup_whether_compressed_or_not(noise: bytes) -> None:
    for body in (noise, gzip.compress(noise)):
        with pytest.raises((ConfigError, StorageError)):
            opened(body)


def test_pieces_in_another_order_and_two_archives_in_one_are_refused(whole: bytes) -> None:
    assert_nothing_came_of(whole + whole, "something follows its end")
    assert_nothing_came_of(forged(INSIDE, end=b"x"), "something follows its end")
    assert_nothing_came_of(forged([INSIDE[1], INSIDE[0]]), "twice, or in the wrong place")
    assert_nothing_came_of(forged([INSIDE[1], INSIDE[1]]), "twice, or in the wrong place")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../location_7.json",
        "history/../../location_7.json",
        "./location_7.json",
        "location_7.json/",
        "location_0.json",
        "location_2147483648.json",
        "location_7.json\\n",
        ".lock",
        ".restored/location_7.json",
        ".locks/location_7.lock",
        "pipeline.log",
        "config.yaml",
        ".env",
        "history/location_id=7/year=2024/other.parquet",
        "history/location_id=7/year=2024/measurements.parquet.damaged-20261128T120000Z",
        "a" * 100,
        "",
    ],
)
def test_a_name_that_the_pipeline_does_not_write_is_refused(name: str) -> None:
    assert_nothing_came_of(forged([(name, b"x")]), "no file of a data folder")


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.CONTTYPE,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_SPARSE,
        b"\0",
        b"Z",
    ],
)
def test_what_is_no_ordinary_file_is_refused(kind: bytes) -> None:
    block = header("location_7.json", 0, kind, link="/etc/passwd")
    assert_nothing_came_of(forged([], raw=block), "is no ordinary file|bad checksum|invalid header|damaged")


def test_a_header_that_announces_gigabytes_takes_no_memory() -> None:
    bomb = header("location_7.json", 1 << 40, tarfile.XHDTYPE) + bytes(50 << 20)
    body = forged([], raw=bomb)
    tracemalloc.start()
    assert_nothing_came_of(body, "no ordinary file")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 << 20


def test_a_file_for_which_there_is_no_room_is_refused_before_it_is_written(tmp_path: Path) -> None:
    body = gzip.compress(BEGINNING + header("location_7.json", 1 << 60) + bytes(1 << 20))
    with pytest.raises(StorageError, match="No space left"):
        put_back(body, tmp_path / "data")
    with pytest.raises(StorageError, match="was cut off"):
        opened(body).read(Found())
    assert_nothing_came_of(gzip.compress(BEGINNING + header("location_7.json", -1)), "no ordinary file")


def test_a_list_that_is_not_of_what_is_in_it_is_refused() -> None:
    def with_list(text: bytes) -> bytes:
        inside = b"".join(file(name, body) for name, body in INSIDE)
        return gzip.compress(BEGINNING + inside + file(LIST, text) + bytes(1024))

    right = listed(INSIDE)
    assert content(with_list(right)) == dict(INSIDE)
    other = listed([*INSIDE[:1], ("location_7.json", b"[1]"), *INSIDE[2:]])
    assert_nothing_came_of(with_list(other), "location_7.json is not as it was written")
    assert_nothing_came_of(with_list(listed(INSIDE, totals=Totals(3, 1))), "not of what is in it")
    assert_nothing_came_of(with_list(right + b"{}\n"), "not of what is in it")
    another = msgspec.structs.replace(OURS, id="another")
    assert_nothing_came_of(with_list(listed(INSIDE, another)), "of another backup")
    for text in (b"", right[:-1], right.replace(b"\n", b""), listed(INSIDE[:2]), b"x" * (1 << 18), b"\n" * 9):
        assert_nothing_came_of(with_list(text), "is damaged")
    assert_nothing_came_of(gzip.compress(BEGINNING + file("location_7.json", b"[]") + bytes(1024)), "is damaged")


def test_a_time_that_no_disk_can_have_is_left_out(tmp_path: Path) -> None:
    text = listed(INSIDE).replace(b'"mtime_ns":0', b'"mtime_ns":99999999999999999999')
    inside = b"".join(file(name, body) for name, body in INSIDE)
    body = gzip.compress(BEGINNING + inside + file(LIST, text) + bytes(1024))
    try:
        assert files(put_back(body, tmp_path / "data")) == dict(INSIDE)
    except StorageError as error:
        assert "is damaged" in str(error)  # noqa: PT017 - the one or the other


def test_files_of_others_are_told_from_damaged_ones(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz") as other:
        (tmp_path / "photo.jpg").write_bytes(b"x" * 5000)
        other.add(tmp_path / "photo.jpg", "photo.jpg")
    for body in (plain.getvalue(), b"PK\x03\x04" * 999, b"[]\n", gzip.compress(b"no tar" * 999)):
        assert_nothing_came_of(body, "no backup of this program", ConfigError)
    foreign = forged(INSIDE, about=msgspec.structs.replace(OURS, format="restic"))
    assert_nothing_came_of(foreign, "no backup of this program", ConfigError)


def test_an_archive_of_a_newer_version_is_refused_whatever_else_is_in_it() -> None:
    newer = file(ABOUT, b'{"format":"openaq-pipeline-backup","version":2,"made_by":"who knows"}')
    assert_nothing_came_of(gzip.compress(newer + b"?" * 5000), "newer version", FatalError)


def test_what_an_archive_says_of_itself_is_checked_too() -> None:
    for body in (b'{"format":"openaq-pipeline-backup","version":1}', msgspec.json.encode(OURS).replace(b"Z", b"")):
        assert_nothing_came_of(gzip.compress(file(ABOUT, body)), "is damaged")
    assert isinstance(opened(forged(INSIDE)).about, About)
