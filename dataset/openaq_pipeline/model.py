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
Outcome = Literal["ok", "partial", "failed"]
Severity = Literal["info", "warning", "error", "critical"]
Channel = Literal["slack", "email", "webhook"]
SensorOutcome = Literal["ok", "parked", "deferred", "failed", "skipped"]

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

    `latest` is None when the file is as this pipeline left it, so that the state's watermarks hold.
    """

    latest: dict[int, dt.datetime] | None
    warning: str | None = None


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

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.new + other.new,
            self.revised + other.revised,
            self.identical + other.identical,
            self.rejected + other.rejected,
            self.clean + other.clean,
        )


class SensorReport(msgspec.Struct, frozen=True):
    """How one sensor fared in a run; `error` is None when its whole window was read."""

    sensors_id: int
    parameter: str
    units: str
    outcome: SensorOutcome
    counts: Counts
    watermark: dt.datetime | None
    error: str | None = None


class LocationReport(msgspec.Struct, frozen=True):
    """How one location fared in a run; `warnings` tell what was odd but did not stop it.

    `requests_planned` is what its plan said once its sensors were known, the question for them included. `bug` is set
    when this program itself is to blame for the error. `change` is what became of the location's file; None: nothing,
    or something else changed it at the same time.
    """

    location_id: int
    name: str | None
    outcome: Outcome
    counts: Counts
    requests_planned: int = 0
    sensors: tuple[SensorReport, ...] = ()
    error: str | None = None
    warnings: tuple[str, ...] = ()
    bug: bool = False
    change: Change | None = None


class SelectionReport(msgspec.Struct, frozen=True):
    """How many locations and sensors a selection has, and what is new and gone since it was last looked at.

    `selection` is what it says in the settings. What vanished keeps its data and is no longer asked for. `warnings` are
    sentences.
    """

    selection: str
    locations: int
    sensors: int
    new_locations: tuple[int, ...] = ()
    vanished_locations: tuple[int, ...] = ()
    new_sensors: tuple[int, ...] = ()
    vanished_sensors: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return what a person should know of it; a few are named, the others counted."""
        changes = (
            ("new", "location", self.new_locations),
            ("vanished", "location", self.vanished_locations),
            ("new", "sensor", self.new_sensors),
            ("vanished", "sensor", self.vanished_sensors),
        )
        said = ", ".join(_counted(how, what, ids) for how, what, ids in changes if ids)
        kept = "; what vanished keeps its data" if self.vanished_locations or self.vanished_sensors else ""
        return (*((f"{self.selection}: {said}{kept}",) if said else ()), *self.warnings)


NAMED = 3


def _counted(how: str, what: str, ids: tuple[int, ...]) -> str:
    named = ", ".join(map(str, ids[:NAMED])) + (f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else "")
    return f"{len(ids):,} {how} {what}{'' if len(ids) == 1 else 's'} ({named})"


class RunPlan(msgspec.Struct, frozen=True):
    """What a run is about to ask. `sensors` have a window each; `parked` ones and `unknown_locations` have none yet.

    `oldest` is where the earliest window begins, None when there is none. `minutes` is the least time that the
    requests take under the limits of the key, when no other process uses it. `archive_files` and `archive_bytes` are
    what a backfill fetches from OpenAQ's archive, at no request; None: that was not looked up. `selections` are those
    of the settings, as they were resolved for it.

    Of a poll: `lists` are requests for lists of latest rows; `news`, `look_backs`, `first_loads` and `routine` (daily
    sweeps, probes of parked sensors) are series, `deferred` are those that do not fit into the room of this run.
    """

    locations: int
    unknown_locations: int
    sensors: int
    parked: int
    oldest: dt.datetime | None
    requests: int
    minutes: float
    archive_files: int | None = None
    archive_bytes: int | None = None
    selections: tuple[SelectionReport, ...] = ()
    lists: int = 0
    news: int = 0
    look_backs: int = 0
    first_loads: int = 0
    routine: int = 0
    deferred: int = 0


