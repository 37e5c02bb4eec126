"""Whatever year is damaged is named, and after a repair every row is there again and nothing else has changed."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openaq_pipeline.columns import HISTORY
from openaq_pipeline.storage.history import WRITING, History
from openaq_pipeline.verify import verify
from tests.verify.conftest import Kept


def test_a_whole_folder_is_sound_and_looking_changes_nothing(kept: Kept) -> None:
    before = kept.bytes()
    found = verify(kept.data)
    assert found.sound, found.findings
    assert {finding.severity for finding in found.findings} <= {"info"}
    assert found.rows == len(kept.rows()) + len(kept.rows(kept.there)) + 1
    assert {file.file for file in found.files} == before.keys()
    assert kept.bytes() == before


def rewrite(kept: Kept, change: Callable[[pa.Table], pa.Table], **options: object) -> None:
    """Write a year's file anew, as our writer does but for what is wrong with the rows."""
    path, year = kept.year_file(), kept.years[0]
    table = change(History(kept.data).year(kept.here, year))
    notes = pq.read_metadata(path).metadata
    with pq.ParquetWriter(path, table.schema, **{**WRITING, "sorting_columns": None, **options}) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({key: notes[key] for key in notes if key.startswith(b"openaq")})


def cut(kept: Kept) -> None:
    path = kept.year_file()
    path.write_bytes(path.read_bytes()[:-1000])


def empty(kept: Kept) -> None:
    kept.year_file().write_bytes(b"")


def flip(kept: Kept) -> None:
    body = bytearray(kept.year_file().read_bytes())
    body[len(body) // 2] ^= 0xFF
    kept.year_file().write_bytes(body)


def no_units(kept: Kept) -> None:
    schema = HISTORY.remove(HISTORY.get_field_index("units"))
    encoding = {"use_dictionary": True, "column_encoding": None}
    rewrite(kept, lambda table: table.drop_columns("units").cast(schema), **encoding)


def other_type(kept: Kept) -> None:
    place = HISTORY.get_field_index("value")
    rewrite(kept, lambda table: table.set_column(place, "value", table.column("value").cast(pa.float32())))


def upside_down(kept: Kept) -> None:
    rewrite(kept, lambda table: table.take(pa.array(range(table.num_rows - 1, -1, -1))))


def twice(kept: Kept) -> None:
    rewrite(kept, lambda table: table.take(pa.array([0, *range(table.num_rows)])))


def with_other_year(kept: Kept) -> None:
    other = History(kept.data).year(kept.here, kept.years[1]).slice(0, 5)
    place = HISTORY.get_field_index("value")  # what their own year says stays
    other = other.set_column(place, HISTORY.field(place), pa.array([-7.0] * 5))
    rewrite(
        kept,
        lambda table: pa.concat_tables([table, other]).sort_by(
            [("sensors_id", "ascending"), ("datetime", "ascending")]
        ),
    )


def no_version(kept: Kept) -> None:
    table = History(kept.data).year(kept.here, kept.years[0])
    pq.write_table(table, kept.year_file(), store_schema=False, write_page_checksum=True)


HISTORY_DAMAGE = [
    (cut, {"damaged_file"}),
    (empty, {"damaged_file"}),
    (flip, {"damaged_file"}),
    (no_units, {"wrong_schema"}),
    (other_type, {"wrong_schema"}),
    (upside_down, {"not_sorted"}),
    (twice, {"duplicate_key"}),
    (with_other_year, {"wrong_year"}),
    (no_version, {"wrong_version", "wrong_licenses"}),
]


@pytest.mark.parametrize(("damage", "rules"), HISTORY_DAMAGE)
def test_a_damaged_year_is_named_and_repaired_and_all_else_stays(
    kept: Kept, damage: Callable[[Kept], None], rules: set[str]
) -> None:
    rows, path, before = kept.facts(), kept.year_file(), kept.bytes()
    damage(kept)
    bad = path.read_bytes()
    name = kept.name(path)
    assert kept.rules() == {(name, rule) for rule in rules}
    assert not any("\n" in error.message or error.message.endswith(".") for error in kept.errors())
    mended = kept.repair()
    assert [one for one in mended if not one.complete] == []
    assert kept.errors() == []
    assert kept.facts() == rows
    after = kept.bytes()
    aside = [file for file in after if file.startswith("damaged/")]
    assert [after[file] for file in aside] == [bad]
    others = {file: body for file, body in after.items() if file not in {*aside, name}}
    assert {file: others[file] for file in before if file in others and not file.startswith(".backfill")} == {
        file: body for file, body in before.items() if file != name and not file.startswith(".backfill")
    }
