"""What the API answers with, as its document describes it. Names are OpenAQ's where OpenAQ has the thing."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from openaq_pipeline.reports import LocationStatus


class Answer(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Problem(Answer):
    """Why there is no answer, and what to do."""

    detail: str = Field(description="What is the matter, in a sentence.", examples=["Location 7 is not known here"])
    hint: str = Field(description="What to do; may be empty.", examples=["See /api/v1/locations."])


class Meta(Answer):
    """Which part of the whole this is."""

    page: int = Field(description="The page, from 1.", examples=[1])
    limit: int = Field(description="The most results a page has.", examples=[100])
    found: int = Field(description="Results on all pages together.", examples=[240])


class Budget(Answer):
    """Requests sent to OpenAQ with this key, by all processes of this machine."""

    minute: int = Field(description="Requests in the last minute.", examples=[12])
    hour: int = Field(description="Requests in the last hour.", examples=[80])
    per_minute: int = Field(description="The most in any minute.", examples=[60])
    per_hour: int = Field(description="The most in any hour.", examples=[2000])


class Counts(Answer):
    """Selected locations by how they are."""

    current: int = Field(description="The newest row is younger than `stale_after_hours`.", examples=[9])
    silent: int = Field(description="The newest row is older, or there is none.", examples=[1])
    failing: int = Field(description="The last try to read it failed, in part or as a whole.", examples=[0])
    unknown: int = Field(description="Never read.", examples=[0])


class Status(Answer):
    """How the whole is."""

    status: Literal["ok", "degraded", "down"] = Field(
        description="`ok`; `degraded`: something is late, parked or fell short; `down`: no run lately, or all fail."
    )
    sentence: str = Field(description="The same for people.", examples=["All 10 locations current; next run in 41 min"])
    at: dt.datetime = Field(description="When this was seen (UTC).")
    last_run: dt.datetime | None = Field(description="When the last run began (UTC); null: none is known.")
    next_run: dt.datetime | None = Field(description="When the next run is due (UTC); null: none is scheduled.")
    locations: Counts
    parked_sensors: int = Field(description="Sensors that are not asked for a while because they fail.", examples=[0])
    open_alerts: int | None = Field(description="Conditions that last; null: the book can't be read.", examples=[0])
    budget: Budget | None = Field(description="Null: it can't be told, for example without a key.")
    warnings: list[str] = Field(description="What can't be read, in sentences.")
    version: str = Field(description="This program's version.", examples=["1.0.0"])


class Coordinates(Answer):
    """A place on the globe, WGS 84."""

    latitude: float = Field(description="Degrees north.", examples=[27.7])
    longitude: float = Field(description="Degrees east.", examples=[85.3])


class Parked(Answer):
    """Why a sensor is not asked for a while."""

    until: dt.datetime = Field(description="When it is tried again (UTC).")
    error: str | None = Field(description="Why the last read failed; null: that was not noted.")


class Sensor(Answer):
    """One instrument for one parameter."""

    id: int = Field(description="OpenAQ's `sensors_id`.", examples=[7710])
    parameters_id: int = Field(description="OpenAQ's number of the parameter in this unit.", examples=[2])
    parameter: str = Field(description="OpenAQ's name of the parameter.", examples=["pm25"])
    units: str = Field(description="The unit of its values.", examples=["µg/m³"])
    display_name: str | None = Field(description="The parameter's name for people.", examples=["PM2.5"])
    parked: Parked | None = Field(description="Null: it is asked for as usual.")


class License(Answer):
    """A licence of a location's data, and whom to name."""

    id: int = Field(description="OpenAQ's number of the licence.", examples=[41])
    name: str = Field(description="Its name.", examples=["CC BY 4.0"])
    attribution_name: str | None = Field(description="Whom to name.")
    attribution_url: str | None = Field(description="Where to link to.")
    date_from: str | None = Field(description="Its first day; null: open.", examples=["2020-01-01"])
    date_to: str | None = Field(description="Its last day; null: open.")


