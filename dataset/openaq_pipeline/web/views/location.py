"""The page of a location: what is known of it, its series in a span of time, its calendar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from openaq_pipeline.model import License, LicenseTerms, Location
from openaq_pipeline.web.drawing import curve
from openaq_pipeline.web.wording import parameter, plain, unit

if TYPE_CHECKING:  # Arrow is loaded where rows are read
    from openaq_pipeline.reading.series import Series

WIDTH, HEIGHT = 800, 150
SHOWN_ODD = 200
"""So many odd rows are listed; the download has all."""


class Chart(NamedTuple):
    """A sensor's series: `path` is drawn until the script draws it better, and `odd` marks on it."""

    series: Series
    title: str
    path: str
    lowest: float | None
    highest: float | None


class Odd(NamedTuple):
    """A row with issues or flags."""

    sensors_id: int
    title: str
    units: str
    moment: datetime
    value: float | None
    issues: tuple[str, ...]


def charts(found: Sequence[Series]) -> list[Chart]:
    """Return what is drawn of each sensor, on one scale of time."""
    times = [each.times for each in found if each.times]
    first, last = min((each[0] for each in times), default=0), max((each[-1] for each in times), default=0)
    names = titles(found)
    return [_chart(each, names[each.sensors_id], first, last) for each in found]


def titles(found: Sequence[Series]) -> dict[int, str]:
    """Return what each sensor is called: its parameter, and where another has the same its number."""
    names = [parameter(each.parameter) for each in found]
    counts = Counter(names)
    return {
        each.sensors_id: name if counts[name] == 1 else f"{name} (sensor {each.sensors_id})"
        for each, name in zip(found, names, strict=True)
    }


def _chart(each: Series, title: str, first: int, last: int) -> Chart:
    values = [value for value in each.values if value is not None]
    if not values:
        return Chart(each, title, "", None, None)
    lowest, highest = min(values), max(values)
    path = curve(each.times, each.values, (first, last, lowest, highest), (WIDTH, HEIGHT))
    return Chart(each, title, path, lowest, highest)


def odd_rows(found: Sequence[Series], clock: tzinfo) -> list[Odd]:
    """Return the newest odd rows of all sensors, at the station's time."""
    names = titles(found)
    rows = [
        Odd(each.sensors_id, names[each.sensors_id], each.units, datetime.fromtimestamp(at, clock), value, issues)
        for each in found
        for at, value, issues in each.odd
    ]
    return sorted(rows, key=lambda row: row.moment, reverse=True)[:SHOWN_ODD]


class Drawing(msgspec.Struct, frozen=True):
    """What the script draws: the span in seconds since 1970, and the series with names and units as printed."""

    timezone: str
    first: int | None
    last: int | None
    series: list[DrawnSeries]


class DrawnSeries(msgspec.Struct, frozen=True):
    """A sensor of it; fields as `reading.series.Series` has them."""

    sensors_id: int
    title: str
    unit: str
    times: list[int]
    values: list[float | None]
    odd: list[tuple[int, float | None, tuple[str, ...]]]
    odd_rows: int
    rows: int
    thinned: bool


def drawing(found: Sequence[Series], timezone: str, first: int | None, last: int | None) -> bytes:
    """Return the series as JSON for the script."""
    names = titles(found)
    each = [
        DrawnSeries(
            one.sensors_id,
            names[one.sensors_id],
            unit(one.units),
            one.times,
            one.values,
            one.odd,
            one.odd_rows,
            one.rows,
            one.thinned,
        )
        for one in found
    ]
    return msgspec.json.encode(Drawing(timezone, first, last, each))


class Licence(NamedTuple):
    """A licence of the location: its dates, whom to name, and what it asks for in words."""

    license: License
    terms: tuple[str, ...]
    source_url: str | None


def licences(location: Location, terms: dict[int, LicenseTerms]) -> list[Licence]:
    """Return the licences of a location with their terms in words."""
    return [_licence(each, terms.get(each.id)) for each in location.licenses]


def _licence(each: License, terms: LicenseTerms | None) -> Licence:
    if terms is None:
        return Licence(each, ("its terms are not on file",), None)
    questions = (
        ("commercial use", terms.commercial_use_allowed, "allowed", "not allowed"),
        ("modification", terms.modification_allowed, "allowed", "not allowed"),
        ("redistribution", terms.redistribution_allowed, "allowed", "not allowed"),
        ("attribution", terms.attribution_required, "required", "not required"),
        ("share-alike", terms.share_alike_required, "required", "not required"),
    )
    said = tuple(f"{what} {yes if answer else no}" for what, answer, yes, no in questions if answer is not None)
    return Licence(each, said or ("OpenAQ does not say what it allows",), terms.source_url)


def place(location: Location) -> str:
    """Return where a location is, in words."""
    return ", ".join(plain(part, 60) for part in (location.locality, location.country_name) if part)
