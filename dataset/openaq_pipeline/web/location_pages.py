"""The page of a location, the series that it draws, and the download of what it shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from openaq_pipeline.errors import ConfigError, PipelineError
from openaq_pipeline.model import Location, Window
from openaq_pipeline.reading.moments import EARLIEST, LATEST, zone
from openaq_pipeline.reports import LocationHealth
from openaq_pipeline.storage import licenses
from openaq_pipeline.web.failures import Failure
from openaq_pipeline.web.look import Look
from openaq_pipeline.web.rendering import render
from openaq_pipeline.web.views import calendar_drawing, location
from openaq_pipeline.web.views.range import SPANS, Range, asked_range, minute_before, minute_from
from openaq_pipeline.web.views.status import WORDS
from openaq_pipeline.web.wording import coordinates, number_in, plain, stamp

if TYPE_CHECKING:
    from openaq_pipeline.reading.series import Series

PAGE_POINTS, MOST_POINTS = 400, 4000
"""So many points has a sensor's line before the script draws it, and at most afterwards."""

CALENDAR_DAYS = 371
"""53 weeks: a year, and the week that it began in."""


AT_ONCE, WAIT_SECONDS = 4, 20.0
"""So many read series at a time, each a few megabytes a year of it; others wait so long."""


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
    turns = threading.BoundedSemaphore(AT_ONCE)

    @router.get("/locations/{location_id}")
    def page(request: Request, location_id: str) -> HTMLResponse:
        station = _station(look, location_id)
        with _turn(turns):
            return _page(request, look, station)

    @router.get("/locations/{location_id}/series.json")
    def drawn(request: Request, location_id: str) -> Response:
        station = _station(look, location_id)
        with _turn(turns):
            return _drawn(request, look, station)

    return router


@contextmanager
def _turn(turns: threading.BoundedSemaphore) -> Iterator[None]:
    """Wait for one's turn to read."""
    if not turns.acquire(timeout=WAIT_SECONDS):
        raise Failure(503, "Too many are reading series", "Ask again in a moment.", {"Retry-After": "10"})
    try:
        yield
    finally:
        turns.release()


def _station(look: Look, location_id: str) -> Station:
    """Return a location; raises a 404 for one that is neither known nor selected."""
    seen = look.seen()
    found = number_in(location_id)
    health, known = (None, None) if found is None else (seen.places.get(found), seen.locations.get(found))
    if found is None or (health is None and known is None):
        hint = "The status page lists those that are selected in config.yaml."
        raise Failure(404, f"There is no location {plain(location_id, 20)} here", hint)
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
        raise Failure(422, str(error), error.hint) from error


def _page(request: Request, look: Look, station: Station) -> HTMLResponse:
    from openaq_pipeline.reading.series import series  # noqa: PLC0415 - Arrow is loaded where rows are read
    from openaq_pipeline.web import calendar  # noqa: PLC0415

    shown, warnings = _range(request, station), list[str]()
    found: tuple[Series, ...] = ()
    sheet, audited, terms = None, None, {}
    try:
        found = series(look.settings.data_dir, station.id, shown.window, most_points=PAGE_POINTS)
    except PipelineError as error:
        warnings.append(look.told(error.advice))
    try:
        held = calendar.calendar(look.settings, station.id, station.now, days=CALENDAR_DAYS)
        sheet, audited = calendar_drawing.sheet(held), held.audited
    except PipelineError as error:
        warnings.append(look.told(error.advice))
    try:
        terms = licenses.read(look.settings.data_dir)
    except PipelineError as error:
        warnings.append(look.told(error.advice))
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
        "to_field": _field(last, station.clock, closing=True),
        "charts": location.charts(found),
        "odd": location.odd_rows(found, station.clock),
        "download": lambda form: _address(station.id, form, shown.window),
        "sheet": sheet,
        "calendar_audited": audited,
        "licences": location.licences(known, terms) if known else [],
        "coordinates": coordinates,
        "warnings": list(dict.fromkeys(warnings)),
    }
    return render(request, "location.html", context)


def _ends(window: Window, found: tuple[Series, ...]) -> tuple[datetime | None, datetime | None]:
    """Return where a window begins and ends; of an open one, the whole minutes around its rows; None: there is none."""
    times = [each.times for each in found if each.times]
    first = min((each[0] for each in times), default=None)
    last = max((each[-1] for each in times), default=None)
    begins: datetime | None = window.start
    if window.start == EARLIEST:  # a window is without its start: it has to be before the first row
        begins = None if first is None else minute_before(datetime.fromtimestamp(first, UTC))
    ends: datetime | None = window.end
    if window.end == LATEST:
        ends = None if last is None else minute_from(datetime.fromtimestamp(last, UTC))
    return begins, ends


def _field(moment: datetime | None, clock: ZoneInfo, *, closing: bool = False) -> str:
    """Return a moment as a field of a form has it: to the minute, never so that less is asked for than is shown."""
    if moment is None:
        return ""
    try:
        return f"{(minute_from(moment) if closing else moment).astimezone(clock):%Y-%m-%dT%H:%M}"
    except OverflowError:  # the ends of the calendar
        return ""


def _address(location_id: int, form: str, window: Window) -> str:
    """Return where what a window shows can be had as a file."""
    given = {"format": form}
    if window.start > EARLIEST:
        given["datetime_from"] = stamp(window.start)
    if window.end < LATEST:
        given["datetime_to"] = stamp(window.end)
    return f"/api/v1/locations/{location_id}/measurements?{urlencode(given)}"


def _drawn(request: Request, look: Look, station: Station) -> Response:
    """Return the series of a span, thinned to what a screen shows."""
    from openaq_pipeline.reading.series import series  # noqa: PLC0415 - see above

    shown = _range(request, station)
    points = number_in(request.query_params.get("most_points", "")) or MOST_POINTS
    found = series(look.settings.data_dir, station.id, shown.window, most_points=min(points, MOST_POINTS))
    first, last = _ends(shown.window, found)
    body = location.drawing(found, station.clock.key, _seconds(first), _seconds(last))
    return Response(body, media_type="application/json")


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
