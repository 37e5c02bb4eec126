"""The planet: as many stations as wanted, of a made-up mix that is much like OpenAQ's own.

Two in five stations are reference monitors, the others low-cost. Three in ten have been dead for one to five years, and
of the sensors of the living ones 3 % never reported and 4 % have died. One in ten low-cost stations reports each
quarter or half of an hour, all others hourly. A row shows minutes to an hour after its stamp, after a lag that is the
sensor's own; 2 % of the rows come later than that (see `bench`).
"""

from __future__ import annotations

from typing import NamedTuple

from openaq_pipeline.simulator.worlds import catalogue
from openaq_pipeline.simulator.worlds.bench import FIRST_LOCATION, FIRST_SENSOR, BenchWorld, Habit
from openaq_pipeline.simulator.worlds.model import (
    DAY_US,
    HOUR_US,
    Country,
    Grant,
    Instrument,
    Named,
    Provider,
    Sensor,
    Station,
)
from openaq_pipeline.simulator.worlds.weather import chance

SENSORS = 4
MINUTE_US = HOUR_US // 60
YEARS = 6
YEAR_US = 365 * DAY_US

LATE_SHARE = 0.02
REFERENCE_SHARE, DEAD_SHARE, SILENT_SHARE, DIED_SHARE = 0.4, 0.3, 0.03, 0.04
QUICK = {0: HOUR_US // 4, 1: HOUR_US // 2}
"""The interval of the first and second of twenty low-cost stations."""

REFERENCE_PARAMETERS = ((2, 1, 7, 10), (2, 1, 5, 3), (2, 10, 7, 9), (2, 1, 3, 8))
LOW_COST_PARAMETERS = ((2, 19, 98, 125), (2, 1, 19, 100), (2, 98, 100, 125))


class _Place(NamedTuple):
    """A country with one of its zones, and a rectangle in it: south, west, and degrees to the north and east."""

    country: Country
    timezone: str
    south: float
    west: float
    height: float
    width: float


PLACES = (
    _Place(catalogue.UNITED_STATES, "America/New_York", 33.0, -85.0, 9.0, 9.0),
    _Place(catalogue.UNITED_STATES, "America/Los_Angeles", 34.0, -122.0, 12.0, 4.0),
    _Place(catalogue.NEPAL, "Asia/Kathmandu", 27.0, 82.0, 1.5, 5.0),
    _Place(catalogue.GHANA, "Africa/Accra", 5.0, -2.5, 5.0, 3.0),
)


class _Kind(NamedTuple):
    """What makes a station: who runs it and with what, and its lag's bounds in minutes."""

    provider: Provider
    owner: Named
    instrument: Instrument
    license_id: int
    license_name: str
    lag_minutes: tuple[int, int]


REFERENCE = _Kind(catalogue.AIRNOW, catalogue.GOVERNMENT, catalogue.REFERENCE, 33, "US Public Domain", (10, 60))
LOW_COST = (
    _Kind(catalogue.AIR_GRADIENT, catalogue.COMMUNITY, catalogue.LOW_COST, 41, "CC BY 4.0 DEED", (3, 20)),
    _Kind(catalogue.CLARITY, catalogue.COMMUNITY, catalogue.LOW_COST, 41, "CC BY 4.0 DEED", (5, 40)),
)


def planet(locations: int, *, now_us: int) -> BenchWorld:
    """Return so many stations of four sensors each, with six years of rows before `now_us`."""
    stations: list[Station] = []
    habits: dict[int, Habit] = {}
    for index in range(locations):
        kind = REFERENCE if chance(1, index) < REFERENCE_SHARE else LOW_COST[index % 2]
        station = _station(index, kind)
        stations.append(station)
        dead = chance(2, index) < DEAD_SHARE
        habits.update({sensor.id: _habit(sensor, kind, now_us, dead=dead) for sensor in station.sensors})
    return BenchWorld(tuple(stations), begins_us=now_us - YEARS * YEAR_US, habits=habits)


def _habit(sensor: Sensor, kind: _Kind, now_us: int, *, dead: bool) -> Habit:
    fate = chance(3, sensor.id)
    if fate < SILENT_SHARE:
        return Habit(silent=True)
    least, most = kind.lag_minutes
    lag_us = int((least + (most - least) * chance(4, sensor.id)) * MINUTE_US)
    ends_us = now_us - int((1 + 4 * chance(5, sensor.id)) * YEAR_US) if dead or fate > 1 - DIED_SHARE else None
    return Habit(lag_us, LATE_SHARE, ends_us)


def _station(index: int, kind: _Kind) -> Station:
    place = PLACES[int(chance(6, index) * len(PLACES))]
    reference = kind is REFERENCE
    sets = REFERENCE_PARAMETERS if reference else LOW_COST_PARAMETERS
    interval_us = HOUR_US if reference else QUICK.get(int(chance(7, index) * 20), HOUR_US)
    first = FIRST_SENSOR + index * SENSORS
    return Station(
        id=FIRST_LOCATION + index,
        name=f"Planet {index + 1}",
        timezone=place.timezone,
        country=place.country,
        owner=kind.owner,
        provider=kind.provider,
        instruments=(kind.instrument,),
        latitude=round(place.south + place.height * chance(8, index), 5),
        longitude=round(place.west + place.width * chance(9, index), 5),
        licenses=(Grant(kind.license_id, kind.license_name, kind.owner.name),),
        sensors=tuple(
            Sensor(first + number, catalogue.PARAMETERS[parameters_id], interval_us)
            for number, parameters_id in enumerate(sets[index % len(sets)])
        ),
    )
