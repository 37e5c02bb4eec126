"""From OpenAQ's JSON to the types of `model`. Pure; the only place that knows the API's field names."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from openaq_pipeline.errors import RetriableError
from openaq_pipeline.model import (
    Entry,
    Latest,
    LatestPage,
    License,
    LicenseTerms,
    Location,
    LocationPage,
    Measurement,
    Page,
    Reject,
    Sensor,
)

Aware = Annotated[datetime, msgspec.Meta(tz=True)]

LONGEST_TEXT = 10_000
Text = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]
"""OpenAQ's longest name has some 100 letters; whoever sends megabytes of them, for each row, means no good."""

Short = Annotated[str, msgspec.Meta(max_length=100)]
"""A time, or a length of time, as it is printed."""

LocationId = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
ParameterId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
SensorId = Annotated[int, msgspec.Meta(ge=1, le=10**12 - 1)]
"""Ids become parts of addresses, file names and columns of fixed width."""

LONGEST_INTERVAL_SECONDS = 2**31 - 1
T = TypeVar("T")


class _Moment(msgspec.Struct, gc=False):
    utc: Aware
    local: Short


class _Parameter(msgspec.Struct, gc=False):
    id: ParameterId
    name: Text
    units: Text
    displayName: Text | None = None  # noqa: N815 - OpenAQ's name


class _Period(msgspec.Struct, gc=False):
    datetimeTo: _Moment  # noqa: N815
    interval: Text | None = None


class _FlagInfo(msgspec.Struct, gc=False):
    hasFlags: bool | None = None  # noqa: N815


class _Row(msgspec.Struct, gc=False):
    value: float | None
    parameter: _Parameter
    period: _Period
    flagInfo: _FlagInfo | None = None  # noqa: N815


class _Rows(msgspec.Struct, gc=False):
    results: list[_Row]


class _RawRows(msgspec.Struct, gc=False):
    results: list[msgspec.Raw]


class _Latest(msgspec.Struct, gc=False):
    datetime: _Moment
    sensorsId: SensorId  # noqa: N815
    locationsId: LocationId  # noqa: N815
    value: float | None = None


class _Meta(msgspec.Struct, frozen=True):
    found: int | str | None = None


class _LatestRows(msgspec.Struct):
    results: list[msgspec.Raw]
    meta: _Meta = _Meta()


class _Named(msgspec.Struct):
    name: Text | None = None
    code: Text | None = None


class _Attribution(msgspec.Struct):
    name: Text | None = None
    url: Text | None = None


class _License(msgspec.Struct):
    id: int
    name: Text
    attribution: _Attribution | None = None
    dateFrom: Short | None = None  # noqa: N815
    dateTo: Short | None = None  # noqa: N815


class _Sensor(msgspec.Struct):
    id: SensorId
    parameter: _Parameter


class _Coordinates(msgspec.Struct):
    latitude: float | None = None
    longitude: float | None = None


class _Location(msgspec.Struct):
    id: LocationId
    name: Text | None = None
    locality: Text | None = None
    timezone: Text = "UTC"
    country: _Named | None = None
    owner: _Named | None = None
    provider: _Named | None = None
    isMobile: bool = False  # noqa: N815
    isMonitor: bool = False  # noqa: N815
    sensors: list[_Sensor] = []
    coordinates: _Coordinates | None = None
    licenses: list[_License] | None = None
    datetimeFirst: _Moment | None = None  # noqa: N815
    datetimeLast: _Moment | None = None  # noqa: N815


class _Locations(msgspec.Struct):
    results: list[_Location]


class _Id(msgspec.Struct):
    id: int


class _Entry(msgspec.Struct):
    id: int
    name: Text
    displayName: Text | None = None  # noqa: N815 - of a parameter
    sourceName: Text | None = None  # noqa: N815 - of a provider


class _Entries(msgspec.Struct):
    results: list[_Entry]


class _Terms(msgspec.Struct):
    id: int
    name: Text
    commercialUseAllowed: bool | None = None  # noqa: N815
    attributionRequired: bool | None = None  # noqa: N815
    shareAlikeRequired: bool | None = None  # noqa: N815
    modificationAllowed: bool | None = None  # noqa: N815
    redistributionAllowed: bool | None = None  # noqa: N815
    sourceUrl: Text | None = None  # noqa: N815


