"""`openaq_pipeline.load`: measurements for Python, as an Arrow table that pandas, Polars and DuckDB take as it is."""

from __future__ import annotations

import difflib
import operator
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from openaq_pipeline.columns import MEASUREMENTS
from openaq_pipeline.errors import ConfigError, StorageError
from openaq_pipeline.model import Sensor, Window
from openaq_pipeline.reading import folder as places
from openaq_pipeline.reading.location import Selection, read
from openaq_pipeline.reading.moments import When, window, zone
from openaq_pipeline.storage.metadata import Metadata

Parameter = str | int


def load(
    locations: int | Iterable[int] | None = None,
    parameters: Parameter | Iterable[Parameter] | None = None,
    start: When | None = None,
    end: When | None = None,
    tz: str | None = None,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | None = None,
) -> pa.Table:
    """Return the measurements on disk, live and historic as one, each once, sorted by location, datetime and sensor.

    `locations` are ids, `parameters` names (`pm25`) or OpenAQ's numbers for them (2); None: all there are.

    `datetime` is the **end** of a measurement's period, and `start` and `end` bound it as everywhere in this program:
    later than `start`, up to and with `end`. They are dates, times or texts such as `2025-01-31T12:00Z`; a date as
    `end` means its whole day, so that `start="2025-01-31", end="2025-01-31"` are the 24 hours of that day.

    With `tz`, such as `"Asia/Kathmandu"`, times without a zone and dates are read there, else in UTC, and the column
    `datetime` tells the same moments in that zone.

    The columns are those of `location_{id}.json` (`openaq_pipeline.columns.MEASUREMENTS`); `parameter`, `units` and
    `source` are dictionary-encoded (categories in pandas).

    The data folder is `data_dir`, else as DATA_DIR, `.env` or the configuration (`config`, else `config.yaml`) name it.
    It is not locked: a run, or a move to the history, may work in it meanwhile. Raises `ConfigError` for a broken
    configuration, an unknown folder, location, parameter or zone and an upside-down range, and `StorageError` for a
    damaged file.
    """
    clock = zone(tz)
    span = window(start, end, clock)
    folder = places.data_folder(data_dir, config)
    ids = chosen_locations(folder, locations)
    wanted = selection(folder, ids, parameters, span)
    tables = [read(folder, location_id, wanted) for location_id in ids]
    table = pa.concat_tables([MEASUREMENTS.empty_table(), *tables]).unify_dictionaries()
    check_parameters(folder, ids, wanted, set(pc.unique(table.column("parameter")).to_pylist()))
    return table if tz is None else _told_in(table, tz)


def chosen_locations(folder: Path, locations: int | Iterable[int] | None) -> list[int]:
    """Return the wanted locations in the order of their ids; raises `ConfigError` for one that nothing is known of."""
    here = {*places.live_locations(folder), *places.sealed_locations(folder)}
    if locations is None:
        return sorted(here)
    try:
        wanted = {operator.index(each) for each in _each(locations)}
    except TypeError as error:
        raise ConfigError(f"{locations!r} are no location ids (whole numbers)") from error
    if wanted <= here:
        return sorted(wanted)
    metadata = known_locations(folder)
    unknown = [str(each) for each in sorted(wanted - here) if metadata.get(each) is None]
    if unknown:
        hint = "Check the id, or fetch it first."
        raise ConfigError(f"There are no data of location {', '.join(unknown)} in {folder}", hint=hint)
    return sorted(wanted)


def selection(
    folder: Path, ids: Iterable[int], parameters: Parameter | Iterable[Parameter] | None, span: Window
) -> Selection:
    """Return what of each location is wanted; raises `ConfigError` for what is no parameter."""
    if parameters is None:
        return Selection(span)
    names: set[str] = set()
    numbers: set[int] = set()
    for each in _each(parameters):
        if isinstance(each, str):
            names.add(each)
        else:
            try:
                numbers.add(operator.index(each))
            except TypeError as error:
                hint = "Give a name such as pm25, or OpenAQ's number for it."
                raise ConfigError(f"{each!r} is no parameter", hint=hint) from error
    sensors = {sensor.id for sensor in _sensors(folder, ids) if sensor.parameters_id in numbers} if numbers else set()
    return Selection(span, frozenset(names), frozenset(numbers), frozenset(sensors))


def check_parameters(folder: Path, ids: Iterable[int], wanted: Selection, found: set[str]) -> None:
    """Raise `ConfigError` for a wanted parameter that no row and no known sensor has: a slip of the pen is no gap."""
    if wanted.names is None:
        return
    sensors = _sensors(folder, ids)
    known = found | {sensor.parameter for sensor in sensors}
    numbers = {sensor.parameters_id for sensor in sensors}
    unknown: list[str] = [name for name in sorted(wanted.names) if name not in known]
    unknown += [str(number) for number in sorted(wanted.parameters_ids) if not found and number not in numbers]
    if unknown:
        near = [name for text in unknown for name in difflib.get_close_matches(text, known, n=1)]
        hint = f"Did you mean {', '.join(near)}?" if near else f"Known are: {', '.join(sorted(known)) or 'none yet'}."
        raise ConfigError(f"No sensor of these locations measures {', '.join(unknown)}", hint=hint)


def known_locations(folder: Path) -> Metadata:
    """Return what `locations.json` says; raises `StorageError` if it is damaged."""
    metadata = Metadata(folder)
    if warning := metadata.load(datetime.now(UTC), repair=False):
        raise StorageError(f"{folder / 'locations.json'}: {warning}", hint="The next run asks OpenAQ for it anew.")
    return metadata


def _each(given: Any) -> list[Any]:
    """Return what was given one by one, whether it was one thing or several."""
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]


def _sensors(folder: Path, ids: Iterable[int]) -> list[Sensor]:
    """Return the sensors that `locations.json` names."""
    metadata = known_locations(folder)
    return [sensor for each in ids if (known := metadata.get(each)) for sensor in known.sensors]


def _told_in(table: pa.Table, tz: str) -> pa.Table:
    """Return the table with the same moments in another zone."""
    place = table.schema.get_field_index("datetime")
    field = table.schema.field(place).with_type(pa.timestamp("us", tz=tz))
    return table.set_column(place, field, table.column(place).cast(field.type))