class Location(Answer):
    """A location: what OpenAQ says of it, and how its copy here is."""

    id: int = Field(description="OpenAQ's `location_id`.", examples=[3459])
    name: str | None = Field(description="OpenAQ's name; null: it has none.", examples=["US Embassy"])
    locality: str | None = Field(description="The town or the like.")
    iso: str | None = Field(description="The country, by its code in ISO 3166-1.", examples=["NP"])
    country: str | None = Field(description="The country's name.", examples=["Nepal"])
    coordinates: Coordinates | None = Field(description="Null: OpenAQ names none.")
    timezone: str | None = Field(description="The station's time zone (IANA).", examples=["Asia/Kathmandu"])
    provider: str | None = Field(description="Who provides the data.", examples=["AirNow"])
    owner: str | None = Field(description="Whose station it is.")
    is_mobile: bool | None = Field(description="Whether it moves.")
    is_monitor: bool | None = Field(description="Whether it is of reference grade.")
    status: LocationStatus | None = Field(description="How its copy is; null: it is no longer selected.")
    datetime_last: dt.datetime | None = Field(
        description="The end of the newest stored period (UTC); null: no row yet."
    )
    age_seconds: float | None = Field(description="How old the newest row is.", examples=[2400.0])
    last_successful_run: dt.datetime | None = Field(description="When it was last read to its end (UTC).")
    error: str | None = Field(description="Why the last read failed; null: it did not.")
    sensors: list[Sensor]
    licenses: list[License]


class Locations(Answer):
    """A page of locations."""

    meta: Meta
    results: list[Location]


class Index(Answer):
    """The air quality index of the US EPA, with the breakpoints of 2024."""

    value: int = Field(description="From 0.", examples=[102])
    category: str = Field(examples=["Unhealthy for Sensitive Groups"])
    level: int = Field(description="The category, from 0 (good) to 5 (hazardous).", examples=[2])
    basis: str = Field(
        description="What was averaged: `NowCast`, `1 hour`, `8 hours` or `24 hours`.", examples=["NowCast"]
    )


class Latest(Answer):
    """What a sensor measured last, and its last day."""

    sensors_id: int = Field(examples=[7710])
    parameter: str = Field(examples=["pm25"])
    units: str = Field(examples=["µg/m³"])
    value: float | None = Field(description="In `units`; null: OpenAQ has the row without a value.", examples=[38.5])
    datetime: dt.datetime = Field(description="The **end** of the averaging period (UTC).")
    datetime_local: str = Field(description="The same as OpenAQ prints it.", examples=["2026-11-28T17:45:00+05:45"])
    interval_seconds: int | None = Field(description="The period's length; null: unknown.", examples=[3600])
    has_flags: bool | None = Field(description="Whether OpenAQ flags it; null: the source does not say.")
    issues: list[str] = Field(description="Quality rules that it broke, usually none.", examples=[[]])
    day: list[float | None] = Field(description="The means of the last 24 hours, oldest first; null: no measurement.")
    aqi: Index | None = Field(description="The index now; null: not defined, or too few hours.")


class Latests(Answer):
    """The last value of each sensor of a location."""

    meta: Meta
    results: list[Latest]


class Measurement(Answer):
    """One row, as it stands in `location_{id}.json`."""

    location_id: int = Field(examples=[3459])
    sensors_id: int = Field(examples=[7710])
    parameters_id: int | None = Field(description="Null: the source does not say (the archive).", examples=[2])
    parameter: str = Field(examples=["pm25"])
    units: str = Field(examples=["µg/m³"])
    value: float | None = Field(description="In `units`; null: OpenAQ has the row without a value.", examples=[38.5])
    datetime: dt.datetime = Field(description="The **end** of the averaging period (UTC).")
    datetime_local: str = Field(description="The same as OpenAQ prints it.", examples=["2026-11-28T17:45:00+05:45"])
    interval_seconds: int | None = Field(description="The period's length; null: unknown.", examples=[3600])
    has_flags: bool | None = Field(description="Whether OpenAQ flags it; null: the source does not say.")
    issues: list[str] = Field(description="Quality rules that it broke, usually none.", examples=[[]])
    source: Literal["api", "archive", "latest"] = Field(description="Where it came from.")
    first_seen: dt.datetime = Field(description="When this pipeline first stored it (UTC).")


