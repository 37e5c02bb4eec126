"""The tables of `query` as SQL over the files. Nothing is read before a query needs it.

History is one branch a year, each with the bounds of its year said: where a query's own bounds on `datetime` contradict
them, DuckDB drops the branch while it plans, so that no file of that year is opened. Files of other locations fall away
by the Hive partition in their path, or by their name.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from openaq_pipeline.columns import HISTORY
from openaq_pipeline.model import Location, LocationState, Measurement, Sensor, SensorState
from openaq_pipeline.monitoring.metrics import RunMetrics
from openaq_pipeline.reading.folder import PARQUET

OBJECT_BYTES = 16 << 20
"""So long may a row of a file be: DuckDB sets twice this aside for each thread that reads, whatever the files hold."""

_TYPES: dict[type, str] = {
    msgspec.inspect.IntType: "BIGINT",
    msgspec.inspect.FloatType: "DOUBLE",
    msgspec.inspect.StrType: "VARCHAR",
    msgspec.inspect.LiteralType: "VARCHAR",
    msgspec.inspect.BoolType: "BOOLEAN",
    msgspec.inspect.DateTimeType: "TIMESTAMPTZ",
}


def measurements(folder: Path, *, years: Sequence[int], live: bool, live_from: datetime | None) -> str:
    """Return the query of all measurements; wants the table `layout.sealed` with every location that has a history.

    `years` are those of which there is a file, `live` says whether there is any location file, and `live_from` is a
    moment before which none of them counts, None: there is no such moment.
    """
    parts = [_of_year(folder, year) for year in years]
    if live:
        parts.append(_of_live_files(folder, live_from))
    return "\nUNION ALL\n".join(parts) if parts else _nothing(_columns(Measurement))


def locations(folder: Path, *, there: bool) -> str:
    """Return the query of `locations.json`: a row a location, without its sensors."""
    columns = _columns(Location)
    source = _json(folder / "locations.json", columns, "array") if there else f"({_nothing(columns)})"
    return f"SELECT id AS location_id, * EXCLUDE (id, sensors) FROM {source}"


def sensors(folder: Path, *, there: bool, state: bool) -> str:
    """Return the query of all sensors, with what `.state.json` remembers of them."""
    columns = _columns(Location)
    source = _json(folder / "locations.json", columns, "array") if there else f"({_nothing(columns)})"
    remembered = {"version": "BIGINT", "locations": f"MAP(BIGINT, {_struct(LocationState)})"}
    memory = _json(folder / ".state.json", remembered, "unstructured") if state else f"({_nothing(remembered)})"
    own = ", ".join(f"known.{name} AS {'sensors_id' if name == 'id' else name}" for name in Sensor.__struct_fields__)
    kept = ", ".join(f"kept.{name}" for name in SensorState.__struct_fields__)
    return (
        f"SELECT location_id, {own}, {kept} "
        f"FROM (SELECT id AS location_id, unnest(sensors) AS known FROM {source}) LEFT JOIN ("
        "SELECT place, unnest(map_keys(sensors)) AS sensor, unnest(map_values(sensors)) AS kept FROM ("
        "SELECT unnest(map_keys(locations)) AS place, unnest(map_values(locations)).sensors AS sensors "
        f"FROM {memory})) ON place = location_id AND sensor = known.id"
    )


def runs(folder: Path, *, there: bool) -> str:
    """Return the query of `metrics.json`: a row a run, oldest first, its locations as a list."""
    columns = {"runs": f"{_struct(RunMetrics)}[]"}
    source = _json(folder / "metrics.json", columns, "unstructured") if there else f"({_nothing(columns)})"
    return f"SELECT unnest(runs, max_depth := 2) FROM {source}"


def quoted(text: object) -> str:
    """Return a text as SQL has it."""
    return "'" + str(text).replace("'", "''") + "'"


def escaped(path: Path) -> str:
    """Return a path in which no character stands for others: the functions that read files take patterns."""
    return glob.escape(str(path))


def _of_year(folder: Path, year: int) -> str:
    pattern = f"{escaped(folder)}/history/location_id=*/year={year:04}/{PARQUET}"
    columns = ", ".join(f"h.{name}" for name in HISTORY.names)
    within = f"h.datetime >= {_stamp(year)} AND h.datetime < {_stamp(year + 1)}"
    return (
        f"SELECT h.location_id, {columns} FROM read_parquet({quoted(pattern)}, hive_partitioning = true, "
        "hive_types = {location_id: BIGINT, year: BIGINT}) AS h "
        "JOIN layout.sealed AS s ON s.location_id = h.location_id "
        f"WHERE {within} AND h.datetime < s.sealed_to"
    )


def _stamp(year: int) -> str:
    return f"TIMESTAMPTZ '{year:04}-01-01 00:00:00Z'"


def _of_live_files(folder: Path, live_from: datetime | None) -> str:
    """Return the query of the location files: the location is the file's name, which is known without opening it."""
    name = r"'/location_([1-9][0-9]{0,9})[.]json$'"
    columns = ", ".join(f"l.{column}" for column in HISTORY.names)
    rows = _json_files(f"{escaped(folder)}/location_[1-9]*.json", _columns(Measurement), "array")
    rows += ", filename = true)"
    # DuckDB takes a name that is missing for a null: here it is damage, as for every other reader.
    whole = "CASE WHEN location_id IS NULL OR sensors_id IS NULL OR datetime IS NULL OR parameter IS NULL THEN "
    whole += "error('a row without an id, a name or a time in file \"' || filename || '\"') ELSE true END"
    earliest = f" AND datetime >= TIMESTAMPTZ {quoted(live_from.astimezone(UTC).isoformat())}" if live_from else ""
    return (
        f"SELECT l.place AS location_id, {columns} FROM (SELECT *, "
        f"TRY_CAST(regexp_extract(filename, {name}, 1) AS BIGINT) AS place FROM {rows} "
        f"WHERE regexp_matches(filename, {name}) AND {whole}{earliest}) AS l "
        "LEFT JOIN layout.sealed AS s ON s.location_id = l.place "
        "WHERE s.sealed_to IS NULL OR l.datetime >= s.sealed_to"
    )


