"""What a poll asks: it looks at what is known, listens to OpenAQ's lists of latest rows, and plans visits.

A visit is what is worth doing at one location. Most locations of most polls need none, because a list shows that
nothing has moved there. The thinking is `incremental.planner`'s; here are the stores it thinks about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

import msgspec

from openaq_pipeline.errors import StorageError
from openaq_pipeline.incremental import plan, planner
from openaq_pipeline.incremental.planner import Ask, Choice, Due, Standing, Urgency, Verdict
from openaq_pipeline.model import Counts, Location, LocationState, Sensor, SensorState, Window
from openaq_pipeline.openaq.lists import Heard, listen
from openaq_pipeline.order import Order, Parts, Visit
from openaq_pipeline.ports import LatestSource
from openaq_pipeline.reports import LocationReport, RunPlan, SensorOutcome, SensorReport
from openaq_pipeline.settings import Settings

WHOLE = 0
"""In the place of a sensor: all of a location whose sensors are not known yet."""

USUAL_REQUESTS = 7
"""Reckoned for a location whose sensors are not known yet: its description and six of them."""

LEAST_REACH = timedelta(days=1)
"""Lists of a parameter show sensors with a row younger than this at least: those that are alive."""

OPEN = {Standing.STEP, Standing.SILENT}
"""What a list may settle."""

UNSEEN = {Urgency.NEWS, Urgency.FIRST_LOAD}
"""Without these a sensor is not up to date."""

Found = Callable[["Sight", Sensor], Verdict | None]


class Sight(NamedTuple):
    """What is known of a location before anything is asked. `trusted`: its file is as the state remembers it."""

    location: Location
    state: LocationState
    standings: dict[int, Standing]
    look_back: timedelta
    trusted: bool

    def known(self, sensors_id: int) -> SensorState:
        """Return what is known of one of its sensors."""
        return self.state.sensors.get(sensors_id, SensorState())


class Round(NamedTuple):
    """What a poll does: its visits, the most urgent first, what it reports of the other locations, and its cost."""

    visits: list[Visit]
    quiet: list[LocationReport]
    plan: RunPlan


class Poll:
    """One poll of some locations, planned from what is known of them; `room`: in so many requests, None: in any."""

    def __init__(self, parts: Parts, order: Order, settings: Settings, room: int | None) -> None:
        self._parts, self._order, self._api, self._room = parts, order, settings.api, room
        # Who wants to know of flags can't do with a row that says nothing of them.
        self._flags_needed = "has_flags" in settings.validation.required_fields
        known = {key: parts.metadata.get(key) for key in settings.locations}
        self._unknown = [key for key, found in known.items() if found is None]
        self._sights = {key: self._sight(found) for key, found in known.items() if found is not None}
        self._lookups = {key for key in self._sights if not parts.metadata.is_fresh(key, order.now)}
        self._selected = Counter(
            each.parameters_id for sight in self._sights.values() for each in sight.location.sensors
        )
        self._probes = planner.probes(*self._open(), self._selected, self._left_room())

    def _sight(self, location: Location) -> Sight:
        parts, state = self._parts, self._parts.state.get(location.id)
        standings = {
            sensor.id: planner.standing(
                state.sensors.get(sensor.id, SensorState()), state.last_fetch_time, self._order.now
            )
            for sensor in location.sensors
        }
        # A file that something else has changed may hold less than the state says: then everything is read.
        trusted = not self._order.reset and parts.rows.mark(location.id) == state.file
        return Sight(location, state, standings, parts.look_back(state.sensors), trusted)

    def _left_room(self, lists: int = 0) -> int | None:
        """Return for how many requests there is room besides descriptions and so many lists."""
        return None if self._room is None else max(0, self._room - len(self._lookups) - lists)

    def _open(self) -> tuple[dict[int, Counter[int]], Counter[int]]:
        """Return which sensors a list may settle, by location and parameter, and the never read ones by parameter.

        The locations that were not looked at for longest come first.
        """
        open_: dict[int, Counter[int]] = {}
        firsts = Counter[int]()
        trusted = (each for each in self._sights.values() if each.trusted)
        for sight in sorted(trusted, key=lambda each: each.state.last_fetch_time or self._order.now):
            standings, sensors = sight.standings, sight.location.sensors
            firsts.update(each.parameters_id for each in sensors if standings[each.id] is Standing.FIRST)
            if found := Counter(each.parameters_id for each in sensors if standings[each.id] in OPEN):
                open_[sight.location.id] = found
        return open_, firsts

    def expected(self, more_requests: int = 0) -> RunPlan:
        """Return what the poll is to cost if the lists settle all they may settle; `more_requests` come on top."""
        pages = sum(planner.pages_of(parameter, self._selected) for parameter in self._probes.parameters)
        lists = pages + len(self._probes.locations)
        asked = set(self._probes.parameters), set(self._probes.locations)

        def hoped(sight: Sight, sensor: Sensor) -> Verdict | None:
            listed = sensor.parameters_id in asked[0] or sight.location.id in asked[1]
            return (Verdict.NOTHING if listed else Verdict.MORE) if sight.standings[sensor.id] in OPEN else None

        return self._plan(self._choose(hoped, lists), lists, more_requests)

    def listen(self, source: LatestSource) -> Heard:
        """Ask for the lists; raises `FatalError` and `Stopped`, which concern the whole run."""
        return listen(
            source,
            self._probes.parameters,
            self._probes.locations,
            since=self._order.now - self._reach(),
            workers=self._api.max_workers,
            room=self._left_room(),
        )

    def _reach(self) -> timedelta:
        """Return how old a row may be for a list of a parameter to show it."""
        data = self._parts.data
        loads = any(Standing.FIRST in sight.standings.values() for sight in self._sights.values())
        return max(LEAST_REACH, timedelta(hours=data.sweep_hours), timedelta(days=data.initial_days) * loads)

    def round(self, heard: Heard) -> Round:
        """Return what is to be done now that the lists have spoken."""

        def told(sight: Sight, sensor: Sensor) -> Verdict | None:
            standing = sight.standings[sensor.id]
            listed = sensor.parameters_id in heard.parameters or sight.location.id in heard.locations
            if not listed or standing not in OPEN | {Standing.FIRST}:
                return Verdict.MORE if standing in OPEN else None
            known, row = sight.known(sensor.id), heard.rows.get(sensor.id)
            said = planner.verdict(known, standing, row)
            return Verdict.MORE if said is Verdict.NEXT and self._flags_needed else said

        choice = self._choose(told, heard.requests)
        visits, quiet = self._visits(choice, heard, told)
        return Round(visits, quiet, self._plan(choice, heard.requests))

    def _choose(self, found: Found, lists: int) -> Choice:
        return planner.choose(self._asks(found), self._left_room(lists))

    def _asks(self, found: Found) -> Iterator[Ask]:
        """Yield every series that is worth a request."""
        for key in self._unknown:
            yield Ask(key, WHOLE, Urgency.FIRST_LOAD, self._order.now, USUAL_REQUESTS)
        for sight in self._sights.values():
            for sensor in sight.location.sensors:
                due = self._due(sight, sensor, found)
                if due is not None:
                    yield Ask(sight.location.id, sensor.id, *due, self._requests(sight, sensor))

    def _due(self, sight: Sight, sensor: Sensor, found: Found) -> Due | None:
        standing, known, now = sight.standings[sensor.id], sight.known(sensor.id), self._order.now
        if sight.trusted or standing is Standing.PARKED:
            last = sight.state.last_fetch_time
            again = last is not None and abs(now - last) < planner.JUST_BEFORE
            told = found(sight, sensor)
            return planner.due(known, standing, told, look_back=sight.look_back, again=again, now=now)
        return Due(Urgency.NEWS, known.watermark or now)

    def _requests(self, sight: Sight, sensor: Sensor) -> int:
        window = self._window(sight, sensor.id)
        interval = planner.interval_of(sight.known(sensor.id).rhythm) or plan.USUAL_INTERVAL
        probes = sight.standings[sensor.id] is Standing.AGAIN
        return probes + plan.requests_for([window] if window else [], interval)

    def _window(self, sight: Sight, sensors_id: int) -> Window | None:
        known = sight.known(sensors_id)
        return self._parts.window(self._order, sight.location.id, sensors_id, known, sight.look_back)

    def _visits(self, choice: Choice, heard: Heard, found: Found) -> tuple[list[Visit], list[LocationReport]]:
        """Return the visits: first those that store what is known already, then by urgency; and the quiet locations."""
        taken = {(ask.location_id, ask.sensors_id) for ask in choice.taken}
        waiting = {(ask.location_id, ask.sensors_id) for ask in choice.deferred if ask.urgency in UNSEEN}
        rank = {ask.location_id: place for place, ask in reversed(list(enumerate(choice.taken)))}
        visits = [Visit(key) for key in self._unknown if (key, WHOLE) in taken]
        quiet = [LocationReport(key, None, "ok", Counts()) for key in self._unknown if (key, WHOLE) not in taken]
        for key, sight in self._sights.items():
            sensors = sight.location.sensors
            left = {each.id: _outcome(sight, each.id, waiting) for each in sensors if (key, each.id) not in taken}
            latest = tuple(heard.rows[each.id] for each in sensors if found(sight, each) is Verdict.NEXT)
            if key in rank or key in self._lookups or latest or not sight.trusted:
                visits.append(Visit(key, left, latest))
            else:
                quiet.append(self._quiet(sight, left))
        return sorted(visits, key=lambda visit: rank.get(visit.location_id, -1)), quiet

    def _quiet(self, sight: Sight, left: dict[int, SensorOutcome]) -> LocationReport:
        """Remember that a location was looked at, if it was, and return its report."""
        if "deferred" not in left.values():  # who waits was not looked at, and comes the sooner
            now = self._order.now
            state = msgspec.structs.replace(sight.state, last_fetch_time=now, last_successful_run=now)
            with suppress(StorageError):  # it is remembered, and the end of the run writes it or tells why not
                self._parts.state.put(sight.location.id, state)
        sensors = (_left(sensor, sight.known(sensor.id), left[sensor.id]) for sensor in sight.location.sensors)
        return LocationReport(sight.location.id, sight.location.name, "ok", Counts(), sensors=tuple(sensors))

    def _plan(self, choice: Choice, lists: int, more_requests: int = 0) -> RunPlan:
        by_urgency = Counter(ask.urgency for ask in choice.taken)
        asked = sum(ask.requests for ask in choice.taken)
        requests, api = len(self._lookups) + lists + asked + more_requests, self._api
        sensors = [ask for ask in choice.taken if ask.sensors_id != WHOLE]
        windows = (self._window(self._sights[ask.location_id], ask.sensors_id) for ask in sensors)
        standings = (each for sight in self._sights.values() for each in sight.standings.values())
        return RunPlan(
            locations=len(self._unknown) + len(self._sights),
            unknown_locations=len(self._unknown),
            sensors=len(sensors),
            parked=sum(each is Standing.PARKED for each in standings),
            oldest=min((window.start for window in windows if window is not None), default=None),
            requests=requests,
            minutes=plan.minutes_for(requests, per_minute=api.requests_per_minute, per_hour=api.requests_per_hour),
            lists=lists,
            news=by_urgency[Urgency.NEWS],
            look_backs=by_urgency[Urgency.LOOK_BACK] + by_urgency[Urgency.SPARE],
            first_loads=by_urgency[Urgency.FIRST_LOAD],
            routine=by_urgency[Urgency.ROUTINE],
            deferred=len(choice.deferred),
        )


def _outcome(sight: Sight, sensors_id: int, waiting: set[tuple[int, int]]) -> SensorOutcome:
    """Return how a sensor counts that is not asked for."""
    if sight.standings[sensors_id] is Standing.PARKED:
        return "parked"
    return "deferred" if (sight.location.id, sensors_id) in waiting else "ok"


def _left(sensor: Sensor, state: SensorState, outcome: SensorOutcome) -> SensorReport:
    error = state.last_error if outcome == "parked" else None
    return SensorReport(sensor.id, sensor.parameter, sensor.units, outcome, Counts(), state.watermark, error)