class Measurements(Answer):
    """A page of measurements, by `(datetime, sensors_id)`, oldest first."""

    meta: Meta
    results: list[Measurement]


class RunLocation(Answer):
    """How one location fared in a run."""

    location_id: int = Field(examples=[3459])
    name: str | None
    outcome: Literal["ok", "partial", "failed"]
    new: int = Field(description="Rows that were not here before.")
    revised: int = Field(description="Rows that OpenAQ has changed.")
    identical: int = Field(description="Rows that were here already.")
    rejected: int = Field(description="Rows that are no measurements.")
    error: str | None = Field(description="Null: it was read to its end.")


class Run(Answer):
    """One run."""

    started: dt.datetime = Field(description="When it began (UTC).")
    duration_seconds: float = Field(examples=[12.4])
    total_records_fetched: int = Field(description="Rows that OpenAQ sent.", examples=[240])
    total_records_deduplicated: int = Field(description="Those of them that were here already.", examples=[230])
    total_locations_processed: int = Field(examples=[10])
    successful_locations: int = Field(examples=[10])
    failed_locations: int = Field(examples=[0])
    consecutive_failures: int = Field(description="Failed runs in a row up to this one.", examples=[0])
    requests: int = Field(description="Requests sent.", examples=[12])
    requests_planned: int = Field(description="Requests that its plan came to.", examples=[12])
    slowest_response_seconds: float | None = Field(description="Null: no request was answered.", examples=[0.8])
    quality_score: float | None = Field(
        description="The share of measurements without an issue, in percent; null: there were none.", examples=[99.2]
    )
    error: str | None = Field(description="Why it ended early; null: it did not.")
    amiss: list[RunLocation] = Field(description="Locations that were not read to their end, 100 at the most.")


class Runs(Answer):
    """A page of runs, the last one first."""

    meta: Meta
    results: list[Run]


class Alert(Answer):
    """A condition that a person should know of while it lasts."""

    key: str = Field(description="What makes it one and the same.", examples=["silent:3459"])
    severity: Literal["info", "warning", "error", "critical"]
    title: str = Field(examples=["US Embassy (3459) is silent"])
    message: str
    hint: str = Field(description="What to do; may be empty.")
    began: dt.datetime = Field(description="Since when it is known (UTC).")
    ended: dt.datetime | None = Field(description="When it ended (UTC); null: it lasts.")
    told: bool = Field(description="Whether somebody was told.")


class Alerts(Answer):
    """A page of alerts: those that last first, then the past ones, the latest first."""

    meta: Meta
    results: list[Alert]


class Map(Answer):
    """All selected locations that have coordinates, a column each; the same place in all columns is one location."""

    at: dt.datetime = Field(description="When this was seen (UTC).")
    id: list[int] = Field(description="OpenAQ's `location_id`.")
    name: list[str] = Field(description="The name, cut after 60 characters; empty: none is known.")
    lat: list[float] = Field(description="Degrees north.")
    lon: list[float] = Field(description="Degrees east.")
    status: list[LocationStatus]
    value: list[float | None] = Field(
        description="The last value of `parameter`; null: none of the last 24 hours is known, or none was asked for."
    )
    units: list[str | None] = Field(description="The unit of each value; null: there is no value.")
    aqi: list[int | None] = Field(description="The index of the US EPA (2024) for it; null: not defined or not known.")
    pending: int = Field(description="Locations whose value is still being looked up: ask again in a moment.")
