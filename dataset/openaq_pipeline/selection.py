"""From selections to locations: OpenAQ is asked once a day, and what it said is remembered.

What it says of the locations on the way describes them as well, so that none is looked up by itself: 25 requests in
the place of 25,000. What was resolved before holds where OpenAQ can't be reached, or says something that may be a
mistake. See docs/decisions/0016-selections.md.
"""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from openaq_pipeline.errors import ConfigError, PipelineError, RetriableError
from openaq_pipeline.incremental.cost import cost_of
from openaq_pipeline.model import Entry, Location, LocationPage, Sensor
from openaq_pipeline.openaq.api import Api
from openaq_pipeline.places import MAX_RADIUS_METRES, Selection
from openaq_pipeline.reports import RunReport, SelectionReport
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage import selections
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.selections import Resolved
from openaq_pipeline.wiring import Stores

MOST_LOCATIONS = 1000
"""A selection of more than this wants --yes: it is a country's worth of stations, or a slip."""

GROWTH = 1.5
"""By so much may a selection outgrow what was agreed to before it is asked about again."""

MANY_STALE = 30
"""Of more locations than this it is cheaper to list everything: OpenAQ has about 25 pages of them."""

ALIVE = timedelta(days=30)
"""A location that has been silent for longer than this adds no rows worth reckoning with."""

NEAREST_NAMES, MOST_NAMES = 3, 50

log = logging.getLogger(__name__)


class Resolution(NamedTuple):
    """What came of it: the settings with all their locations, and how many requests it was meant to take.

    `problem` is why a selection could not be resolved at all, None if each was, or holds as it was before. `sent_apart`
    are requests of a client of its own, by the status of their answers, which the report does not have yet.
    """

    settings: Settings
    requests: int
    selections: tuple[SelectionReport, ...]
    problem: PipelineError | None
    sent_apart: Mapping[str, int] = MappingProxyType({})

    def told(self, report: RunReport) -> RunReport:
        """Return the report of a run with what there is to tell of its selections."""
        return msgspec.structs.replace(
            report,
            requests=report.requests + sum(self.sent_apart.values()),
            requests_by_status=dict(Counter(report.requests_by_status) + Counter(self.sent_apart)),
            more_planned=report.more_planned + self.requests,
            selections=self.selections,
        )


def resolve(stores: Stores, api: Api | None, now: datetime, *, yes: bool = False, dry: bool = False) -> Resolution:
    """Let the stores work with the locations of their settings' selections, and describe these where that is due.

    `api` None asks nobody: what is remembered holds, however old. `yes`: a selection may be as large as it is. `dry`
    writes nothing, and only warns of a large one. Raises `ConfigError` for selections that match nothing or far too
    much, all of them at once, before anything of them is remembered.
    """
    settings = stores.settings
    work = _Resolving(stores.metadata, api, settings, now, yes=yes, dry=dry)
    if settings.selections:
        before = selections.read(settings.data_dir, None if dry else now)
        if before.warning:
            log.warning(before.warning)
        for selection in settings.selections:
            work.take(selection, before.selections.get(str(selection)))
        work.check()
        if not dry and work.asked:
            work.remember()
        settings = stores.settings = selections.applied(settings, work.found)
    work.describe_stale(settings.locations)
    return Resolution(settings, work.requests, tuple(work.reports), work.problem)


