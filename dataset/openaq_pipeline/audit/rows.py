"""The keys of a location's rows by sensor, and a digest of them a day."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openaq_pipeline.bounded import ROWS_BYTES, whole
from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import storage_error
from openaq_pipeline.incremental.ledger import Stamps, number_of
from openaq_pipeline.model import UNREADABLE, Reject, Window
from openaq_pipeline.reading.location import KEY, read_keys
from openaq_pipeline.storage.rejects import Rejects

Rows = dict[int, Stamps]
"""The stamps of a location's rows by sensor."""

NOTHING: Stamps = np.empty(0, dtype=np.int64)
Words = NDArray[np.uint64]
STIR = tuple(map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)))
"""The constants of SplitMix64, which makes of numbers that are alike ones that are not."""


def held(folder: Path, location_id: int, window: Window, sensors: Collection[int] | None) -> Rows:
    """Return what is stored of a location in a window; None: of all its sensors. Raises `StorageError`."""
    return by_sensor(read_keys(folder, location_id, window), sensors)


def by_sensor(table: pa.Table, sensors: Collection[int] | None) -> Rows:
    """Return the keys in the columns `KEY` of a table; None: of all sensors."""
    ids, stamps = (np.asarray(table.column(name).combine_chunks().cast(pa.int64())) for name in KEY)
    order = np.lexsort((stamps, ids))
    ids, stamps = ids[order], stamps[order]
    edges = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(ids)]
    found = {int(ids[low]): np.unique(stamps[low:high]) for low, high in pairwise(edges) if high > low}
    return found if sensors is None else {key: value for key, value in found.items() if key in sensors}


def between(stamps: Stamps, bounds: Stamps) -> Stamps:
    """Return those of some stamps that belong to a day between midnights."""
    low, high = np.searchsorted(stamps, [bounds[0], bounds[-1]], side="right")
    return stamps[low:high]


def together(some: Mapping[int, Stamps], others: Mapping[int, Stamps]) -> Rows:
    """Return the keys that are in either."""
    return {key: np.union1d(some.get(key, NOTHING), others.get(key, NOTHING)) for key in {*some, *others}}


def without(some: Mapping[int, Stamps], others: Mapping[int, Stamps]) -> Rows:
    """Return the keys that are only in the first."""
    found = {key: np.setdiff1d(stamps, others.get(key, NOTHING), assume_unique=True) for key, stamps in some.items()}
    return {key: stamps for key, stamps in found.items() if len(stamps)}


def digests(rows: Mapping[int, Stamps], bounds: Stamps) -> list[str]:
    """Return for each day between midnights a text that differs if its rows do; of no rows the empty one."""
    sums, counts = np.zeros(len(bounds) - 1, dtype=np.uint64), np.zeros(len(bounds) - 1, dtype=np.int64)
    for sensors_id, stamps in rows.items():
        days = np.searchsorted(bounds, stamps, side="left") - 1
        inside = (days >= 0) & (days < len(sums))
        np.add.at(sums, days[inside], _stirred(np.uint64(sensors_id), stamps[inside].astype(np.uint64)))
        np.add.at(counts, days[inside], 1)
    return [f"{word:016x}" if count else "" for word, count in zip(sums.tolist(), counts.tolist(), strict=True)]


def _stirred(sensors_id: np.uint64, stamps: Words) -> Words:
    """Return a word for each key."""
    with np.errstate(over="ignore"):
        words = stamps * STIR[0] + sensors_id * STIR[1]
        words = (words ^ (words >> np.uint64(30))) * STIR[1]
        words = (words ^ (words >> np.uint64(27))) * STIR[2]
        return words ^ (words >> np.uint64(31))


class _Stamped(msgspec.Struct):
    """What of a rejected row tells its stamp: in a row of the API the period, in one of the archive or ours itself."""

    class _Period(msgspec.Struct):
        class _Moment(msgspec.Struct):
            utc: str

        datetimeTo: _Moment  # noqa: N815 - OpenAQ's name

    period: _Period | None = None
    datetime: str | None = None


_decode = msgspec.json.Decoder(_Stamped).decode


def rejected(folder: Path, location_id: int) -> Rows:
    """Return the keys of the rows that were rejected, of those that can be told; raises `StorageError`."""
    path = Rejects(folder).path(location_id)
    found: dict[int, list[int]] = {}
    try:
        lines = whole(path, ROWS_BYTES).splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise storage_error(error, path) from error
    except UNREADABLE as error:
        raise StorageError(f"{path} can't be read: {error}", hint="Look at it, and move it away.") from error
    for line in lines:
        try:
            reject = msgspec.json.decode(line, type=Reject)
            row = _decode(reject.row)
            told = row.period.datetimeTo.utc if row.period else row.datetime or ""
            moment = datetime.fromisoformat(told)
        except (*UNREADABLE, ValueError):
            continue
        if moment.tzinfo is not None:
            found.setdefault(reject.sensors_id, []).append(number_of(moment))
    return {key: np.unique(np.array(stamps, dtype=np.int64)) for key, stamps in found.items()}
