"""When a value is odd: the default tables of the quality rules, in the plain form of `config.yaml`.

A table maps OpenAQ's parameter name to what holds for any unit, or to a table by OpenAQ's unit string,
because one name exists in several units. A parameter or a unit that is not listed is not tested. Nothing is
thrown away for breaking a limit, so the limits are generous: a real episode shall pass, a broken sensor shall
not.

The tests are those of QARTOD (U.S. IOOS, Manual for Real-Time Quality Control of In-situ Temperature and
Salinity Data, doi:10.7289/V5V40SD4): gross range, flat line, spike, rate of change. QARTOD leaves every limit
to the operator. Air quality archives screen new data in the same way (TOAR Database User Guide, chapter 5
"Data Quality": basic statistical tests, so that gross errors are caught).
"""

from __future__ import annotations

_MASS = "µg/m³"


def _gas(ppb: float, mass: float) -> dict[str, float]:
    """Return one limit of a gas in OpenAQ's three units; `mass` is in µg/m³."""
    return {"ppm": ppb / 1000, "ppb": ppb, _MASS: mass}


def _gas_range(ppb: float, mass: float) -> dict[str, list[float]]:
    """Return the range from 0 up to one limit of a gas, in OpenAQ's three units."""
    return {unit: [0, limit] for unit, limit in _gas(ppb, mass).items()}


NEIGHBOUR_HOURS = 3.0
"""Values further apart are not compared. Chosen for this project: hourly series may miss two rows in a row,
and the 3-hourly ones are still tested; daily means are not, since a day may well differ from the next."""

# OpenAQ's own limits: beyond them it has stored NULL instead of the value since 2026 (openaq-db,
# openaqdb/lookups/measurands.sql at 85d6ba6, columns lower_limit and upper_limit). Kept number by number, so
# that archived rows are judged as OpenAQ judges new ones, with three exceptions, each with its reason beside
# it.
PARAMETER_RANGES: dict[str, object] = {
    "pm1": [0, 1000],
    "pm25": [0, 1000],  # for any unit: OpenAQ has a pm25 "in ppm" too
    "pm4": [0, 1000],
    "pm10": [0, 1500],
    "pm100": [0, 1500],
    "o3": _gas_range(500, 500),
    "ozone": {"ppb": [0, 500]},
    "no2": _gas_range(500, 500),
    "no": _gas_range(500, 500),
    # OpenAQ's limits for nox differ by unit; ppm and ppb are not the same number there.
    "nox": {"ppm": [0, 10], "ppb": [0, 5000], _MASS: [0, 1000]},
    "so2": _gas_range(2000, 2000),
    "co": _gas_range(100_000, 100_000),
    "co2": {"ppm": [0, 5000], "umol/mol": [0, 5000]},
    "ch4": {"ppm": [0, 10]},
    # Exception: OpenAQ lists ng/m3 only; ng/m³ is the same unit in its other spelling.
    "bc": {_MASS: [0, 200], "ng/m3": [0, 200_000], "ng/m³": [0, 200_000]},
    "um003": {"particles/cm³": [0, 1_500_000]},
    "um005": {"particles/cm³": [0, 1_000_000]},
    "um010": {"particles/cm³": [0, 500_000]},
    "um025": {"particles/cm³": [0, 100_000]},
    "um050": {"particles/cm³": [0, 50_000]},
    "um100": {"particles/cm³": [0, 10_000]},
    "ufp": {"particles/cm³": [0, 500_000]},
    "pn": {"particles/cm³": [0, 500_000]},
    "temperature": {"c": [-90, 60], "f": [-130, 140]},
    "ambient_temp": {"deg_c": [-90, 60]},
    # Exception: OpenAQ's upper limit is 100, but humidity sensors in fog read a little more than saturation.
    "relativehumidity": {"%": [0, 105]},
    "humidity": {"%": [0, 105]},
    "rh": {"%": [0, 105]},
    # Exception: OpenAQ's lower limit, 850, is a sea level pressure. A station reads 780 hPa in Mexico City
    # (2,240 m) and 650 in La Paz (3,640 m); 500 is the standard atmosphere at 5,500 m.
    "pressure": {"hpa": [500, 1085], "mb": [500, 1085]},
    "wind_speed": {"m/s": [0, 115]},
    "wind_direction": {"deg": [0, 360]},
}