class _Resolving:
    """One resolution of all selections under way; see `resolve`."""

    def __init__(
        self, metadata: Metadata, api: Api | None, settings: Settings, now: datetime, *, yes: bool, dry: bool
    ) -> None:
        self._metadata = metadata
        self._api = api
        self._settings = settings
        self._now = now
        self._yes = yes
        self._dry = dry
        self._lists: dict[str, list[Entry]] = {}
        self._refused: list[str] = []
        self.found: dict[str, Resolved] = {}
        self.reports: list[SelectionReport] = []
        self.requests = 0
        self.asked = False
        self.problem: PipelineError | None = None

    def take(self, selection: Selection, before: Resolved | None) -> None:
        """Resolve one selection, or keep to what it was `before` (None: it is new)."""
        key = str(selection)
        agreed = self._yes and before is not None and before.held_back
        if before is not None and (self._api is None or (before.is_fresh(self._now) and not agreed)):
            self._keep(key, before)
            return
        try:
            self._resolve(selection, before)
        except ConfigError as error:
            if before is None:
                self._refused.append(f"{key} {error.advice}")
            else:
                self._keep(key, before, f"{key} {error}; the {_size(before)} of before hold")
        except PipelineError as error:
            if before is None:
                self.problem = self.problem or error
                log.warning("The selection %s could not be resolved: %s", key, error.advice)
            else:
                known = f"the {_size(before)} of {before.fetched:%Y-%m-%d} hold"
                self._keep(key, before, f"{key} could not be asked for anew ({error}); {known}")

    def check(self) -> None:
        """Raise `ConfigError` if selections can't be used, and say which and what to do about each."""
        if self._refused:
            hint = "Mend `locations:` in config.yaml, or pass --locations."
            raise ConfigError("Not every selection can be used as it is", problems=tuple(self._refused), hint=hint)

    def remember(self) -> None:
        """Write down what was found; without that it is asked for again."""
        try:
            selections.write(self._settings.data_dir, self.found)
        except PipelineError as error:
            self.problem = self.problem or error

    def describe_stale(self, locations: Iterable[int]) -> None:
        """Describe locations that are due, if there are many: all of OpenAQ's pages are fewer requests then.

        What is not in them, or can't be had now, is asked for by itself in its turn.
        """
        stale = {key for key in locations if not self._metadata.is_fresh(key, self._now)}
        if self._api is None or len(stale) <= MANY_STALE:
            return
        last = max(stale)
        try:
            for page in self._pages(self._api, {}):
                for location in page.found:
                    if location.id in stale:
                        self._metadata.put(location)
                if page.found and page.found[-1].id >= last:
                    break
        except PipelineError as error:
            log.warning("The list of locations could not be read to its end: %s", error)

    def _resolve(self, selection: Selection, before: Resolved | None) -> None:
        """Ask OpenAQ for a selection; raises `ConfigError` if nothing, or too much, comes of it."""
        if self._api is None:
            raise RetriableError(f"{selection} has not been resolved yet", hint="A run with OPENAQ_API_KEY does that.")
        filters, parameters = self._filters(selection)
        found: list[Location] = []
        unread: list[int] = []
        for page in self._pages(self._api, filters):
            found += page.found
            unread += page.unread
        ids = tuple(sorted({*(location.id for location in found), *unread}))
        if not ids:
            raise ConfigError("matches no location", hint=_advice(selection))
        accepted = before.accepted if before is not None else 0
        after = Resolved(self._now, ids, _count(found, parameters), parameters, accepted)
        self._accept(selection, before, after, found)

    def _accept(self, selection: Selection, before: Resolved | None, after: Resolved, found: list[Location]) -> None:
        """Take over a selection as far as it is no larger than it may be."""
        key, warnings = str(selection), []
        if self._is_too_large(after):
            cost = f"{cost_in_words(found, after, self._settings, self._now)} If you want that, say so once with --yes"
            if self._dry:
                warnings.append(f"{key} {cost}")
            elif before is None:
                raise ConfigError(cost)
            else:
                warnings.append(_outgrown(key, before, after))
                known = set(before.locations)
                found = [location for location in found if location.id in known]
                after = _kept(before, after, found)
        elif self._yes and len(after.locations) > MOST_LOCATIONS:
            after = msgspec.structs.replace(after, accepted=len(after.locations))
        changes = self._changes(key, before, after, found)
        for location in found:
            self._metadata.put(location)
        log.info("The selection %s has %s", key, _size(after))
        self.asked = True
        self._keep(key, after, *warnings, changes=changes)

    def _is_too_large(self, found: Resolved) -> bool:
        """Say whether a selection is larger than may be without having been agreed to."""
        number = len(found.locations)
        return not self._yes and number > MOST_LOCATIONS and number > GROWTH * found.accepted

    def _keep(self, key: str, found: Resolved, *warnings: str, changes: SelectionReport | None = None) -> None:
        self.found[key] = found
        report = changes or SelectionReport(key, len(found.locations), found.sensors)
        self.reports.append(msgspec.structs.replace(report, warnings=warnings))

    def _changes(
        self, key: str, before: Resolved | None, after: Resolved, found: Iterable[Location]
    ) -> SelectionReport:
        """Return what a selection has, and what of that is new or gone; at first nothing is new."""
        whole = SelectionReport(key, len(after.locations), after.sensors)
        if before is None:
            return whole
        old, new = set(before.locations), set(after.locations)
        stayed = old & new
        pairs = [
            (known, location)
            for location in found
            if location.id in stayed and (known := self._metadata.get(location.id)) is not None
        ]
        sensors_before = {sensor.id for known, _ in pairs for sensor in _sensors(known, after.parameters)}
        sensors_now = {sensor.id for _, location in pairs for sensor in _sensors(location, after.parameters)}
        return SelectionReport(
            key,
            whole.locations,
            whole.sensors,
            new_locations=tuple(sorted(new - old)),
            vanished_locations=tuple(sorted(old - new)),
            new_sensors=tuple(sorted(sensors_now - sensors_before)),
            vanished_sensors=tuple(sorted(sensors_before - sensors_now)),
        )

    def _filters(self, selection: Selection) -> tuple[dict[str, str | int], tuple[int, ...] | None]:
        """Return OpenAQ's filters for a selection, and the ids of the parameters to read, None: all."""
        filters: dict[str, str | int] = {}
        parameters = None
        if selection.country is not None:
            filters["iso"] = selection.country
        if selection.bbox is not None:
            filters["bbox"] = ",".join(map(_degrees, selection.bbox))
        if selection.near is not None:
            filters["coordinates"] = f"{_degrees(selection.near.lat)},{_degrees(selection.near.lon)}"
            filters["radius"] = selection.near.radius_m
        if selection.parameter is not None:
            parameters = self._ids("parameter", selection.parameter)
            filters["parameters_id"] = ",".join(map(str, parameters))
        if selection.provider is not None:
            filters["providers_id"] = ",".join(map(str, self._ids("provider", selection.provider)))
        return filters, parameters

    def _ids(self, kind: str, name: str) -> tuple[int, ...]:
        """Return the ids of a parameter or provider, whatever the case of its letters; a parameter has one a unit."""
        if kind not in self._lists and self._api is not None:
            self.requests += 1
            self._lists[kind] = self._api.parameters() if kind == "parameter" else self._api.providers()
        known = self._lists[kind]
        ids = sorted(entry.id for entry in known if entry.name.casefold() == name.casefold())
        if not ids:
            raise ConfigError(f"names a {kind} that OpenAQ does not have", hint=_nearest(name, known))
        return tuple(ids)

    def _pages(self, api: Api, filters: dict[str, str | int]) -> Iterator[LocationPage]:
        """Yield the pages of a list of locations, and count each as a request that is meant to be sent."""
        pages = api.locations(filters)
        while True:
            self.requests += 1
            page = next(pages, None)
            if page is None:
                self.requests -= 1
                return
            yield page


