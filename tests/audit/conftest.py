"""The data folder of the tests of `verify`, two years of one location and weeks of another, and ways to lose rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

import numpy as np
import pyarrow as pa

from openaq_pipeline.audit import Audit, LocationAudit, audit
from openaq_pipeline.audit.findings import Gap
from openaq_pipeline.locks import hold_location
from openaq_pipeline.model import Key, Measurement
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.locations import LocationFiles
from tests.archive_files import local_day
from tests.verify.conftest import EVER, Kept, kept, made

__all__ = ["kept", "made"]

DAY = timedelta(days=1)


def of(found: Audit, kept: Kept) -> LocationAudit:
    """What was found of the first location."""
    return next(each for each in found.locations if each.location_id == kept.here)


def look(kept: Kept, **options: object) -> LocationAudit:
    return of(audit(kept.settings, **options), kept)  # type: ignore[arg-type]


def lose(kept: Kept, lost: Callable[[Measurement], bool]) -> list[Measurement]:
    """Take rows of the first location out of its files, as if they had never been stored; return them."""
    history, files, gone = History(kept.data), LocationFiles(kept.data), [row for row in kept.rows() if lost(row)]
    keys = {row.key for row in gone}
    with hold_location(kept.data, kept.here):
        for year in history.years(kept.here):
            table = history.year(kept.here, year)
            columns = (table.column(name).to_pylist() for name in ("sensors_id", "datetime"))
            stay = [Key(*key) not in keys for key in zip(*columns, strict=True)]
            history.write(kept.here, year, table.filter(pa.array(np.array(stay, dtype=bool))), None)
        files.replace_tail(kept.here, EVER, [row for row in files.tail(kept.here, EVER) if row.key not in keys])
    return gone


def days_of(rows: Iterable[Measurement]) -> dict[tuple[int, object], int]:
    """How many rows there are of each sensor-day."""
    found: dict[tuple[int, object], int] = {}
    for row in rows:
        day = (row.sensors_id, local_day(row))
        found[day] = found.get(day, 0) + 1
    return found


def lacking(gaps: Iterable[Gap]) -> set[tuple[int, object]]:
    """The sensor-days of some gaps."""
    return {(gap.sensors_id, gap.first + number * DAY) for gap in gaps for number in range(gap.days)}
