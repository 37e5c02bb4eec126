"""How the API may be asked: its parameters, with OpenAQ's names where OpenAQ has them. An unknown one is an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.model import Window
from openaq_pipeline.places import MAX_RADIUS_METRES
from openaq_pipeline.reading.moments import window
from openaq_pipeline.reports import LocationStatus
from openaq_pipeline.web.addresses import time_in
from openaq_pipeline.web.api.models import Meta

LARGEST_ID = 2**31 - 1
MOST_RESULTS = 1_000
MOST_PAGES = 1_000_000
MOST_IDS = 50
LONGEST_SEARCH = 100

T = TypeVar("T")

LocationId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="OpenAQ's `location_id`.", examples=[3459])]
SensorId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="OpenAQ's `sensors_id`.", examples=[7710])]


def _moment(given: object) -> str:
    """Return a date or time as text; raises `ValueError` for what is none."""
    text = time_in(str(given))
    try:
        window(text, None)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return text


Moment = Annotated[
    str,
    BeforeValidator(_moment),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}),
]
FRACTION = r"(\.[0-9]{1,9})?"
LATITUDE = rf"-?(90(\.0{{1,9}})?|[1-8]?[0-9]{FRACTION})"
LONGITUDE = rf"-?(180(\.0{{1,9}})?|(1[0-7][0-9]|[1-9]?[0-9]){FRACTION})"
Box = Annotated[str, Field(pattern=f"^{LONGITUDE},{LATITUDE},{LONGITUDE},{LATITUDE}$")]
Point = Annotated[str, Field(pattern=f"^{LATITUDE},{LONGITUDE}$")]
Country = Annotated[str, Field(pattern="^[A-Za-z]{2}$")]
Words = Annotated[str, Field(min_length=1, max_length=LONGEST_SEARCH)]
Ids = Annotated[list[Annotated[int, Field(ge=1, le=LARGEST_ID)]], Field(max_length=MOST_IDS)]


class Paged(BaseModel):
    """The part of the whole that is asked for."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=MOST_RESULTS, description="The most results on a page.")
    page: int = Field(1, ge=1, le=MOST_PAGES, description="The page, from 1.")

    def of(self, everything: Sequence[T]) -> Sequence[T]:
        """Return the page."""
        start = (self.page - 1) * self.limit
        return everything[start : start + self.limit]

    def meta(self, found: int) -> Meta:
        """Return which part of `found` results this is."""
        return Meta(page=self.page, limit=self.limit, found=found)


class LocationsAsked(Paged):
    """Which locations."""

    search: Words | None = Field(
        None, description="Words in id, name, locality, country or provider, whatever the case."
    )
    status: LocationStatus | None = Field(None, description="How the copy is.")
    iso: Country | None = Field(None, examples=["NP"], description="The country's code in ISO 3166-1.")
    parameters_id: Ids | None = Field(None, description="Locations with a sensor of one of these parameters.")
    licenses_id: Ids | None = Field(None, description="Locations with one of these licences.")
    monitor: bool | None = Field(None, description="Of reference grade, or not.")
    mobile: bool | None = Field(None, description="Moving, or not.")
    bbox: Box | None = Field(
        None, description="`minLon,minLat,maxLon,maxLat` in degrees, WGS 84.", examples=["85.2,27.6,85.5,27.8"]
    )
    coordinates: Point | None = Field(
        None,
        description="`latitude,longitude` in degrees, WGS 84: the middle of a circle of `radius`.",
        examples=["27.7,85.3"],
    )
    radius: int = Field(1_000, ge=1, le=MAX_RADIUS_METRES, description="Metres around `coordinates`.")
    order_by: Literal["id", "name", "age", "status"] = Field("id", description="What the results are sorted by.")
    sort_order: Literal["asc", "desc"] = Field("asc", description="In which direction.")


class WindowAsked(Paged):
    """Which measurements."""

    datetime_from: Moment | None = Field(
        None,
        description="Periods that end later than this; UTC where it names no zone. A date is its beginning.",
        examples=["2026-11-01T00:00:00Z"],
    )
    datetime_to: Moment | None = Field(
        None,
        description="Periods that end up to and with this. A date means its whole day.",
        examples=["2026-11-28"],
    )
    parameters_id: Ids | None = Field(None, description="Of these parameters alone.")
    format: Literal["csv", "json", "parquet"] | None = Field(
        None,
        description="All of the window as a file, without pages, instead of a page of results. "
        "See the location's `licenses` before you hand it on.",
    )

    def window(self) -> Window:
        """Return the window (start, end]; raises `ConfigError` for one that ends before it begins."""
        return window(self.datetime_from, self.datetime_to)


class MapAsked(BaseModel):
    """What the map shows."""

    model_config = ConfigDict(extra="forbid")

    parameter: Words | None = Field(
        None,
        description="OpenAQ's name of the parameter whose last values are wanted; without it they are null.",
        examples=["pm25"],
    )
