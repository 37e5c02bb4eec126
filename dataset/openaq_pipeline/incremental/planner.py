"""Which requests a poll is worth: the cheapest set that shows what is new, within the room there is.

1. `standing` says what can be expected of a sensor now.
2. `probes` chooses where a list of latest rows is cheaper than asking for the series themselves.
3. `verdict` reads what such a list says of a sensor: nothing new, the very next row, or more than that.
4. `asks` names the series that are worth a request, and `choose` takes the most urgent ones that fit.

A sensor that reports at even intervals and of which every row is there can't get a late one: late rows fill holes. So a
look-back is read again only where there is a hole young enough to be filled, and once a day everywhere (the sweep).
Where the budget is short, a hole is looked at when its age has doubled, and the oldest sweep comes first.
See docs/decisions/0018-planner.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum, IntEnum
from typing import NamedTuple

import msgspec

from openaq_pipeline.incremental import lateness, plan
from openaq_pipeline.incremental.rhythm import is_next
from openaq_pipeline.model import Latest, LocationState, Measurement, Rhythm, Sensor, SensorState

BEHIND_STEPS = 1.5
"""So many intervals since the last look, and there should be more than one new row: a latest one would not do."""

SILENT_STEPS = 4
"""A sensor so many intervals without a row at the last look is not expected to have one now."""

JUST_BEFORE = timedelta(minutes=30)
"""Who runs again so soon wants to know whether anything has changed: nothing new can be due by then."""

HOLE_GROWTH = 2.0
"""A hole is looked at again when it is twice as old as at the last look (exponential back-off): what came meanwhile is
found before it is twice as late, and the number of looks grows with the logarithm of the look-back."""

WORLD_SENSORS = 100_000
"""About as many sensors as OpenAQ lists; to reckon how long its list of a parameter is before it was ever asked for."""

LIST_ROWS = 1000
"""Rows of a page of latest rows, OpenAQ's largest (section 1)."""

PATIENT_SHARE = 8
"""An eighth of a short room is for what is not urgent: with less a first load of the planet takes weeks, with more what
is new waits for what is old."""

FIRST_SHARE = 20
"""Lists come before a first load where they cost a twentieth of it at most: they tell which sensors are dead."""


class Standing(Enum):
    """What can be expected of a sensor."""

    FIRST = "its series was never read to the end"
    PARKED = "not asked for a while"
    AGAIN = "parked, and its next probe is due"
    IDLE = "no row is due yet"
    STEP = "one row is due, which a list of latest rows would show; or its rows are irregular"
    SILENT = "none was to be had for long"
    BEHIND = "several rows are due, which only its series shows"


class Urgency(IntEnum):
    """What an ask is for, the most urgent first."""

    NEWS = 0
    LOOK_BACK = 1
    FIRST_LOAD = 2
    ROUTINE = 3
    """Daily sweeps, and the probes of parked sensors."""
    SPARE = 4
    """What is looked at again only because there is room to spare."""


class Due(NamedTuple):
    """What a sensor's series is to be asked for, and since when that is due."""

    urgency: Urgency
    since: datetime


class Ask(msgspec.Struct, frozen=True):
    """A series worth asking for, since when, and at how many requests."""

    location_id: int
    sensors_id: int
    urgency: Urgency
    since: datetime
    requests: int = 1


class Probes(NamedTuple):
    """The lists to ask for: of all sensors of a parameter, and of a location's sensors."""

    parameters: tuple[int, ...]
    locations: tuple[int, ...]


class Verdict(Enum):
    """What a list of latest rows says of a sensor."""

    NOTHING = "it has no row that is not stored"
    NEXT = "its latest row is the very next one: it is the missing row"
    MORE = "there is more than that, or the list does not tell: its series has to be asked for"


class Choice(NamedTuple):
    """The asks that fit into the room, and those that wait for the next poll."""

    taken: list[Ask]
    deferred: list[Ask]


def standing(state: SensorState, looked_at: datetime | None, now: datetime) -> Standing:
    """Return what can be expected of a sensor; `looked_at` is when its location was last looked at, None: never."""
    if state.parked_until is not None:
        return Standing.PARKED if plan.is_parked(state, now) else Standing.AGAIN
    if state.swept is None:
        return Standing.FIRST
    if state.watermark is None:
        return Standing.SILENT
    interval = interval_of(state.rhythm)
    return Standing.STEP if interval is None else _on_grid(state.watermark, interval, looked_at, now)


def _on_grid(watermark: datetime, interval: timedelta, looked_at: datetime | None, now: datetime) -> Standing:
    """Return what can be expected of a sensor that reports at even intervals."""
    if watermark + interval > now:
        return Standing.IDLE
    if looked_at is None:
        return Standing.BEHIND
    if looked_at - watermark >= SILENT_STEPS * interval:
        return Standing.SILENT
    return Standing.BEHIND if now - looked_at >= BEHIND_STEPS * interval else Standing.STEP