def cost_in_words(found: Iterable[Location], after: Resolved, settings: Settings, now: datetime) -> str:
    """Return how large a selection is and what that takes, in sentences that go on from its name."""
    live: Counter[int] = Counter()
    locations = 0
    for location in found:
        if location.datetime_last is not None and now - location.datetime_last < ALIVE:
            locations += 1
            live.update(sensor.parameters_id for sensor in _sensors(location, after.parameters))
    api, data = settings.api, settings.data
    cost = cost_of(
        live,
        after.sensors - live.total(),
        locations=locations,
        initial_days=data.initial_days,
        live_days=data.live_days,
        per_minute=api.requests_per_minute,
        per_hour=api.requests_per_hour,
    )
    return (
        f"matches {_size(after)}, {live.total():,} of them reporting. "
        f"The first load of {data.initial_days} days takes about {cost.first_requests:,} requests and "
        f"{cost.first_hours:,.1f} hours, each hour after it about {cost.hourly_requests:,} requests of the "
        f"{api.requests_per_hour:,} of your key, and a year about {cost.bytes_a_year / 1e9:,.1f} GB of disk."
    )


def _size(found: Resolved) -> str:
    one = len(found.locations) == 1
    return f"{len(found.locations):,} location{'' if one else 's'} with {found.sensors:,} sensors"


def _outgrown(key: str, before: Resolved, after: Resolved) -> str:
    """Return why a selection stays as it was."""
    return (
        f"{key} matches {len(after.locations):,} locations now, {len(before.locations):,} before; "
        "until you say once, with --yes, that you want that, only those known before are read"
    )


def _kept(before: Resolved, after: Resolved, found: Iterable[Location]) -> Resolved:
    """Return what is left of a selection as it was, now that it was asked anew."""
    there = tuple(sorted(set(before.locations) & set(after.locations)))
    return msgspec.structs.replace(after, locations=there, sensors=_count(found, after.parameters), held_back=True)


def _advice(selection: Selection) -> str:
    """Return what to look at in a selection that matches nothing."""
    if sum(value is not None for _, value in selection) > 1:
        return "Each of its keys narrows it: try it with one less"
    if selection.bbox is not None:
        west, south, east, north = selection.bbox
        corners = f"{_place(south, west)} to {_place(north, east)}"
        return f"Its order is minLon, minLat, maxLon, maxLat: this one reaches from {corners}"
    if selection.near is not None:
        most = f"a radius_m of up to {MAX_RADIUS_METRES:,}"
        return (
            f"It lies at {_place(selection.near.lat, selection.near.lon)}: look for lat and lon mixed up, or try {most}"
        )
    return "https://explore.openaq.org shows where there are locations"


def _place(latitude: float, longitude: float) -> str:
    """Return a place as people write it."""
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):g}° {north} {abs(longitude):g}° {east}"


def _nearest(name: str, known: Iterable[Entry]) -> str:
    """Return the names that are nearest to one that is none, by either of their names."""
    names: dict[str, str] = {}
    for entry in known:
        for also in filter(None, (entry.name, entry.also)):
            names.setdefault(also.casefold(), entry.name)
    close = difflib.get_close_matches(name.casefold(), names, n=NEAREST_NAMES, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(dict.fromkeys(f'`{names[each]}`' for each in close))}?"
    some = sorted(set(names.values()))
    more = f" and {len(some) - MOST_NAMES} more" if len(some) > MOST_NAMES else ""
    return f"It has {', '.join(some[:MOST_NAMES])}{more}"


def _degrees(number: float) -> str:
    """Return degrees to four decimals, further ones OpenAQ leaves out, and never as 1e-05."""
    return f"{number:.4f}".rstrip("0").rstrip(".")


def _sensors(location: Location, parameters: tuple[int, ...] | None) -> Iterator[Sensor]:
    """Yield the sensors that are to be read."""
    return (sensor for sensor in location.sensors if parameters is None or sensor.parameters_id in parameters)


def _count(found: Iterable[Location], parameters: tuple[int, ...] | None) -> int:
    return sum(1 for location in found for _ in _sensors(location, parameters))