class Gauge(msgspec.Struct, frozen=True):
    """How far a backfill is: rows new so far, what is left to ask and to fetch, and the least minutes that takes."""

    rows: int
    requests_left: int
    files_left: int
    minutes_left: float


class RunReport(msgspec.Struct, frozen=True):
    """One run: what was planned, what was sent, what came of it.

    `more_planned` are requests that concern no single location, and `deferred` series left for the next run.
    `slowest_response_seconds` is None when no request was answered. `error` says why the run ended early, None if it
    did not, and `hint` what to do; `needs_a_person` is set when no retry mends it.
    """

    started: dt.datetime
    duration_seconds: float
    requests: int
    locations: tuple[LocationReport, ...]
    slowest_response_seconds: float | None
    consecutive_failures: int = 0
    error: str | None = None
    hint: str = ""
    needs_a_person: bool = False
    more_planned: int = 0
    selections: tuple[SelectionReport, ...] = ()
    deferred: int = 0

    @property
    def requests_planned(self) -> int:
        """Return how many requests the plans of all locations came to, and what else was planned."""
        return self.more_planned + sum(location.requests_planned for location in self.locations)

    @property
    def counts(self) -> Counts:
        """Return the rows of all locations."""
        return sum((location.counts for location in self.locations), Counts())

    @property
    def quality_score(self) -> float | None:
        """Return the share of measurements without an issue in percent; None when there were no measurements."""
        counts = self.counts
        measurements = counts.fetched - counts.rejected
        return 100.0 * counts.clean / measurements if measurements else None

    @property
    def failed(self) -> bool:
        """Say whether no location succeeded, not even in part."""
        return all(location.outcome == "failed" for location in self.locations)

    @property
    def complete(self) -> bool:
        """Say whether everything that was asked for was got."""
        return self.error is None and all(location.outcome == "ok" for location in self.locations)


class Finding(msgspec.Struct, frozen=True):
    """Something a check found in a file: the rule, how bad it is, how often, an example and what to do."""

    rule: str
    severity: Literal["error", "warning", "info"]
    count: int
    message: str
    hint: str = ""


class Condition(msgspec.Struct, frozen=True):
    """What a person should know of while it lasts. `key` makes it one and the same: `failed_runs`, `silent:3459`."""

    key: str
    severity: Severity
    title: str
    message: str
    hint: str = ""


class Notice(msgspec.Struct, frozen=True):
    """What is to be told: that a condition began, that it ended, or a test. `ended` is None while it lasts.

    `id` names the notice for good, so that a receiver that gets it twice can tell.
    """

    id: str
    kind: Literal["begun", "recovered", "test"]
    condition: Condition
    began: dt.datetime
    ended: dt.datetime | None = None


class ParkedSensor(msgspec.Struct, frozen=True):
    """A sensor that is not asked for a while, and why."""

    sensors_id: int
    parameter: str | None
    until: dt.datetime
    error: str | None


class LocationHealth(msgspec.Struct, frozen=True):
    """How one location is. `latest` is its newest stored stamp, None if there is none; `age_seconds` how old that is.

    `current`: the newest row is younger than `stale_after_hours`; `silent`: it is older, or there is none, although
    the location is read; `failing`: the last try to read it failed, in part or as a whole; `unknown`: never read.
    """

    location_id: int
    name: str | None
    status: Literal["current", "silent", "failing", "unknown"]
    latest: dt.datetime | None
    age_seconds: float | None
    last_successful_run: dt.datetime | None
    sensors: int
    parked: tuple[ParkedSensor, ...]
    error: str | None = None


class Health(msgspec.Struct, frozen=True):
    """How the whole is: `ok`, `degraded` (late, parked, fell short), `down` (no run lately, or all fail).

    `sentence` says it for people. `next_run` is None when nothing is scheduled.
    """

    status: Literal["ok", "degraded", "down"]
    sentence: str
    locations: tuple[LocationHealth, ...]
    last_run: dt.datetime | None
    next_run: dt.datetime | None