def interval_of(rhythm: Rhythm) -> timedelta | None:
    """Return the time between two rows of a sensor; None: irregular, or not known yet."""
    return None if rhythm.interval_seconds is None else timedelta(seconds=rhythm.interval_seconds)


def probes(
    open_: Mapping[int, Counter[int]], firsts: Counter[int], selected: Counter[int], room: int | None = None
) -> Probes:
    """Return the lists that are cheaper than asking for each series, or for each location's own list.

    `open_` are, by location and in the order of their turns, the sensors of each parameter that a list may settle;
    `firsts` the sensors of each parameter that were never read, and `selected` all that are followed. A location of
    which one sensor is left to ask needs no list. Parameters are taken as long as that spares more locations than their
    lists have pages, those first whose pages tell most.

    Half of the room in requests (None: any) is for lists at most: they settle what has one new row, and what has more
    would never be asked for where each poll has more lists than room.
    """
    wanted: Counter[int] = sum(open_.values(), Counter())
    pages = {parameter: pages_of(parameter, selected) for parameter in wanted | firsts}
    order = sorted(wanted, key=lambda parameter: (-wanted[parameter] / pages[parameter], parameter))
    owners: dict[int, list[int]] = {}
    for location_id, counts in open_.items():
        for parameter in counts:
            owners.setdefault(parameter, []).append(location_id)
    left = {location_id: len(counts) for location_id, counts in open_.items()}
    cost = best = len(left)
    taken = 0
    for number, parameter in enumerate(order, start=1):
        for location_id in owners[parameter]:
            left[location_id] -= 1
        cost += pages[parameter] - sum(not left[location_id] for location_id in owners[parameter])
        if cost < best:
            best, taken = cost, number
    worth = [*order[:taken], *(each for each, n in firsts.items() if n >= FIRST_SHARE * pages[each])]
    left_room = math.inf if room is None else room // 2
    chosen: set[int] = set()
    for parameter in dict.fromkeys(worth):
        if pages[parameter] <= left_room:
            chosen.add(parameter)
            left_room -= pages[parameter]
    alone = {
        location_id: sum(n for parameter, n in counts.items() if parameter not in chosen)
        for location_id, counts in open_.items()
    }
    listed = [location_id for location_id, n in alone.items() if n > 1]
    return Probes(tuple(sorted(chosen)), tuple(listed if room is None else listed[: int(left_room)]))


def pages_of(parameter: int, selected: Counter[int]) -> int:
    """Return how many pages the list of a parameter has if the selection is an average one of all of OpenAQ."""
    share = max(1.0, WORLD_SENSORS / max(1, selected.total()))
    return max(1, math.ceil(selected[parameter] * share / LIST_ROWS))


def verdict(state: SensorState, standing: Standing, row: Latest | None) -> Verdict:
    """Return what a list that was asked for says of a sensor; `row` None: it is not in it.

    A sensor that should be in it and is not may have been missed between two pages, which are in no order. A row
    stamped in the future, which hides what comes before it, is none that is due (OPENAQ sections 3.4 and 3.6).
    """
    if row is None:
        return Verdict.NOTHING if standing in {Standing.SILENT, Standing.FIRST} else Verdict.MORE
    if state.watermark is not None and row.datetime <= state.watermark:
        return Verdict.NOTHING
    if row.value is None:
        return Verdict.MORE
    return Verdict.NEXT if is_next(state.watermark, state.rhythm.interval_seconds, row.datetime) else Verdict.MORE


def as_measurement(location_id: int, row: Latest, sensor: Sensor, rhythm: Rhythm, now: datetime) -> Measurement:
    """Return a latest row as a measurement: parameter and unit are the sensor's, and of flags nothing is told.

    It belongs to the location at which the sensor is followed, as its series does, whatever the list says.
    """
    return Measurement(
        location_id=location_id,
        sensors_id=sensor.id,
        parameters_id=sensor.parameters_id,
        parameter=sensor.parameter,
        units=sensor.units,
        value=row.value,
        datetime=row.datetime,
        datetime_local=row.datetime_local,
        interval_seconds=rhythm.interval_seconds,
        has_flags=None,
        issues=(),
        source="latest",
        first_seen=now,
    )


def look_back_of(states: Iterable[SensorState], *, usual: timedelta, least: timedelta, most: timedelta) -> timedelta:
    """Return the look-back that suits a location's sensors, which mostly come from one provider by one way.

    `usual` until enough of their rows were seen, then what was learnt of them together, within least and most.
    """
    histograms = [state.rhythm.lateness for state in states if state.rhythm.lateness]
    together = tuple(map(sum, zip(*histograms, strict=False)))
    return lateness.look_back(together, usual=usual, least=min(least, usual), most=max(most, usual))


