"""The types that travel between the rooms of the house.

All are frozen. Times are timezone-aware and in UTC; names carry units (`_seconds`, `_bytes`). The names of fields
that come from OpenAQ are OpenAQ's own. Of those with `gc=False` there may be a hundred thousand in memory: none is part
of a cycle, and a collector that walks them all makes reading them take twice as long.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal, NamedTuple

import msgspec

Source = Literal["api", "archive", "latest"]

Aware = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""A time with a zone: one without compares with no other, and reading a file refuses it where this type stands."""


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are not what they should be; broken UTF-8 is no `DecodeError`."""


class Key(NamedTuple):
    """What makes a measurement one and the same: the sensor and the end of its period (OPENAQ: unique upstream)."""

    sensors_id: int
    datetime: dt.datetime


class Measurement(msgspec.Struct, frozen=True, gc=False):
    """One row of `location_{id}.json`; the field order here is the order on disk.

    `value` is None where OpenAQ has a row without a value. `datetime` is the **end** of the averaging period, the
    stamp OpenAQ stores; `datetime_local` is the same moment as OpenAQ prints it for the station.
    `interval_seconds` is None where OpenAQ's interval can't be read; it, `parameters_id` and `has_flags` are None where
    the source does not say (the archive). `issues` names the quality rules the row broke. `first_seen` is when this
    pipeline first stored the row.
    """

    location_id: int
    sensors_id: int
    parameters_id: int | None
    parameter: str
    units: str
    value: float | None
    datetime: dt.datetime
    datetime_local: str
    interval_seconds: int | None
    has_flags: bool | None
    issues: tuple[str, ...]
    source: Source
    first_seen: dt.datetime

    @property
    def key(self) -> Key:
        """Return the row's identity."""
        return Key(self.sensors_id, self.datetime)


def file_order(row: Measurement) -> tuple[dt.datetime, int]:
    """Return the sort key of rows in a location file."""
    return (row.datetime, row.sensors_id)


class Window(msgspec.Struct, frozen=True):
    """A span of period ends (start, end]: start exclusive, end inclusive, as OpenAQ's `datetime_from`/`datetime_to`.

    Windows that share a boundary abut: together they hold every row once.
    """

    start: dt.datetime
    end: dt.datetime

    @property
    def length(self) -> dt.timedelta:
        """Return the window's length; zero or less means that it holds nothing."""
        return self.end - self.start

    def halves(self) -> tuple[Window, Window]:
        """Return the earlier and the later half, cut at a whole second because OpenAQ's bounds are whole seconds."""
        middle = (self.start + self.length / 2).replace(microsecond=0)
        return Window(self.start, middle), Window(middle, self.end)


class ArchiveStamp(msgspec.Struct, frozen=True, array_like=True):
    """Size and time of change of a file of OpenAQ's archive: while they match, it is the one that was stored.

    `part` is the span of which its rows were stored; None: all of it.
    """

    size_bytes: int
    modified_utc: dt.datetime
    part: Window | None = None

    def holds(self, wanted: ArchiveStamp) -> bool:
        """Say whether what is wanted of a file is stored, in the version that there is of it now."""
        if (self.size_bytes, self.modified_utc) != (wanted.size_bytes, wanted.modified_utc):
            return False
        if self.part is None or wanted.part is None:
            return self.part is None
        return self.part.start <= wanted.part.start and wanted.part.end <= self.part.end


class Sensor(msgspec.Struct, frozen=True, gc=False):
    """One instrument for one parameter at one location; `id` is OpenAQ's `sensors_id`."""

    id: int
    parameters_id: int
    parameter: str
    units: str
    display_name: str | None = None


class License(msgspec.Struct, frozen=True, gc=False):
    """A licence of a location's data and whom to name; dates are OpenAQ's `YYYY-MM-DD`, None for open ends."""

    id: int
    name: str
    attribution_name: str | None = None
    attribution_url: str | None = None
    date_from: str | None = None
    date_to: str | None = None


class LicenseTerms(msgspec.Struct, frozen=True):
    """What a licence allows and asks for; None where OpenAQ does not say. `fetched` is when it was asked."""

    id: int
    name: str
    commercial_use_allowed: bool | None
    attribution_required: bool | None
    share_alike_required: bool | None
    modification_allowed: bool | None
    redistribution_allowed: bool | None
    source_url: str | None
    fetched: dt.datetime


class Location(msgspec.Struct, frozen=True, gc=False):
    """What OpenAQ says of a location; None where it says nothing. `fetched` is when it was asked."""

    id: int
    name: str | None
    locality: str | None
    timezone: str
    country_code: str | None
    country_name: str | None
    latitude: float | None
    longitude: float | None
    provider: str | None
    owner: str | None
    is_mobile: bool
    is_monitor: bool
    licenses: tuple[License, ...]
    sensors: tuple[Sensor, ...]
    datetime_first: dt.datetime | None
    datetime_last: dt.datetime | None
    fetched: Aware


class LocationPage(msgspec.Struct, frozen=True):
    """A page of a list of locations; `unread` are the ids of those described in a way that can't be read.

    `count` is how many OpenAQ sent; fewer than asked for means that it was the last page.
    """

    found: list[Location]
    unread: list[int]
    count: int


