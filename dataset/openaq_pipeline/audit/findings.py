"""What an audit finds, as people and scripts are told."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from itertools import groupby

import msgspec

from openaq_pipeline.incremental.ledger import KINDS, NONE, Kind, SensorDays
from openaq_pipeline.model import Window

FINE: frozenset[Kind] = frozenset({"complete", "not_due"})


class Gap(msgspec.Struct, frozen=True):
    """Days in a row of one sensor that are of one kind, neither complete nor not due, up to and with `last`.

    `rows` are those that are missing: of our gaps the ones that the archive has, of others as many as the sensor's
    usual spacing lets expect; None: nothing tells how many.
    """

    sensors_id: int
    parameter: str
    units: str
    kind: Kind
    first: dt.date
    last: dt.date
    days: int
    rows: int | None


class LocationAudit(msgspec.Struct, frozen=True):
    """How complete a location is from its `first` to its `last` day at the station; None: it has none.

    Looked at were period ends in `window`, so that these two may be a part of a day. `days` counts sensor-days by kind.
    `lacked` rows are missing here. `files` of the archive were read, the others were known from before. `problems` are
    sentences on what could not be looked at.
    """

    location_id: int
    name: str | None = None
    timezone: str = ""
    window: Window | None = None
    first: dt.date | None = None
    last: dt.date | None = None
    sensors: int = 0
    days: dict[str, int] = {}
    lacked: int = 0
    gaps: tuple[Gap, ...] = ()
    files: int = 0
    problems: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Say whether it is certain that nothing is missing here that OpenAQ has."""
        return not (self.problems or self.days.get("our_gap") or self.days.get("unknown"))

    def of(self, kind: Kind) -> list[Gap]:
        """Return the gaps of a kind."""
        return [gap for gap in self.gaps if gap.kind == kind]


class Audit(msgspec.Struct, frozen=True):
    """How complete some locations are; `outage` says why the archive was not asked, None if it was."""

    locations: tuple[LocationAudit, ...]
    outage: str | None = None

    @property
    def is_whole(self) -> bool:
        """Say whether it is certain that nothing is missing here that OpenAQ has."""
        return self.outage is None and all(location.is_whole for location in self.locations)

    @property
    def days(self) -> dict[str, int]:
        """Return how many sensor-days there are of each kind."""
        return total(location.days for location in self.locations)

    @property
    def lacked(self) -> int:
        """Return how many rows are in the archive and not here."""
        return sum(location.lacked for location in self.locations)


def total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Return the sums by kind, each kind in its place."""
    found: Counter[str] = Counter()
    for each in counts:
        found.update(each)
    return {kind: found[kind] for kind in KINDS}


def gaps(sensors_id: int, names: tuple[str, str], days: SensorDays, first: dt.date) -> list[Gap]:
    """Return what is not as it should be of a sensor whose days begin with `first`."""
    found = []
    for kind, places in groupby(range(len(days.kinds)), key=lambda place: days.kinds[place]):
        if kind is None or kind in FINE:
            continue
        begin, *_ = run = list(places)
        missing = days.lacked if kind == "our_gap" else days.absent
        numbers = missing[begin : begin + len(run)]
        rows = None if (numbers == NONE).any() else int(numbers.sum())
        span = first + dt.timedelta(days=begin), first + dt.timedelta(days=run[-1])
        found.append(Gap(sensors_id, *names, kind, *span, len(run), rows))
    return found