class _AllTerms(msgspec.Struct):
    results: list[_Terms]


_rows = msgspec.json.Decoder(_Rows)
_row = msgspec.json.Decoder(_Row)
_raw_rows = msgspec.json.Decoder(_RawRows)
_latest_rows = msgspec.json.Decoder(_LatestRows)
_latest = msgspec.json.Decoder(_Latest)
_locations = msgspec.json.Decoder(_Locations)
_one_location = msgspec.json.Decoder(_Location)
_id = msgspec.json.Decoder(_Id)
_entries = msgspec.json.Decoder(_Entries)
_all_terms = msgspec.json.Decoder(_AllTerms)


def page(body: bytes, *, location_id: int, sensors_id: int, now: datetime) -> Page:
    """Return the measurements of a page of `/v3/sensors/{id}/measurements`, first seen `now`.

    OpenAQ's rows carry neither sensor nor location (OPENAQ section 2.6), so the caller says whose they are. A row
    that breaks the schema becomes a `Reject`; raises `RetriableError` when the page as a whole can't be read.
    """
    try:
        decoded = _decode(_rows.decode, body).results
        return Page([_measurement(row, location_id, sensors_id, now) for row in decoded], [])
    except (msgspec.ValidationError, OverflowError):
        return _row_by_row(body, location_id, sensors_id, now)


def latest(body: bytes) -> LatestPage:
    """Return the rows of a `/latest` answer, those that break the schema left out: they are read as a series instead.

    Raises `RetriableError` when the page as a whole can't be read.
    """
    try:
        found = _decode(_latest_rows.decode, body)
    except msgspec.ValidationError as error:
        raise RetriableError(f"OpenAQ's list of latest rows can't be read: {error}") from error
    total = found.meta.found
    return LatestPage(
        [row for raw in found.results if (row := _to_latest(raw))], total if isinstance(total, int) else None
    )


def _to_latest(raw: msgspec.Raw) -> Latest | None:
    try:
        row = _decode(_latest.decode, raw)
        return Latest(row.locationsId, row.sensorsId, _utc(row.datetime), row.datetime.local, row.value)
    except (msgspec.ValidationError, OverflowError):
        return None


def location(body: bytes, now: datetime) -> Location | None:
    """Return the location of a `/v3/locations/{id}` answer, as known `now`; None when the list is empty."""
    try:
        found = _decode(_locations.decode, body).results
        return _to_location(found[0], now) if found else None
    except (msgspec.ValidationError, OverflowError) as error:
        raise RetriableError(f"OpenAQ described a location in a way this program can't read: {error}") from error


def locations(body: bytes, now: datetime) -> LocationPage:
    """Return the locations of a page of `/v3/locations`, as known `now`.

    One that breaks the schema must not cost the other 999: it is among the `unread`. Raises `RetriableError` when the
    page as a whole can't be read.
    """
    try:
        found = [_to_location(each, now) for each in _decode(_locations.decode, body).results]
        return LocationPage(found, [], len(found))
    except (msgspec.ValidationError, OverflowError):
        return _location_by_location(body, now)


def entries(body: bytes) -> list[Entry]:
    """Return the parameters of a page of `/v3/parameters`, or the providers of one of `/v3/providers`."""
    try:
        found = _decode(_entries.decode, body).results
    except msgspec.ValidationError as error:
        raise RetriableError(f"OpenAQ's list has entries that this program can't read: {error}") from error
    return [Entry(each.id, each.name, each.displayName or each.sourceName) for each in found]


def licenses(body: bytes, now: datetime) -> list[LicenseTerms]:
    """Return the licences of a `/v3/licenses` answer, as known `now`."""
    try:
        found = _decode(_all_terms.decode, body).results
    except msgspec.ValidationError as error:
        raise RetriableError(f"OpenAQ described its licences in a way this program can't read: {error}") from error
    return [_to_terms(each, now) for each in found]


@functools.lru_cache(maxsize=1024)
def interval_seconds(text: str | None) -> int | None:
    """Return an interval such as `01:00:00` or `58447:00:00` in seconds; None for any other form (`1 year`)."""
    match = re.fullmatch(r"(\d{1,7}):([0-5]\d):([0-5]\d)", text or "", re.ASCII)
    seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3]) if match else None
    return seconds if seconds is None or seconds <= LONGEST_INTERVAL_SECONDS else None