def due(
    state: SensorState,
    standing: Standing,
    found: Verdict | None,
    *,
    look_back: timedelta,
    again: bool,
    now: datetime,
) -> Due | None:
    """Return what a sensor's series would be asked for, and since when that is due; None: it is not worth a request.

    `found` is what a list said of it; None: none was asked for, and nothing is known to be new. `again`: it was looked
    at just before, so somebody wants to know whether anything has changed.
    """
    if standing is Standing.PARKED:
        return None
    if standing is Standing.AGAIN:
        return Due(Urgency.ROUTINE, state.parked_until or now)
    if standing is Standing.FIRST:
        # One that OpenAQ's list shows without a row to load is most likely dead: it is read once all others are.
        return Due(Urgency.ROUTINE if found is Verdict.NOTHING else Urgency.FIRST_LOAD, state.watermark or now)
    if standing is Standing.BEHIND or found is Verdict.MORE:
        return Due(Urgency.NEWS, _known_to(state) or now)
    return _due_again(state, look_back, again=again, now=now)


def _known_to(state: SensorState) -> datetime | None:
    """Return up to when a sensor is known: a read that found nothing new was its turn too, or the dead come first."""
    return max((stamp for stamp in (state.watermark, state.rhythm.read_at) if stamp is not None), default=None)


def _due_again(state: SensorState, look_back: timedelta, *, again: bool, now: datetime) -> Due | None:
    """Return what a series without news is worth a request for: a hole that may be filled, the sweep, a second look."""
    holes = [hole for hole in state.rhythm.holes if now - hole <= look_back]
    grown = next((hole for hole in holes if _has_grown(hole, state.rhythm.read_at, now)), None)
    # Where there is always news nothing else is urgent enough: a sweep a day late takes its turn with the routine.
    if grown is not None and (state.swept is None or now - state.swept < 2 * plan.SWEEP_EVERY):
        return Due(Urgency.LOOK_BACK, grown)
    if plan.is_sweep_due(state, now):
        return Due(Urgency.ROUTINE, state.swept + plan.SWEEP_EVERY if state.swept else now)
    return Due(Urgency.SPARE, holes[0] if holes else now) if holes or again else None


def _has_grown(hole: datetime, read_at: datetime | None, now: datetime) -> bool:
    return read_at is None or now - hole >= HOLE_GROWTH * (read_at - hole)


def choose(asks: Iterable[Ask], room: int | None) -> Choice:
    """Return the most urgent asks that fit into so many requests, and the others; None: all fit.

    Of one urgency each location has its first turn before any has its second, and the oldest comes first. A part of the
    room, at least one request of two, is for first loads and the routine, so that a selection too large for its key
    starves none of its sensors.
    """
    ranked = _ranked(asks)
    if room is None:
        return Choice(ranked, [])
    urgent = [ask for ask in ranked if ask.urgency <= Urgency.LOOK_BACK]
    patient = ranked[len(urgent) :]
    waiting = sum(ask.requests for ask in patient if ask.urgency is not Urgency.SPARE)
    share = max(room // PATIENT_SHARE, min(1, room // 2))
    first = _fitting(urgent, room - min(share, waiting))
    second = _fitting(patient, room - sum(ask.requests for ask in first.taken))
    return Choice(first.taken + second.taken, first.deferred + second.deferred)


def usual_requests(locations: Iterable[LocationState], gap: timedelta) -> int:
    """Return how many requests a poll of these locations sends where one begins so long after the other.

    Series with several new rows by then, or at no even intervals, are asked for each time, and all of them by polls in
    quick succession. The others of a location cost its list, and each one its sweep, once a day. Each location has its
    description, because the poll that asks for one asks for all.
    """
    requests = 0.0
    for location in locations:
        listed = sum(_is_listed(state, gap) for state in location.sensors.values())
        requests += len(location.sensors) - listed + bool(listed) + 1 + listed * min(1.0, gap / plan.SWEEP_EVERY)
    return math.ceil(requests)


def _is_listed(state: SensorState, gap: timedelta) -> bool:
    interval = interval_of(state.rhythm)
    return state.swept is not None and interval is not None and JUST_BEFORE <= gap < BEHIND_STEPS * interval


def _ranked(asks: Iterable[Ask]) -> list[Ask]:
    """Return the asks in the order of their turns."""
    turns: Counter[tuple[int, Urgency]] = Counter()
    ranked: list[tuple[Urgency, int, datetime, int, int, Ask]] = []
    for ask in sorted(asks, key=lambda ask: (ask.since, ask.sensors_id)):
        turn = turns[ask.location_id, ask.urgency]
        turns[ask.location_id, ask.urgency] += 1
        ranked.append((ask.urgency, turn, ask.since, ask.location_id, ask.sensors_id, ask))
    ranked.sort(key=lambda entry: entry[:-1])
    return [entry[-1] for entry in ranked]


def _fitting(ranked: list[Ask], room: int) -> Choice:
    """Return what fits in the order given: once one does not fit, none is let past it. The first one always goes."""
    used = 0
    for place, ask in enumerate(ranked):
        if used >= room or (place and used + ask.requests > room):
            return Choice(ranked[:place], ranked[place:])
        used += ask.requests
    return Choice(ranked, [])
