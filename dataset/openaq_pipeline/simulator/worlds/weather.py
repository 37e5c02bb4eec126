"""Made-up air: values as a pure function of (seed, sensor, stamp), so that no window costs memory."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from openaq_pipeline.simulator.worlds.model import DAY_US, HOUR_US, Sensor

MASK = (1 << 64) - 1


def mix(*numbers: int) -> int:
    """Return 64 well-mixed bits of some integers (the finaliser of SplitMix64, Steele et al. 2014)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
        state ^= state >> 31
    return state


def chance(*numbers: int) -> float:
    """Return a number in [0, 1) that looks random and is always the same for the same integers."""
    return mix(*numbers) / 2.0**64


@lru_cache(maxsize=65536)
def _node(seed: int, period_us: int, index: int) -> float:
    return 2 * chance(seed, period_us, index) - 1


def wander(seed: int, stamp_us: int, period_us: int) -> float:
    """Return a smooth curve within [-1, 1] that changes direction about once a period (value noise)."""
    index, rest = divmod(stamp_us, period_us)
    share = rest / period_us
    eased = share * share * (3 - 2 * share)
    left, right = _node(seed, period_us, index), _node(seed, period_us, index + 1)
    return left + (right - left) * eased


def episode(seed: int, stamp_us: int) -> float:
    """Return 0 in ordinary hours, up to 1 in a pollution event (6 to 18 hours, about twice a month)."""
    day = stamp_us // DAY_US
    strength = 0.0
    for start_day in (day - 1, day):
        if chance(seed, 11, start_day) < 0.07:
            begin = start_day * DAY_US + int(chance(seed, 12, start_day) * DAY_US)
            length = (6 + 12 * chance(seed, 13, start_day)) * HOUR_US
            share = (stamp_us - begin) / length
            strength = max(strength, math.sin(math.pi * share)) if 0 < share < 1 else strength
    return strength


class Climate(NamedTuple):
    """How a parameter behaves: its usual level, the shares of it that move, and its decimals.

    `rush` follows traffic (two peaks a day), `sun` follows the afternoon, `weekend` is the share lost on
    Saturdays, `stagnation` follows still air and `event` is the multiple reached in an episode.
    """

    level: float
    rush: float
    sun: float
    weekend: float
    stagnation: float
    event: float
    digits: int


CLIMATES = {
    "pm1": Climate(22, 0.35, 0.0, 0.1, 0.5, 3.5, 1),
    "pm25": Climate(34, 0.35, 0.0, 0.1, 0.5, 4.0, 1),
    "pm10": Climate(58, 0.4, 0.0, 0.15, 0.45, 3.5, 1),
    "um003": Climate(900, 0.35, 0.0, 0.1, 0.5, 3.0, 2),
    "co": Climate(0.45, 0.4, 0.0, 0.15, 0.35, 2.0, 3),
    "no2": Climate(0.017, 0.5, -0.1, 0.25, 0.3, 1.2, 4),
    "o3": Climate(0.034, -0.2, 0.55, -0.05, 0.15, 0.4, 4),
    "so2": Climate(0.003, 0.2, 0.1, 0.1, 0.4, 1.5, 4),
    "temperature": Climate(18, 0.0, 0.3, 0.0, 0.25, 0.0, 1),
    "relativehumidity": Climate(62, 0.0, -0.3, 0.0, 0.2, 0.0, 1),
}
SCALE_TO_PPM = {"ppm": 1.0, "ppb": 1000.0, "µg/m³": 1900.0}


def value_at(seed: int, sensor: Sensor, stamp_us: int, offset_us: int) -> float:
    """Return the value that a sensor reads for the period ending at `stamp_us`.

    `seed` belongs to the station, so that all its sensors share the weather; `offset_us` is local minus UTC.
    """
    name, units = sensor.parameter.name, sensor.parameter.units
    climate = CLIMATES[name]
    local_us = stamp_us + offset_us
    hour = (local_us % DAY_US) / HOUR_US
    share = 1.0
    share += climate.rush * (_bump(hour, 8.5, 2.2) + _bump(hour, 18.5, 2.8) - 0.4)
    share += climate.sun * math.cos((hour - 14.5) * math.pi / 12)
    if (local_us // DAY_US + 3) % 7 == 5:
        share -= climate.weekend
    share += climate.stagnation * (0.6 * wander(seed, stamp_us, 4 * DAY_US) + 0.4 * wander(seed, stamp_us, 8 * HOUR_US))
    share += climate.event * episode(seed, stamp_us)
    share += 0.06 * (2 * chance(seed, sensor.id, stamp_us) - 1)
    value = max(share, 0.05) * climate.level
    if name == "relativehumidity":
        value = min(value, 100.0)
    if name in {"co", "no2", "o3", "so2"}:
        scale = SCALE_TO_PPM[units]
        return round(value * scale, climate.digits if scale == 1 else 1)
    return round(value, climate.digits)


def _bump(hour: float, centre: float, width: float) -> float:
    distance = (hour - centre + 12) % 24 - 12
    return math.exp(-((distance / width) ** 2))
