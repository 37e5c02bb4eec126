"""Tables as texts, as CSV and spreadsheets hold them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from openaq_pipeline.reading.flat import flat, harmless

WHEN = datetime(2025, 1, 1, 5, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, -2, None], pa.int64(), [1, -2, None]),
        ([-1.5, None], pa.float64(), [-1.5, None]),
        ([True, None], pa.bool_(), [True, None]),
        ([Decimal(-3)], pa.decimal128(38, 0), [Decimal(-3)]),
        (["a", None, ""], pa.dictionary(pa.int32(), pa.string()), ["a", None, ""]),
        ([WHEN, None], pa.timestamp("us", tz="Asia/Kathmandu"), ["2025-01-01T05:45:00Z", None]),
        ([WHEN.replace(microsecond=5)], pa.timestamp("us", tz="UTC"), ["2025-01-01T05:45:00.000005Z"]),
        ([WHEN.replace(tzinfo=None)], pa.timestamp("us"), ["2025-01-01T05:45:00"]),
        ([["spike", "gap"], [], None], pa.list_(pa.string()), ["spike;gap", "", None]),
        ([["=1+1", "x"]], pa.list_(pa.string()), ["'=1+1;x"]),
        ([{"a": WHEN}], pa.struct([("a", pa.timestamp("us", tz="UTC"))]), ['{"a":"2025-01-01T05:45:00Z"}']),
        ([[1, 2], None], pa.list_(pa.int64()), ["[1,2]", None]),
        ([WHEN.date()], pa.date32(), ["2025-01-01"]),
    ],
)
def test_a_value_becomes_a_number_or_a_text(values: list[Any], kind: pa.DataType, expected: list[Any]) -> None:
    assert flat(pa.table({"it": pa.array(values, kind)})).column("it").to_pylist() == expected
    assert flat(pa.table({"it": pa.array([], kind)})).schema == flat(pa.table({"it": pa.array(values, kind)})).schema


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x"]
)
def test_a_text_that_a_spreadsheet_takes_for_a_formula_is_made_harmless(text: str) -> None:
    assert flat(pa.table({"it": [text, f" {text}"]})).column("it").to_pylist() == [f"'{text}", f" {text}"]
    assert harmless(text) == f"'{text}"
    assert harmless("µg/m³") == "µg/m³"


def test_a_column_that_is_named_like_a_formula_is_made_harmless_too() -> None:
    assert flat(pa.table({"=HYPERLINK(1)": [1], "pm25": [2]})).column_names == ["'=HYPERLINK(1)", "pm25"]