# How long one and the same number is believed. A day: NOAA's screening of AirNow's hourly ozone rejects
# values that stay constant for 24 hours or more (qc_site_ozone.f90); taken over for the others as chosen for
# this project. Longer where the truth is often the detection limit or one step of a coarse display: so2 and
# no rest at 0 for days at clean stations, co at 0.1 or 0.2 ppm, and humidity at 100 % through days of fog.
# There a constant value can be valid (Kaffashzadeh 2023, doi:10.5194/amt-16-3085-2023); zeros as such are not
# exempt, since a dead channel also reads 0. In real data (73 hourly sensors of Guadalajara, 20 days) no value
# stayed for longer than 8 hours.
FLAT_LINE_HOURS: dict[str, float] = {
    "pm1": 24,
    "pm25": 24,
    "pm4": 24,
    "pm10": 24,
    "o3": 24,
    "ozone": 24,
    "no2": 24,
    "nox": 24,
    "bc": 24,
    "no": 72,
    "so2": 72,
    "co": 48,
    "temperature": 24,
    "ambient_temp": 24,
    "relativehumidity": 72,
    "humidity": 72,
    "rh": 72,
    "pressure": 24,
    "wind_speed": 48,
    "wind_direction": 48,
}

# All limits of the last two tables are chosen for this project: at least twice what the 99.9th percentile of
# real hourly data shows (73 sensors of Guadalajara, 34,042 rows), then raised to leave room for harder
# places. Mass limits of gases are the ppb ones at 25 °C and 1013 hPa (24.45 l/mol: µg/m³ = ppb * molar mass /
# 24.45), rounded; nox as no2.

# The largest distance of a value from the mean of both neighbours. 99.9th percentiles seen: pm25 42, pm10 103
# µg/m³; o3 24, no2 20, no 45, nox 38, so2 2.4, co 2,089 ppb.
SPIKE: dict[str, object] = {
    "pm1": 150,
    "pm25": 150,
    "pm4": 150,
    "pm10": 250,
    "o3": _gas(60, 120),
    "ozone": {"ppb": 60},
    "no2": _gas(100, 190),
    "no": _gas(200, 250),
    "nox": _gas(250, 470),
    "so2": _gas(300, 790),  # plumes of smelters and volcanoes come and go within the hour
    "co": _gas(5000, 5700),
    "bc": {_MASS: 30, "ng/m3": 30_000, "ng/m³": 30_000},
    "temperature": {"c": 10, "f": 18},
    "ambient_temp": {"deg_c": 10},
    "relativehumidity": {"%": 40},
    "humidity": {"%": 40},
    "rh": {"%": 40},
    "pressure": {"hpa": 10, "mb": 10},
    "wind_speed": {"m/s": 20},
}

# The largest change per hour; wider than SPIKE because an episode's onset changes the level for good. 99.9th
# percentiles seen: pm25 55, pm10 124 µg/m³; o3 33, no2 30, no 42, nox 59, so2 3.1, co 2,082 ppb. Ozone in
# Houston truly rises by 40 ppb and more in an hour (Couzo et al. 2013, doi:10.1071/EN13040).
RATE_OF_CHANGE: dict[str, object] = {
    "pm1": 250,
    "pm25": 250,
    "pm4": 250,
    "pm10": 400,
    "o3": _gas(100, 200),
    "ozone": {"ppb": 100},
    "no2": _gas(150, 280),
    "no": _gas(250, 310),
    "nox": _gas(300, 560),
    "so2": _gas(400, 1050),
    "co": _gas(10_000, 11_500),
    "bc": {_MASS: 50, "ng/m3": 50_000, "ng/m³": 50_000},
    "temperature": {"c": 15, "f": 27},
    "ambient_temp": {"deg_c": 15},
    "relativehumidity": {"%": 60},
    "humidity": {"%": 60},
    "rh": {"%": 60},
    "pressure": {"hpa": 15, "mb": 15},
    "wind_speed": {"m/s": 30},
}
