"""The demo world: ten stations in Kathmandu with all oddities of real data but a failing sensor."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from openaq_pipeline.simulator.worlds import catalogue
from openaq_pipeline.simulator.worlds.madeup import Habits, MadeUpWorld
from openaq_pipeline.simulator.worlds.model import (
    DAY_US,
    HOUR_US,
    Flag,
    Grant,
    Instrument,
    Named,
    Provider,
    Sensor,
    Station,
)

HISTORY_DAYS = 700
DEAD_FOR_DAYS = 200
EPOCH_US = 100 * DAY_US
"""The beginning and the dead station's end move only every hundred days, so that a demo repeated tomorrow agrees."""

FLAG_EVERY_US = 10 * DAY_US
FLAGS = 12
QUARTER_US = HOUR_US // 4


class Site(NamedTuple):
    """What tells the ten stations apart; `parameters` are OpenAQ's ids."""

    id: int
    name: str
    latitude: float
    longitude: float
    parameters: tuple[int, ...]
    kind: str
    habits: Habits = Habits()


EMBASSY = Habits(late_minutes=(6, 25), straggler_share=0.01, gap_share=0.004, null_share=0.004)
STEADY = Habits(late_minutes=(4, 40), straggler_share=0.015, missing_share=0.01, null_share=0.006)
LAGGING = Habits(late_minutes=(90, 260), straggler_share=0.05, gap_share=0.02, missing_share=0.02)
SHAKY = Habits(late_minutes=(5, 90), straggler_share=0.03, gap_share=0.05, null_share=0.01, sentinel_share=0.01)

SITES = (
    Site(
        3459,
        "US Diplomatic Post: Kathmandu (Maharajgunj)",
        27.7382,
        85.3361,
        (2, 10, 100),
        "reference",
        EMBASSY,
    ),
    Site(5506835, "Ratna Park", 27.7066, 85.3150, (2, 1, 7, 10, 98), "reference", STEADY),
    Site(5509787, "Bhaisepati", 27.6540, 85.3010, (2, 1, 100, 98), "community", STEADY),
    Site(6093549, "Thamel, Kathmandu", 27.7154, 85.3105, (19, 2, 1, 100, 98, 125), "community", SHAKY),
    Site(6093550, "Boudha Stupa", 27.7215, 85.3620, (2, 1, 100, 98), "community", LAGGING),
    Site(6093551, "Patan Durbar Square", 27.6727, 85.3253, (2, 1, 98), "community", STEADY),
    Site(6133623, "Kirtipur, Tribhuvan University", 27.6818, 85.2870, (2, 1, 8, 10, 100), "community", SHAKY),
    Site(6142022, "Bhaktapur, Taumadhi", 27.6722, 85.4298, (2, 1, 100, 98), "community", STEADY),
    Site(6142174, "Koteshwor Chowk", 27.6788, 85.3493, (2, 1, 7, 8), "community", LAGGING),
    Site(6142175, "Swayambhu", 27.7149, 85.2904, (2, 1, 100), "community", STEADY),
)

FRACTIONAL_LOCATION = 6093549
"""Its PM2.5 has stamps with 417 ms, which are printed without them."""
AHEAD_LOCATION = 6133623
"""Its ozone shows the row of Sunday noon eight days before its time."""
QUARTERLY_LOCATION = 6093551
"""Its sensors report every 15 minutes."""
DEAD_LOCATION = 6142175


def demo(*, seed: int, now_us: int) -> MadeUpWorld:
    """Return the world of `make run` without a key; rows begin 700 to 800 days before `now`."""
    epoch_us = now_us - now_us % EPOCH_US
    habits: dict[int, Habits] = {}
    stations = []
    for site in SITES:
        sensors = _sensors(site)
        habits |= {sensor.id: _habits(site, sensor, epoch_us) for sensor in sensors}
        stations.append(_station(site, sensors, now_us))
    return MadeUpWorld(tuple(stations), habits, seed=seed, begins_us=epoch_us - HISTORY_DAYS * DAY_US)


def _sensors(site: Site) -> tuple[Sensor, ...]:
    interval = QUARTER_US if site.id == QUARTERLY_LOCATION else HOUR_US
    return tuple(
        Sensor(site.id * 10 + number, catalogue.PARAMETERS[parameters_id], interval)
        for number, parameters_id in enumerate(site.parameters, start=1)
    )


def _habits(site: Site, sensor: Sensor, epoch_us: int) -> Habits:
    fraction = 417_000 if (site.id, sensor.parameter.name) == (FRACTIONAL_LOCATION, "pm25") else 0
    return msgspec.structs.replace(
        site.habits,
        fraction_us=fraction,
        dated_ahead=(site.id, sensor.parameter.name) == (AHEAD_LOCATION, "o3"),
        ends_us=epoch_us - DEAD_FOR_DAYS * DAY_US if site.id == DEAD_LOCATION else None,
    )


def _station(site: Site, sensors: tuple[Sensor, ...], now_us: int) -> Station:
    reference = site.kind == "reference"
    owner, provider, device = _people(reference=reference)
    grant = (
        Grant(33, "US Public Domain", owner.name, date_from="2016-01-30")
        if reference
        else Grant(41, "CC BY 4.0 DEED", provider.name, "https://openaq.org", "2023-06-01")
    )
    return Station(
        id=site.id,
        name=site.name,
        locality="Kathmandu" if reference else None,
        timezone="Asia/Kathmandu",
        country=catalogue.NEPAL,
        owner=owner,
        provider=provider,
        instruments=(device,),
        latitude=site.latitude,
        longitude=site.longitude,
        sensors=sensors,
        licenses=None if site.id == DEAD_LOCATION else (grant,),
        flags=_flags(now_us) if site.habits.sentinel_share else (),
    )


def _flags(now_us: int) -> tuple[Flag, ...]:
    last_us = now_us - now_us % FLAG_EVERY_US
    starts = range(last_us, last_us - FLAGS * FLAG_EVERY_US, -FLAG_EVERY_US)
    note = "Added as part of ingestion"
    return tuple(Flag(4, "Limits exceeded", "ERROR", start, start + 2 * HOUR_US, note) for start in starts)


def _people(*, reference: bool) -> tuple[Named, Provider, Instrument]:
    if reference:
        return catalogue.GOVERNMENT, catalogue.AIRNOW, catalogue.REFERENCE
    return catalogue.COMMUNITY, catalogue.AIR_GRADIENT, catalogue.LOW_COST
