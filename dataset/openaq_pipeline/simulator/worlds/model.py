"""The things a world is made of; field names and nullability are OpenAQ's.

Times are whole microseconds since 1970-01-01 UTC (`_us`): stamps can have fractions of a second, and integers
compare exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US


class Row(NamedTuple):
    """One measurement: the end of its period and its value, None where OpenAQ has a row without one."""

    stamp_us: int
    value: float | None


class Named(msgspec.Struct, frozen=True):
    """An id with a name: owners, providers and manufacturers are no more than that inside a location."""

    id: int
    name: str


class Parameter(msgspec.Struct, frozen=True):
    """A pollutant or weather quantity in one unit; `display_name` and `description` may be None."""

    id: int
    name: str
    units: str
    display_name: str | None = None
    description: str | None = None


class Country(msgspec.Struct, frozen=True):
    """A country with OpenAQ's id and its ISO 3166-1 alpha-2 code."""

    id: int
    code: str
    name: str


class Provider(msgspec.Struct, frozen=True):
    """Who brings the data in; `added_us` is when OpenAQ took it on."""

    id: int
    name: str
    source_name: str
    export_prefix: str
    added_us: int = 1_680_120_000 * SECOND_US


class License(msgspec.Struct, frozen=True):
    """The terms of a licence."""

    id: int
    name: str
    commercial_use_allowed: bool
    attribution_required: bool
    share_alike_required: bool
    modification_allowed: bool
    redistribution_allowed: bool
    source_url: str


class Grant(msgspec.Struct, frozen=True):
    """A licence as given to one location; dates are `YYYY-MM-DD`, None for open ends."""

    id: int
    name: str
    attribution_name: str
    attribution_url: str | None = None
    date_from: str | None = None
    date_to: str | None = None


class Instrument(msgspec.Struct, frozen=True):
    """A kind of device."""

    id: int
    name: str
    is_monitor: bool
    manufacturer: Named


class Flag(msgspec.Struct, frozen=True):
    """A remark about a span of time; `sensor_ids` is None when it concerns the whole location."""

    type_id: int
    label: str
    level: str
    start_us: int
    end_us: int
    note: str | None = None
    sensor_ids: tuple[int, ...] | None = None


class Sensor(msgspec.Struct, frozen=True):
    """One parameter at one station. `interval_us` is both averaging and logging period.

    `always_fails` makes every series request a 500; a page that holds a stamp of `poison_us` is one too.
    """

    id: int
    parameter: Parameter
    interval_us: int = HOUR_US
    always_fails: bool = False
    poison_us: frozenset[int] = frozenset()


class Station(msgspec.Struct, frozen=True):
    """What OpenAQ calls a location. A private one is hidden from lists, but its series can be read."""

    id: int
    name: str | None
    timezone: str
    country: Country
    owner: Named
    provider: Provider
    instruments: tuple[Instrument, ...]
    latitude: float
    longitude: float
    sensors: tuple[Sensor, ...]
    locality: str | None = None
    is_mobile: bool = False
    is_private: bool = False
    licenses: tuple[Grant, ...] | None = None
    flags: tuple[Flag, ...] = ()

    @property
    def is_monitor(self) -> bool:
        """Return whether a reference-grade instrument stands here."""
        return any(instrument.is_monitor for instrument in self.instruments)


class Latest(NamedTuple):
    """The row with the highest stamp; coordinates as `/latest` prints them (see `World.latest`)."""

    stamp_us: int
    value: float
    latitude: float
    longitude: float


class Profile(NamedTuple):
    """What `/sensors` tells of a whole series; `deviation` is None for a single row."""

    first_us: int
    last_us: int
    rows: int
    minimum: float
    maximum: float
    average: float
    deviation: float | None
