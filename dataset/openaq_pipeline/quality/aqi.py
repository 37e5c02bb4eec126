"""The air quality index of the United States: breakpoints, averages and NowCast. Pure.

Sources, cited below by these names:

* **App. G**: 40 CFR Part 58, Appendix G, Table 2 and Equation 1, as amended by 89 FR 16202 (6 March 2024), in force
  since 6 May 2024.
* **TAD**: "Technical Assistance Document for the Reporting of Daily Air Quality - the Air Quality Index (AQI)",
  EPA-454/B-24-002, May 2024: truncation, NowCast, categories and their colours.

**What it is not.** Appendix G makes one number of a whole day, the highest of all pollutants; these are numbers of one
sensor and its last hours. AirNow's own number for ozone is a NowCast too, made by a regression over two weeks that
nobody outside can repeat; here it is the mean of 8 hours. None of it is a report in the sense of the law.

**No conversion.** Appendix G has gases in ppm and ppb. Of µg/m³ that needs the temperature and pressure that a station
reports at (20 or 25 °C, or those outside), and OpenAQ does not tell them: there is no index then, and none is guessed.

**What counts.** Of odd hours Appendix G says nothing; its index is made of data that nobody has validated yet. A
negative mean is no concentration, and counts as missing, as None does. A row that OpenAQ flags counts: the flag tells
neither why nor how grave it is. Who calls leaves out what is no measurement of the air (see `reading.latest`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import NamedTuple

import msgspec

CATEGORIES = (
    "Good",
    "Moderate",
    "Unhealthy for Sensitive Groups",
    "Unhealthy",
    "Very Unhealthy",
    "Hazardous",
)
"""By level (App. G, Table 1)."""

COLOURS = ("#00E400", "#FFFF00", "#FF7E00", "#FF0000", "#8F3F97", "#7E0023")
"""By level: green, yellow, orange, red, purple, maroon (TAD, Table 2)."""

LOWEST = (0, 51, 101, 151, 201, 301)
"""The lowest index of each level (App. G, Table 2)."""

HIGHEST = (50, 100, 150, 200, 300, 500)
"""The highest index of each level. Beyond the last breakpoint Equation 1 may go on with the last two (App. G, 12 c)."""

MASS = frozenset({"µg/m³", "\N{GREEK SMALL LETTER MU}g/m³"})
PPM_PER = {"ppm": 1.0, "ppb": 0.001}


class Scale(NamedTuple):
    """The breakpoints of a pollutant and an averaging time.

    They are in steps of `step`, to which a concentration is truncated, in ppm for gases. The levels begin with `level`,
    each from its breakpoint up to a step before the next, and the last of them up to `end`. Beyond `end` the index goes
    on by the last two breakpoints, or, where another averaging time stands for the higher levels (`is_capped`), stays.
    """

    step: float
    lows: tuple[int, ...]
    end: int
    level: int = 0
    is_capped: bool = False


SCALES = {
    "pm25": Scale(0.1, (0, 91, 355, 555, 1255, 2255), 3254),  # 24 hours or NowCast; 9.0, 35.4, 55.4, 125.4, 225.4
    "pm10": Scale(1.0, (0, 55, 155, 255, 355, 425), 604),  # 24 hours or NowCast
    "o3": Scale(0.001, (0, 55, 71, 86, 106), 200, is_capped=True),  # 8 hours; from 301 on the hour counts
    "co": Scale(0.1, (0, 45, 95, 125, 155, 305), 504),  # 8 hours
    "so2": Scale(0.001, (0, 36, 76, 186), 304, is_capped=True),  # 1 hour; from 201 on the day counts
    "no2": Scale(0.001, (0, 54, 101, 361, 650, 1250), 2049),  # 1 hour
}
"""App. G, Table 2, by parameter, each for the average that Appendix G names first."""

OZONE_HOUR = Scale(0.001, (125, 165, 205, 405), 604, level=2)
"""App. G, Table 2: ozone of 1 hour, where it says more than that of 8 hours; below 0.125 ppm it says nothing."""

SULPHUR_DAY = Scale(0.001, (305, 605), 1004, level=4)
"""App. G, Table 2: sulphur dioxide of 24 hours, where that of 1 hour is above 304 ppb."""

MOST = 1e9
"""More is no concentration in any of the units: a cubic metre of air weighs little more in micrograms."""

NOWCAST_HOURS = 12
LEAST_WEIGHT = 0.5
"""TAD, NowCast for PM: the weight is the lowest hour over the highest, and at least one half."""

NEWEST_HOURS, LEAST_NEWEST = 3, 2
"""TAD, NowCast: two of the three newest hours must be there."""

MEAN_HOURS, LEAST_MEAN_HOURS = 8, 6
"""40 CFR Part 50, Appendices U (ozone) and, for carbon monoxide, 50.8: three quarters of 8 hours make a mean."""

DAY_HOURS, LEAST_DAY_HOURS = 24, 18
"""40 CFR Part 50, Appendix T: three quarters of a day make a mean of it."""


class Index(msgspec.Struct, frozen=True):
    """An index with the category that it falls into; `level` 0 to 5 is the category's place in `CATEGORIES`.

    `basis` says what was averaged, such as "NowCast" or "8 hours"; empty where the caller knows.
    """

    value: int
    category: str
    level: int
    basis: str = ""


def index_of(parameter: str, units: str, concentration: float) -> Index | None:
    """Return the index of a concentration that is averaged as `SCALES` tells; None: not defined for it.

    That is so for other parameters, for gases in µg/m³, and for what is negative, no number, or more than `MOST`.
    Ozone of 8 hours ends with 300, sulphur dioxide of an hour with 200: above, Appendix G wants other averages (see
    `current`).
    """
    scale = SCALES.get(parameter)
    amount = _amount(parameter, units, concentration)
    return None if scale is None or amount is None else _index(scale, amount)


def nowcast(hours: Sequence[float | None]) -> float | None:
    """Return the NowCast of hourly means of PM in µg/m³, newest first; None: not enough of them.

    Of up to 12 hours, those that are None or negative are passed over. The TAD truncates the result; `index_of` does.
    """
    kept = [(age, value) for age, value in enumerate(hours[:NOWCAST_HOURS]) if value is not None and value >= 0]
    if sum(age < NEWEST_HOURS for age, _ in kept) < LEAST_NEWEST:
        return None
    lowest, highest = min(value for _, value in kept), max(value for _, value in kept)
    if lowest == highest:  # also of zeros, whose rate of change is none
        return highest
    weight = max(lowest / highest, LEAST_WEIGHT)
    return sum(weight**age * value for age, value in kept) / sum(weight**age for age, _ in kept)


def current(parameter: str, units: str, hours: Sequence[float | None]) -> Index | None:
    """Return the index of hourly means, newest first, up to 24 of them; None: not defined, or not enough hours.

    PM by NowCast; ozone by the mean of 8 hours, or of the newest one if that says more; carbon monoxide by the mean of
    8 hours; nitrogen and sulphur dioxide by the newest hour, the latter above 304 ppb by the mean of 24 hours.
    """
    if parameter in {"pm25", "pm10"}:
        return _told(parameter, units, nowcast(hours), "NowCast")
    if parameter == "co":
        return _told(parameter, units, _mean(hours, MEAN_HOURS, LEAST_MEAN_HOURS), "8 hours")
    if parameter == "o3":
        eight = _told(parameter, units, _mean(hours, MEAN_HOURS, LEAST_MEAN_HOURS), "8 hours")
        return _higher(eight, _beyond(OZONE_HOUR, parameter, units, _newest(hours), "1 hour"))
    one = _told(parameter, units, _newest(hours), "1 hour")
    if parameter != "so2" or one is None or one.value < HIGHEST[len(SCALES["so2"].lows) - 1]:
        return one
    return _higher(one, _beyond(SULPHUR_DAY, parameter, units, _mean(hours, DAY_HOURS, LEAST_DAY_HOURS), "24 hours"))


def level_of(value: int) -> int:
    """Return the level of an index of 0 or more."""
    return sum(value >= lowest for lowest in LOWEST) - 1


def _told(parameter: str, units: str, concentration: float | None, basis: str) -> Index | None:
    """Return the index of an average; None: there is none."""
    found = None if concentration is None else index_of(parameter, units, concentration)
    return None if found is None else msgspec.structs.replace(found, basis=basis)


def _beyond(scale: Scale, parameter: str, units: str, concentration: float | None, basis: str) -> Index | None:
    """Return the index on a scale that only has the higher levels; None: below them."""
    amount = None if concentration is None else _amount(parameter, units, concentration)
    if amount is None or _steps(amount, scale.step) < scale.lows[0]:
        return None
    return msgspec.structs.replace(_index(scale, amount), basis=basis)


def _higher(one: Index | None, other: Index | None) -> Index | None:
    found = [each for each in (one, other) if each is not None]
    return max(found, key=lambda each: each.value, default=None)


def _newest(hours: Sequence[float | None]) -> float | None:
    return hours[0] if hours else None


def _mean(hours: Sequence[float | None], count: int, least: int) -> float | None:
    """Return the mean of the newest so many hours; None: fewer than `least` of them are there."""
    kept = [value for value in hours[:count] if value is not None and value >= 0]
    return sum(kept) / len(kept) if len(kept) >= least else None


def _amount(parameter: str, units: str, concentration: float) -> float | None:
    """Return a concentration in the unit of the scales; None: it can't be told in that, or is none."""
    if not 0 <= concentration <= MOST:
        return None
    if parameter in {"pm25", "pm10"}:
        return concentration if units in MASS else None
    factor = PPM_PER.get(units)
    return None if factor is None else concentration * factor


def _steps(amount: float, step: float) -> int:
    """Return how many whole steps an amount is: truncated (TAD), once what floating point blurs is made good."""
    return floor(round(amount / step, 6))


def _index(scale: Scale, amount: float) -> Index:
    """Return the index by Equation 1: linear between the breakpoints of a level, rounded to a whole number."""
    steps = _steps(amount, scale.step)
    if scale.is_capped:
        steps = min(steps, scale.end)
    place = sum(steps >= low for low in scale.lows) - 1
    level = scale.level + place
    low = scale.lows[place]
    high = scale.lows[place + 1] - 1 if place + 1 < len(scale.lows) else scale.end
    slope = (HIGHEST[level] - LOWEST[level]) / (high - low)
    value = floor(slope * (steps - low) + LOWEST[level] + 0.5)
    return Index(value, CATEGORIES[level], level)
