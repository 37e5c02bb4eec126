"""Tables as texts: what CSV and spreadsheets can hold."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

BEGINNINGS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""How a cell begins that a spreadsheet may take for a formula; the last four are the first in full width (OWASP)."""

FORMULA = f"^[{re.escape(BEGINNINGS)}]"

to_json = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode
"""Return anything out of a table as JSON; a time in UTC ends in Z."""


def flat(table: pa.Table) -> pa.Table:
    """Return a table with numbers, truth values and texts only.

    Times are ISO 8601, in UTC with `Z`; lists of texts are joined by `;`, other nested values are JSON. A text that a
    spreadsheet would take for a formula gets an apostrophe in front, as spreadsheets themselves do it.
    """
    columns = [_column(column) for column in table.itercolumns()]
    return pa.table(columns, names=[harmless(name) for name in table.column_names])  # PIVOT makes names of texts


def harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text and text[0] in BEGINNINGS else text


def _column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _column(column.cast(kind.value_type))
    if pa.types.is_timestamp(kind):
        return _stamps(column)
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        column = pc.binary_join(column, ";")
    elif pa.types.is_nested(kind):
        column = pa.chunked_array([[_json_text(value) for value in column.to_pylist()]], pa.string())
    elif not _is_text(kind):
        return column if _is_plain(kind) else column.cast(pa.string())
    return pc.if_else(pc.match_substring_regex(column, FORMULA), pc.binary_join_element_wise("'", column, ""), column)


def _json_text(value: Any) -> str | None:
    return None if value is None else to_json(value).decode()


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_plain(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(is_such(kind) for is_such in kinds)


def _stamps(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times as text, with a fraction of a second only where one of the column has one."""
    if column.type.tz:
        column = column.cast(pa.timestamp(column.type.unit, tz="UTC"))
    with suppress(pa.ArrowInvalid):  # a fraction of a second would be cut off
        column = column.cast(pa.timestamp("s", tz=column.type.tz))
    return pc.replace_substring(column.cast(pa.string()), " ", "T", max_replacements=1)