def _json(path: Path, columns: dict[str, str], form: str) -> str:
    """Return the call that reads a JSON file: rows, or one object, which may grow to twice its size meanwhile."""
    longest = OBJECT_BYTES if form == "array" else max(OBJECT_BYTES, 2 * path.stat().st_size)
    return f"{_json_files(escaped(path), columns, form, longest)})"


def _json_files(pattern: str, columns: dict[str, str], form: str, longest: int = OBJECT_BYTES) -> str:
    """Return the beginning of a call that reads JSON files; further options and the bracket are the caller's."""
    types = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in columns.items())
    options = f"format = {quoted(form)}, records = true, maximum_object_size = {longest}"
    return f"read_json({quoted(pattern)}, columns = {{{types}}}, {options}"


def _nothing(columns: dict[str, str]) -> str:
    return "SELECT " + ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns.items()) + " WHERE false"


def _columns(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the fields of a type with what they are in SQL."""
    return {field.encode_name: _sql(field.type) for field in msgspec.inspect.type_info(kind).fields}  # type: ignore[attr-defined]


def _struct(kind: type[msgspec.Struct]) -> str:
    return "STRUCT(" + ", ".join(f"{name} {found}" for name, found in _columns(kind).items()) + ")"


def _sql(kind: Any) -> str:
    """Return what a type is in SQL, where everything may be null."""
    if isinstance(kind, msgspec.inspect.UnionType):
        return next(_sql(each) for each in kind.types if not isinstance(each, msgspec.inspect.NoneType))
    if isinstance(kind, msgspec.inspect.StructType):
        return "JSON" if kind.array_like else _struct(kind.cls)
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return f"{_sql(kind.item_type)}[]"
    if isinstance(kind, msgspec.inspect.DictType):
        return f"MAP({_sql(kind.key_type)}, {_sql(kind.value_type)})"
    return _TYPES[type(kind)]