def _decode(decode: Callable[[bytes | msgspec.Raw], T], body: bytes | msgspec.Raw) -> T:
    """Return the decoded body; broken JSON is a broken transfer, a broken schema is for the caller to judge."""
    try:
        return decode(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RetriableError(f"OpenAQ's answer is not valid JSON: {error}") from error


def _measurement(row: _Row, location_id: int, sensors_id: int, now: datetime) -> Measurement:
    moment = row.period.datetimeTo
    return Measurement(
        location_id,
        sensors_id,
        row.parameter.id,
        sys.intern(row.parameter.name),  # one string for a million rows
        sys.intern(row.parameter.units),
        row.value,
        _utc(moment),
        moment.local,
        interval_seconds(row.period.interval),
        row.flagInfo.hasFlags if row.flagInfo else None,
        (),
        "api",
        now,
    )


def _utc(moment: _Moment) -> datetime:
    """Return a moment in UTC; raises `OverflowError` at the ends of the calendar."""
    return moment.utc if moment.utc.tzinfo is UTC else moment.utc.astimezone(UTC)


def _row_by_row(body: bytes, location_id: int, sensors_id: int, now: datetime) -> Page:
    """Return the page with its broken rows apart: one of them must not cost the other 999."""
    try:
        raws = _decode(_raw_rows.decode, body).results
    except msgspec.ValidationError as error:
        raise RetriableError(f"OpenAQ's answer has no list of results: {error}") from error
    rows: list[Measurement] = []
    rejects: list[Reject] = []
    for raw in raws:
        try:
            rows.append(_measurement(_decode(_row.decode, raw), location_id, sensors_id, now))
        except (msgspec.ValidationError, OverflowError) as error:
            text = bytes(raw)[:LONGEST_TEXT].decode(errors="backslashreplace")
            rejects.append(Reject(location_id, sensors_id, str(error), text, now))
    return Page(rows, rejects)


def _location_by_location(body: bytes, now: datetime) -> LocationPage:
    """Return the page with the locations that can't be read apart."""
    try:
        raws = _decode(_raw_rows.decode, body).results
    except msgspec.ValidationError as error:
        raise RetriableError(f"OpenAQ's list of locations can't be read: {error}") from error
    found, unread = [], []
    for raw in raws:
        try:
            found.append(_to_location(_decode(_one_location.decode, raw), now))
        except (msgspec.ValidationError, OverflowError):
            with suppress(msgspec.ValidationError):
                unread.append(_decode(_id.decode, raw).id)
    return LocationPage(found, unread, len(raws))


def _to_location(found: _Location, now: datetime) -> Location:
    country, coordinates = found.country or _Named(), found.coordinates or _Coordinates()
    return Location(
        id=found.id,
        name=found.name,
        locality=found.locality,
        timezone=found.timezone,
        country_code=country.code,
        country_name=country.name,
        latitude=coordinates.latitude,
        longitude=coordinates.longitude,
        provider=found.provider.name if found.provider else None,
        owner=found.owner.name if found.owner else None,
        is_mobile=found.isMobile,
        is_monitor=found.isMonitor,
        licenses=tuple(map(_to_license, found.licenses or ())),
        sensors=tuple(_to_sensor(each) for _, each in sorted({each.id: each for each in found.sensors}.items())),
        datetime_first=_utc(found.datetimeFirst) if found.datetimeFirst else None,
        datetime_last=_utc(found.datetimeLast) if found.datetimeLast else None,
        fetched=now,
    )


def _to_sensor(sensor: _Sensor) -> Sensor:
    parameter = sensor.parameter
    return Sensor(sensor.id, parameter.id, parameter.name, parameter.units, parameter.displayName)


def _to_license(found: _License) -> License:
    credit = found.attribution or _Attribution()
    return License(found.id, found.name, credit.name, credit.url, found.dateFrom, found.dateTo)


def _to_terms(found: _Terms, now: datetime) -> LicenseTerms:
    return LicenseTerms(
        id=found.id,
        name=found.name,
        commercial_use_allowed=found.commercialUseAllowed,
        attribution_required=found.attributionRequired,
        share_alike_required=found.shareAlikeRequired,
        modification_allowed=found.modificationAllowed,
        redistribution_allowed=found.redistributionAllowed,
        source_url=found.sourceUrl,
        fetched=now,
    )
