"""The page of a location, the series that it draws, and the download of what it shows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from typing import IO, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from openaq_pipeline.errors import ConfigError, PipelineError
from openaq_pipeline.model import Location, Window
from openaq_pipeline.reading.formats import FORMATS
from openaq_pipeline.reading.location import Selection, read
from openaq_pipeline.reading.moments import EARLIEST, LATEST, zone
from openaq_pipeline.reading.series import Series, series
from openaq_pipeline.reports import LocationHealth
from openaq_pipeline.storage import licenses
from openaq_pipeline.web import calendar
from openaq_pipeline.web.look import Look
from openaq_pipeline.web.rendering import render
from openaq_pipeline.web.views import calendar_drawing, location
from openaq_pipeline.web.views.range import SPANS, Range, asked_range
from openaq_pipeline.web.views.status import WORDS
from openaq_pipeline.web.wording import coordinates, number_in, plain, stamp

PAGE_POINTS, MOST_POINTS = 400, 4000
"""So many points has a sensor's line before the script draws it, and at most afterwards."""

CALENDAR_DAYS = 371
"""53 weeks: a year, and the week that it began in."""

TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json", "parquet": "application/vnd.apache.parquet"}
SPOOLED_BYTES, CHUNK_BYTES = 8 << 20, 1 << 16


class Station(NamedTuple):
    """A location that is known or selected, and the time that its clocks show."""

    id: int
    known: Location | None
    health: LocationHealth | None
    clock: ZoneInfo
    newest: datetime
    now: datetime


def location_pages(look: Look) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/locations/{location_id}")
    def page(request: Request, location_id: str) -> HTMLResponse:
        return _page(request, look, _station(look, location_id))

    @router.get("/locations/{location_id}/series.json")
    def drawn(request: Request, location_id: str) -> Response:
        return _drawn(request, look, _station(look, location_id))

    @router.get("/locations/{location_id}/download")
    def download(request: Request, location_id: str) -> Response:
        return _download(request, look, _station(look, location_id))

    return router


def _station(look: Look, location_id: str) -> Station:
    """Return a location; raises a 404 for one that is neither known nor selected."""
    seen = look.seen()
    found = number_in(location_id)
    health = next((each for each in seen.overview.health.locations if each.location_id == found), None)
    known = seen.locations.get(found) if found is not None else None
    if found is None or (health is None and known is None):
        raise HTTPException(404, f"There is no location {plain(location_id, 20)} here")
    newest = health.latest if health and health.latest else seen.at
    return Station(found, known, health, _clock(known), newest, seen.at)


def _clock(known: Location | None) -> ZoneInfo:
    """Return the station's time zone, UTC where it is none that this machine knows."""
    try:
        found = zone(known.timezone if known else "UTC")
    except ConfigError:
        found = ZoneInfo("UTC")
    return found if isinstance(found, ZoneInfo) else ZoneInfo("UTC")


def _range(request: Request, station: Station) -> Range:
    try:
        return asked_range(request.query_params, station.clock, station.newest)
    except ConfigError as error:
        raise HTTPException(422, error.advice) from error


def _page(request: Request, look: Look, station: Station) -> HTMLResponse:
    shown, warnings = _range(request, station), list[str]()
    found: tuple[Series, ...] = ()
    sheet, audited, terms = None, None, {}
    try:
        found = series(look.settings.data_dir, station.id, shown.window, most_points=PAGE_POINTS)
    except PipelineError as error:
        warnings.append(error.advice)
    try:
        held = calendar.calendar(look.settings, station.id, station.now, days=CALENDAR_DAYS)
        sheet, audited = calendar_drawing.sheet(held), held.audited
    except PipelineError as error:
        warnings.append(error.advice)
    try:
        terms = licenses.read(look.settings.data_dir)
    except PipelineError as error:
        warnings.append(error.advice)
    known = station.known
    name = (station.health.name if station.health else None) or (known.name if known else None)
    first, last = _ends(shown.window, found)
    context = {
        "id": station.id,
        "name": plain(name) or f"Location {station.id}",
        "location": known,
        "health": station.health,
        "words": WORDS,
        "where": location.place(known) if known else "",
        "now": station.now,
        "local": station.now.astimezone(station.clock),
        "timezone": station.clock.key,
        "range": shown,
        "spans": list(SPANS),
        "from_field": _field(first, station.clock),
        "to_field": _field(last, station.clock),
        "charts": location.charts(found),
        "odd": location.odd_rows(found, station.clock),
        "download": lambda form: _address(station.id, form, shown.window),
        "sheet": sheet,
        "calendar_audited": audited,
        "calendar_words": calendar_drawing.WORDS,
        "licences": location.licences(known, terms) if known else [],
        "coordinates": coordinates,
        "warnings": list(dict.fromkeys(warnings)),
    }
    return render(request, "location.html", context)


def _ends(window: Window, found: tuple[Series, ...]) -> tuple[datetime | None, datetime | None]:
    """Return where a window begins and ends; of an open one, where its rows do; None: there is none."""
    times = [each.times for each in found if each.times]
    first = min((each[0] for each in times), default=None)
    last = max((each[-1] for each in times), default=None)
    begins = window.start if window.start > EARLIEST else _moment(first, window)
    ends = window.end if window.end < LATEST else _moment(last, window)
    return begins, ends


def _moment(seconds: int | None, window: Window) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, window.start.tzinfo)


def _field(moment: datetime | None, clock: ZoneInfo) -> str:
    """Return a moment as a field of a form has it."""
    return "" if moment is None else f"{moment.astimezone(clock):%Y-%m-%dT%H:%M}"


def _address(location_id: int, form: str, window: Window) -> str:
    """Return where what a window shows can be had as a file."""
    given = {"format": form}
    if window.start > EARLIEST:
        given["datetime_from"] = stamp(window.start)
    if window.end < LATEST:
        given["datetime_to"] = stamp(window.end)
    return f"/locations/{location_id}/download?{urlencode(given)}"


def _drawn(request: Request, look: Look, station: Station) -> Response:
    """Return the series of a span, thinned to what a screen shows."""
    shown = _range(request, station)
    points = number_in(request.query_params.get("most_points", "")) or MOST_POINTS
    found = series(look.settings.data_dir, station.id, shown.window, most_points=min(points, MOST_POINTS))
    first, last = _ends(shown.window, found)
    span = (first and int(first.timestamp()), last and int(last.timestamp()))
    return Response(location.drawing(found, station.clock.key, span), media_type="application/json")


def _download(request: Request, look: Look, station: Station) -> Response:
    """Return all rows of a span as a file."""
    form = request.query_params.get("format", "csv")
    if form not in TYPES:
        raise HTTPException(422, f"There is no format {plain(form, 20)}; there are {', '.join(TYPES)}")
    window = _range(request, station).window
    table = read(look.settings.data_dir, station.id, Selection(window))
    file = tempfile.SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115 - closed when it is sent
    with FORMATS[form](file) as write:
        if table.num_rows:
            write(table)
    name = f"openaq-{station.id}-{form}.{form}" if window.start <= EARLIEST else (
        f"openaq-{station.id}-{window.start:%Y%m%d}-{window.end:%Y%m%d}.{form}"
    )
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_chunks(file), media_type=TYPES[form], headers=headers)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
