"""What `locations:` may name: OpenAQ's ids, and selections of locations by what they are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Strict, Tag, model_validator

from openaq_pipeline.section import Section

PLANET = "planet"

ID, SELECTION = KINDS = ("(id)", "(selection)")
"""What an item of `locations` may be; no key of the file is called so."""

MAX_RADIUS_METRES = 25_000
"""As OpenAQ allows (OPENAQ section 1.2); beyond, and for coordinates that are none, its server answers 500."""

DECIMALS = 4
"""OpenAQ leaves out further ones of a degree (OPENAQ section 1.2), and a box without area makes its server fail."""

MISTAKEN_COUNTRIES = {"UK": "GB", "EL": "GR"}
"""Codes that are in use and not in ISO 3166-1, which OpenAQ goes by."""


def _no_word(value: object) -> object:
    """Turn away a word in the place of an id; `planet` is none and has gone another way."""
    if isinstance(value, str):
        # pydantic takes a ValueError for a wrong setting, a TypeError for a bug
        raise ValueError(  # noqa: TRY004
            "must be a location id such as 3459 (no quotes), a selection such as `country: NP`, or `planet`"
        )
    return value


LocationId = Annotated[int, Strict(), Field(ge=1, le=2**31 - 1), BeforeValidator(_no_word)]
"""OpenAQ's ids are 32-bit; a larger one makes its server answer 500 (OPENAQ section 1)."""


def _country(value: object) -> str:
    if value is False:
        raise ValueError('must be in quotes, "NO" for Norway: YAML reads a bare NO as false')
    code = str(value).strip().upper()
    if code in MISTAKEN_COUNTRIES:
        raise ValueError(f"must be {MISTAKEN_COUNTRIES[code]}, its code in ISO 3166-1")
    if not re.fullmatch(r"[A-Z]{2}|-99", code, re.ASCII):
        raise ValueError("must be one code of two letters such as NP (ISO 3166-1); each further country is an item too")
    return code


def _named(example: str) -> Callable[[object], str]:
    """Return what lets one name pass."""

    def check(value: object) -> str:
        if isinstance(value, bool):
            raise ValueError('must be in quotes, "no" for nitric oxide: YAML reads a bare no as false')  # noqa: TRY004
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"must be one name such as {example}; each further one is an item too")
        return value.strip()

    return check


def _degrees(most: int, kind: str) -> Callable[[object], float]:
    def check(value: object) -> float:
        plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not plain or not -most <= float(str(value)) <= most:
            raise ValueError(f"must be a {kind}, a number from -{most} to {most}")
        return float(str(value))

    return check


def _four(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise ValueError("must be [minLon, minLat, maxLon, maxLat], such as [85.2, 27.6, 85.5, 27.8]")
    return value


def _corners(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(
            "must be [minLon, minLat, maxLon, maxLat], the south-west corner first; "
            "a box across the 180th meridian is two items"
        )
    west, south, east, north = (round(degrees, DECIMALS) for degrees in box)
    if west == east or south == north:
        raise ValueError(f"must be larger: OpenAQ looks at {DECIMALS} decimals, and there it has no area")
    return box


def _radius(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_RADIUS_METRES:
        raise ValueError(f"must be a whole number of metres from 1 to {MAX_RADIUS_METRES}")
    return value


def _there(value: object) -> object:
    if value is None:
        raise ValueError("must have a value")
    return value


Longitude = Annotated[float, BeforeValidator(_degrees(180, "longitude"))]
Latitude = Annotated[float, BeforeValidator(_degrees(90, "latitude"))]
Box = Annotated[tuple[Longitude, Latitude, Longitude, Latitude], BeforeValidator(_four), AfterValidator(_corners)]


class Near(Section):
    """A circle: degrees, and metres around them."""

    lat: Latitude
    lon: Longitude
    radius_m: Annotated[int, BeforeValidator(_radius)]


class Selection(Section):
    """Locations by what they are. Each key that is given narrows it (None: not given); without any it is `planet`.

    `parameter` also says which sensors of these locations are read.
    """

    country: Annotated[str | None, BeforeValidator(_country)] = None
    bbox: Annotated[Box | None, BeforeValidator(_there)] = None
    near: Annotated[Near | None, BeforeValidator(_there)] = None
    parameter: Annotated[str | None, BeforeValidator(_named("pm25"))] = None
    provider: Annotated[str | None, BeforeValidator(_named("AirNow"))] = None

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, section: object) -> object:
        """Take the word for everything; a key without a value is no such word, and would select too much."""
        if section == {}:
            raise ValueError(f"must have one of {', '.join(cls.names())}; all of OpenAQ is `{PLANET}`")
        return {} if section == PLANET else section

    @model_validator(mode="after")
    def _one_place(self) -> Selection:
        if self.bbox is not None and self.near is not None:
            raise ValueError("must not have both bbox and near; to select both places make two items of them")
        return self

    def __str__(self) -> str:
        """Return it as the file could have it, in one line."""
        return ", ".join(f"{key}: {_flow(value)}" for key, value in self if value is not None) or PLANET


def _flow(value: object) -> str:
    """Return a value in YAML's short form."""
    if isinstance(value, Near):
        return f"{{lat: {_plain(value.lat)}, lon: {_plain(value.lon)}, radius_m: {value.radius_m}}}"
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, tuple) else str(value)


def _plain(number: float) -> str:
    """Return degrees to 10 cm, and never as 1e-05, which YAML takes for a word."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _kind_of(item: object) -> str:
    return SELECTION if isinstance(item, dict | Selection) or item == PLANET else ID


def listed(value: object) -> object:
    """Let one item stand for a list of one."""
    return value if isinstance(value, list | tuple) or value is None else [value]


Item = Annotated[Annotated[LocationId, Tag(ID)] | Annotated[Selection, Tag(SELECTION)], Discriminator(_kind_of)]
