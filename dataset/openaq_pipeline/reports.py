"""What is told of a run and of how things are: plans, reports, findings, conditions, health.

All are frozen, as the types of `model` are.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

from openaq_pipeline.model import Change, Counts

Outcome = Literal["ok", "partial", "failed"]
Severity = Literal["info", "warning", "error", "critical"]
Channel = Literal["slack", "email", "webhook", "apprise"]
Receiver = str
"""Who is told: a channel, or one address of a channel that has several (`apprise:2`)."""
SensorOutcome = Literal["ok", "parked", "deferred", "failed", "skipped"]
LocationStatus = Literal["current", "silent", "failing", "unknown"]

STOPPED = "the run was stopped"
"""The `error` of a run that was asked to end; the daemon does it again at its next start."""

WORST_FIRST: tuple[LocationStatus, ...] = ("failing", "silent", "unknown", "current")
"""In this order locations are shown where there is room for few."""


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
    did not, and `hint` what to do; `needs_a_person` is set when no retry mends it. `unsaved` says why what the run has
    learnt could not be stored, None if it could. `requests_by_status` are the requests by the HTTP status of their
    answers, see `openaq.session`.
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
    unsaved: str | None = None
    more_planned: int = 0
    selections: tuple[SelectionReport, ...] = ()
    deferred: int = 0
    requests_by_status: dict[str, int] = {}

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
        return self.counts.quality_score

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


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person should know of while it lasts. `key` makes it one and the same: `failed_runs`, `silent:3459`.

    What is of a location has its name and id as `subject`, and its `provider`, empty if unknown. `since` is when it
    really began, where that can be told: its newest row, say; None: when it was first seen is all that is known.
    """

    key: str
    severity: Severity
    title: str
    message: str
    hint: str = ""
    provider: str = ""
    subject: str = ""
    since: dt.datetime | None = None

    @property
    def kind(self) -> str:
        """Return what sort of condition it is: the key up to its colon."""
        return self.key.partition(":")[0]


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of several conditions that a notice tells of together; `subject` is what it is about."""

    key: str
    subject: str
    since: dt.datetime | None = None


class DigestPlace(msgspec.Struct, frozen=True):
    """How complete a location is, a day at a time in percent; None: nothing was due, or nobody can tell."""

    location_id: int
    name: str
    days: tuple[int | None, ...]


class DigestAlert(msgspec.Struct, frozen=True):
    """A condition of the week, or `count` of them that ended together; `ended` None: it lasts."""

    title: str
    began: dt.datetime
    ended: dt.datetime | None
    count: int = 1


class Digest(msgspec.Struct, frozen=True):
    """A look back at a week: its `days` by the clocks of `timezone`.

    `rows` were stamped in it and `completeness` is their share of those that were due, in percent (None: nothing was),
    both of `looked_at` of the `locations`. `places` are the worst, the worst first. `runs`, `failed_runs` and
    `requests` are those since `runs_since`, None: since the week's beginning. `more_alerts` are not listed.
    """

    days: tuple[dt.date, ...]
    timezone: str
    rows: int
    completeness: float | None
    locations: int
    looked_at: int
    places: tuple[DigestPlace, ...]
    runs: int
    failed_runs: int
    requests: int
    runs_since: dt.datetime | None
    alerts: tuple[DigestAlert, ...]
    more_alerts: int = 0


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be told: that a condition began, that it ended, a look back, or a test. `ended`: None while it lasts.

    `id` names the notice for good, so that a receiver that gets it twice can tell. It may tell of several conditions:
    `count` of them, of which `members` are the first; of a single one `members` is empty. `condition` says it for
    them all, and `began` is when the first was seen.
    """

    id: str
    kind: Literal["begun", "recovered", "test", "digest"]
    condition: Condition
    began: dt.datetime
    ended: dt.datetime | None = None
    count: int = 1
    members: tuple[Member, ...] = ()
    digest: Digest | None = None


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
    status: LocationStatus
    latest: dt.datetime | None
    age_seconds: float | None
    last_successful_run: dt.datetime | None
    sensors: int
    parked: tuple[ParkedSensor, ...]
    error: str | None = None
    provider: str | None = None


class Health(msgspec.Struct, frozen=True):
    """How the whole is: `ok`, `degraded` (late, parked, fell short), `down` (no run lately, or all fail).

    `sentence` says it for people. `next_run` is None when nothing is scheduled.
    """

    status: Literal["ok", "degraded", "down"]
    sentence: str
    locations: tuple[LocationHealth, ...]
    last_run: dt.datetime | None
    next_run: dt.datetime | None