class Entry(msgspec.Struct, frozen=True):
    """A parameter or a provider as OpenAQ lists it; `also` is its other name (`PM2.5`), None: it has none.

    Several entries may have one name: a parameter has an id for each of its units.
    """

    id: int
    name: str
    also: str | None = None


class Reject(msgspec.Struct, frozen=True):
    """A row that is no measurement, as OpenAQ sent it (`row`, JSON text), with the reason in words."""

    location_id: int
    sensors_id: int
    reason: str
    row: str
    seen: dt.datetime


class Page(msgspec.Struct, frozen=True):
    """A page of a sensor's series as OpenAQ sent it: `rows` in the order sent, and `rejects`."""

    rows: list[Measurement]
    rejects: list[Reject]

    @property
    def count(self) -> int:
        """Return how many rows OpenAQ sent; fewer than asked for means that it was the last page."""
        return len(self.rows) + len(self.rejects)


class Latest(msgspec.Struct, frozen=True, gc=False):
    """The row with the highest stamp of a sensor, as `/latest` tells it: without parameter, units and flags.

    It is the last of the series and not the last that came: late rows never show here, and a row stamped in the future
    stays until its time has come (OPENAQ section 3.6). `value` is None where OpenAQ has a row without one.
    """

    location_id: int
    sensors_id: int
    datetime: dt.datetime
    datetime_local: str
    value: float | None


class LatestPage(msgspec.Struct, frozen=True):
    """A page of `/latest`, in no order, without rows that can't be read; `found` rows on all pages, None: untold."""

    rows: list[Latest]
    found: int | None


class Echo(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Rows that a poll has read of a silent sensor and stored, as a digest; `clean` of them had no issue."""

    digest: str
    clean: int


class Rhythm(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of when a sensor's rows come, from the reads of its series (see `incremental.rhythm`).

    `interval_seconds` is the spacing of its rows, None: irregular or not known yet. `read_at` is when its series was
    last read up to then. `holes` are the stamps of expected rows that are missing, oldest first; `lateness` counts
    rows by how late they came, see `incremental.lateness`.
    """

    interval_seconds: int | None = None
    read_at: Aware | None = None
    holes: tuple[Aware, ...] = ()
    lateness: tuple[int, ...] = ()


class SensorState(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of one sensor between runs.

    `watermark` is the latest period end up to which everything OpenAQ showed is durably stored; None: nothing yet.
    `failures` counts failed reads in a row, a missing network aside. `parked_until` is the next probe of a parked
    sensor, None if it is not parked; `last_error` is why the last read failed. `swept` is when the wide look-back ran.
    `echoes` are the last rows read of a sensor that has fallen silent, see `incremental.echo`.
    """

    watermark: Aware | None = None
    failures: int = 0
    parked_until: Aware | None = None
    last_error: str | None = None
    swept: Aware | None = None
    echoes: tuple[Echo, ...] = ()
    rhythm: Rhythm = Rhythm()


class FileMark(msgspec.Struct, frozen=True, gc=False):
    """Size and modification time of a data file as this pipeline left it: while they match, nobody else changed it."""

    size_bytes: int
    mtime_ns: int


class Change(msgspec.Struct, frozen=True):
    """What a run did to a location's file: its marks before and after, and the first stamp of what may be different.

    `before` is None where there was no file.
    """

    before: FileMark | None
    after: FileMark
    since: dt.datetime

    def then(self, later: Change) -> Change | None:
        """Return both changes as one; None: something else has changed the file in between."""
        if later.before != self.after:
            return None
        return Change(self.before, later.after, min(self.since, later.since))


class Stored(msgspec.Struct, frozen=True):
    """What a location's file holds: the latest stamp of each sensor, and what had to be mended (None: nothing).

    `latest` is None when the file is as this pipeline left it, so that the state's watermarks hold. `lost`: rows of it
    were, from anywhere in it, and were not read again since.
    """

    latest: dict[int, dt.datetime] | None
    warning: str | None = None
    lost: bool = False


class LocationState(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of a location; `last_fetch_time` is the last try, `last_successful_run` the last full one."""

    last_fetch_time: Aware | None = None
    last_successful_run: Aware | None = None
    file: FileMark | None = None
    sensors: dict[int, SensorState] = {}


class Counts(msgspec.Struct, frozen=True):
    """Rows by what became of them; `fetched` is their sum. `clean` counts the stored ones without an issue."""

    new: int = 0
    revised: int = 0
    identical: int = 0
    rejected: int = 0
    clean: int = 0

    @property
    def fetched(self) -> int:
        """Return how many rows OpenAQ sent."""
        return self.new + self.revised + self.identical + self.rejected

    @property
    def quality_score(self) -> float | None:
        """Return the share of measurements without an issue in percent; None when there were no measurements."""
        measurements = self.fetched - self.rejected
        return 100.0 * self.clean / measurements if measurements else None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.new + other.new,
            self.revised + other.revised,
            self.identical + other.identical,
            self.rejected + other.rejected,
            self.clean + other.clean,
        )
