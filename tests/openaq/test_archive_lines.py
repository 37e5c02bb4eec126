"""One file of the archive: is it whole, what does its header say, which of its lines are broken."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.openaq.archive_lines import (
    AS_EXPORTED,
    COLUMNS,
    MAX_MEMBERS,
    NEEDED,
    BadFile,
    header_of,
    rewrite,
    tag,
    unpack,
    untag,
)

EXPORTED = ",".join(COLUMNS).encode()
LINE = b'7,71,"Del Norte-7","2024-01-01T01:00:00+05:45",27.6,85.3,"pm25","\xc2\xb5g/m\xc2\xb3",4.5\n'
FIELDS = ["7", "71", "Del Norte-7", "2024-01-01T01:00:00+05:45", "27.6", "85.3", "pm25", "µg/m³", "4.5"]


def parsed(marked: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(marked.decode(), newline="")))


# Whole or not --------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_gzip_files_one_behind_the_other_are_unpacked_as_one(contents: list[bytes]) -> None:
    assert unpack(b"".join(map(gzip.compress, contents))) == b"".join(contents)


@given(st.binary(max_size=300), st.data())
def test_a_file_cut_anywhere_is_noticed(content: bytes, data: st.DataObject) -> None:
    packed = gzip.compress(content)
    with pytest.raises(BadFile, match=r"empty|cut off"):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


def test_a_file_cut_between_two_records_is_noticed() -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(LINE * 10) + packer.flush(zlib.Z_FULL_FLUSH)
    assert zlib.decompressobj(31).decompress(packed) == LINE * 10
    with pytest.raises(BadFile, match="cut off"):
        unpack(packed)


@given(st.integers(0, 7))
def test_a_wrong_checksum_or_length_is_noticed(place: int) -> None:
    packed = bytearray(gzip.compress(LINE))
    packed[len(packed) - 8 + place] ^= 1
    with pytest.raises(BadFile, match="damaged"):
        unpack(bytes(packed))


@pytest.mark.parametrize("rest", [b"x", b"\0\0", b"<html>"])
def test_something_behind_the_end_is_noticed(rest: bytes) -> None:
    with pytest.raises(BadFile, match=r"behind its end|cut off"):
        unpack(gzip.compress(LINE) + rest)


@pytest.mark.parametrize("data", [b"<html>busy</html>", EXPORTED, zlib.compress(LINE)])
def test_what_is_no_gzip_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BadFile, match="no gzip"):
        unpack(data)


def test_an_empty_file_is_said_to_be_empty() -> None:
    with pytest.raises(BadFile, match="is empty"):
        unpack(b"")


@pytest.mark.parametrize("members", [1, 4])
def test_a_bomb_is_stopped_in_one_piece_or_in_several(members: int) -> None:
    bomb = gzip.compress(bytes(1_000_000 // members)) * members
    assert len(unpack(bomb, limit=1_000_000)) == 1_000_000
    with pytest.raises(BadFile, match="too large"):
        unpack(bomb, limit=999_999)


def test_no_more_gzip_files_in_one_than_can_be_meant() -> None:
    assert unpack(gzip.compress(b"") * MAX_MEMBERS) == b""
    with pytest.raises(BadFile, match="more than"):
        unpack(gzip.compress(b"") * (MAX_MEMBERS + 1))


# The header ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("header", [EXPORTED, b'"' + EXPORTED.replace(b",", b'","') + b'"'])
def test_the_header_openaq_writes_is_known_in_every_dress(header: bytes, mark: bytes, end: bytes) -> None:
    assert header_of(mark + header + end + LINE) == (AS_EXPORTED, LINE)


def test_a_file_of_a_header_alone_has_no_lines() -> None:
    assert header_of(EXPORTED) == (AS_EXPORTED, b"")


@given(st.permutations([*COLUMNS, "new"]))
def test_columns_are_found_by_name(names: list[str]) -> None:
    header, _ = header_of(",".join(names).encode() + b"\n")
    assert [names[place] for place in header.places if place is not None] == list(COLUMNS)
    assert header.width == len(names)


def test_the_names_in_openaqs_documentation_are_known_too() -> None:
    documented = EXPORTED.replace(b"sensors_id", b"sensor_id").replace(b"units", b"unit")
    assert header_of(documented + b"\n")[0] == AS_EXPORTED


@given(st.sampled_from(NEEDED))
def test_a_missing_column_is_named(name: str) -> None:
    with pytest.raises(BadFile, match=f"lacks the column {name}$"):
        header_of(",".join(column for column in COLUMNS if column != name).encode() + b"\n")


@pytest.mark.parametrize("content", [b"", b"\r\n", b" \n\n", b"\xef\xbb\xbf"])
def test_a_file_without_a_header_is_none(content: bytes) -> None:
    with pytest.raises(BadFile, match=r"no header|lacks"):
        header_of(content)


def test_a_column_that_is_there_twice_is_no_guess() -> None:
    with pytest.raises(BadFile, match="value twice"):
        header_of(EXPORTED + b",value\n")


# The lines -----------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line and b"\r" not in line)), st.integers(0))
def test_the_mark_of_a_file_goes_on_and_comes_off(lines: list[bytes], number: int) -> None:
    body = b"".join(line + b"\n" for line in lines)
    assert untag(tag(body, number), number) == body
    assert tag(body.replace(b"\n", b"\r\n"), number) == tag(body, number)
    assert tag(body.removesuffix(b"\n") if lines and lines[-1] else body, number) == tag(body, number)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\n"), max_size=8)


@given(st.lists(st.lists(TEXT, min_size=9, max_size=9), max_size=5))
def test_lines_that_are_in_order_are_written_anew_as_they_are(rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    anew = rewrite(text.getvalue().encode(), AS_EXPORTED, 3)
    assert parsed(anew.marked) == [[*row, "~3"] for row in rows]
    assert anew.broken == []


def test_a_line_break_inside_quotes_belongs_to_the_field() -> None:
    anew = rewrite(LINE.replace(b"Del Norte", b"Del\nNorte") + LINE, AS_EXPORTED, 0)
    assert [row[2] for row in parsed(anew.marked)] == ["Del Norte-7", "Del Norte-7"]


@pytest.mark.parametrize(
    "broken",
    [
        LINE.replace(b'"Del Norte-7"', b'"Del Norte-7'),
        LINE.replace(b'"pm25"', b'"pm25'),
        LINE.replace(b'"\xc2\xb5g', b"\xc2\xb5g").replace(b'm\xc2\xb3",4.5', b'm\xc2\xb3,"4.5'),
        LINE.replace(b",4.5", b""),
        LINE.replace(b",4.5", b",4,5"),
        b"nonsense\n",
        b'"\n',
        LINE.replace(b"-7", b'"-7', 1),
        LINE.replace(b'"pm25"', b'"pm"25'),
        b'"' + b"x" * 200_000 + b"\n",
    ],
)
def test_a_broken_line_costs_no_other(broken: bytes) -> None:
    anew = rewrite(LINE + broken + LINE + LINE, AS_EXPORTED, 0)
    good = [row for row in parsed(anew.marked) if row == [*FIELDS, "~0"]]
    assert len(good) == 3
    assert len(anew.broken) == 1


def test_two_broken_lines_do_not_swallow_the_good_one_between_them() -> None:
    plain = LINE.replace(b'"', b"")
    anew = rewrite(plain.replace(b"4.5", b'"4.5') + plain + plain.replace(b"7,71", b'7",71'), AS_EXPORTED, 0)
    assert [*FIELDS, "~0"] in parsed(anew.marked)


def test_a_line_with_too_few_fields_is_told_with_what_it_holds() -> None:
    anew = rewrite(b'7,71,"\xc2\xb5"\n', AS_EXPORTED, 0)
    assert anew.broken == [("it has 3 fields, the header 9", json.dumps(["7", "71", "µ"], ensure_ascii=False))]


def test_a_quote_that_is_never_closed_is_told_with_the_line() -> None:
    anew = rewrite(LINE + b'7,71,"Del Norte\n', AS_EXPORTED, 0)
    assert anew.broken == [("its quotes are not in order", json.dumps(['7,71,"Del Norte']))]


def test_empty_lines_are_nothing() -> None:
    anew = rewrite(b"\n" + LINE + b"\n\n", AS_EXPORTED, 0)
    assert (len(parsed(anew.marked)), anew.broken) == (1, [])


def test_what_is_not_utf8_is_no_line() -> None:
    with pytest.raises(BadFile, match="UTF-8"):
        rewrite(LINE.replace(b"\xc2", b""), AS_EXPORTED, 0)
