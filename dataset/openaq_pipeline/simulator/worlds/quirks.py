"""The quirks world: one small station for each oddity, the failing sensor and the poison row included."""

from __future__ import annotations

import msgspec

from openaq_pipeline.simulator.worlds import catalogue
from openaq_pipeline.simulator.worlds.madeup import Habits, MadeUpWorld
from openaq_pipeline.simulator.worlds.model import DAY_US, HOUR_US, Flag, Grant, Sensor, Station

PLAIN, LATE, GAPPY, DEAD, NULLS, SENTINELS, FRACTIONS, AHEAD, FAILING, POISON = range(101, 111)
QUARTERS, SILENT, PRIVATE, MOBILE, FLAGGED = range(111, 116)
"""Ids of the stations; the sensors of station s are s * 10 + 1 (PM2.5) and, for most, s * 10 + 2 (ozone)."""

HISTORY_DAYS = 60
PUNCTUAL = Habits(late_minutes=(0, 0))

HABITS = {
    PLAIN: PUNCTUAL,
    LATE: Habits(late_minutes=(30, 180), straggler_share=0.15),
    GAPPY: Habits(late_minutes=(0, 0), gap_share=0.2, missing_share=0.05),
    DEAD: PUNCTUAL,
    NULLS: Habits(late_minutes=(0, 0), null_share=0.1),
    SENTINELS: Habits(late_minutes=(0, 0), sentinel_share=0.1),
    FRACTIONS: Habits(late_minutes=(0, 0), fraction_us=916_000),
    AHEAD: Habits(late_minutes=(0, 0), dated_ahead=True),
}
NAMES = {
    PLAIN: "Plain",
    LATE: "Late and out of order",
    GAPPY: "Gappy",
    DEAD: "Dead",
    NULLS: "Nulls",
    SENTINELS: "Sentinels",
    FRACTIONS: "Sub-second stamps",
    AHEAD: "Dated ahead",
    FAILING: "Always fails",
    POISON: "One poison row",
    QUARTERS: "Every 15 minutes",
    SILENT: None,
    PRIVATE: "Private",
    MOBILE: "Mobile",
    FLAGGED: "Flagged",
}


def quirks(*, seed: int, now_us: int) -> MadeUpWorld:
    """Return the world; rows begin 60 days before `now`, at midnight UTC.

    The dead station's last row is 30 days old; the poison row is that of noon UTC three days ago.
    """
    today_us = now_us - now_us % DAY_US
    stations = tuple(_station(number, today_us) for number in NAMES)
    habits = {
        sensor.id: _habits(station.id, today_us)
        for station in stations
        for sensor in station.sensors
        if station.id != SILENT
    }
    return MadeUpWorld(stations, habits, seed=seed, begins_us=today_us - HISTORY_DAYS * DAY_US)


def poison_us(now_us: int) -> int:
    """Return the stamp of the poison row in a world made at `now`."""
    return now_us - now_us % DAY_US - 3 * DAY_US + 12 * HOUR_US


def _habits(station_id: int, today_us: int) -> Habits:
    habits = HABITS.get(station_id, PUNCTUAL)
    if station_id == DEAD:
        habits = msgspec.structs.replace(habits, ends_us=today_us - 30 * DAY_US)
    return habits


def _station(number: int, today_us: int) -> Station:
    flag = Flag(3, "Error", "ERROR", today_us - 2 * DAY_US, today_us - DAY_US, None)
    return Station(
        id=number,
        name=NAMES[number],
        timezone="Asia/Kathmandu" if number % 2 else "America/Denver",
        country=catalogue.NEPAL if number % 2 else catalogue.UNITED_STATES,
        owner=catalogue.COMMUNITY,
        provider=catalogue.CLARITY,
        instruments=(catalogue.LOW_COST,),
        latitude=27.7 + number / 1000,
        longitude=85.3,
        sensors=_sensors(number, today_us),
        is_mobile=number == MOBILE,
        is_private=number == PRIVATE,
        licenses=None if number == SILENT else (Grant(41, "CC BY 4.0 DEED", "Clarity"),),
        flags=(flag,) if number == FLAGGED else (),
    )


def _sensors(number: int, today_us: int) -> tuple[Sensor, ...]:
    poison = frozenset({poison_us(today_us)}) if number == POISON else frozenset[int]()
    first = Sensor(
        number * 10 + 1,
        catalogue.PARAMETERS[2],
        interval_us=HOUR_US // 4 if number == QUARTERS else HOUR_US,
        always_fails=number == FAILING,
        poison_us=poison,
    )
    # Failing and poisoned stations keep a healthy neighbour: one broken sensor must not stop the others.
    return first, Sensor(number * 10 + 2, catalogue.PARAMETERS[10])
