"""The pages, made on the server from templates."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from openaq_pipeline.errors import StorageError
from openaq_pipeline.monitoring.alerts import Book, OpenCondition
from openaq_pipeline.quality.aqi import CATEGORIES
from openaq_pipeline.reading.latest import SensorLatest, latest
from openaq_pipeline.web.location_pages import location_pages
from openaq_pipeline.web.look import Look, Seen
from openaq_pipeline.web.rendering import HERE, render
from openaq_pipeline.web.views import map as map_view
from openaq_pipeline.web.views.api import chapters
from openaq_pipeline.web.views.runs import charts, run_of
from openaq_pipeline.web.views.status import LONGEST_QUERY, STATES, WORDS, Asked, listing
from openaq_pipeline.web.wording import number_in

__all__ = ["HERE", "pages"]

RECENT_RUNS = 6
SHOWN_ALERTS = 100
"""Each location may have one, and nobody reads ten thousand; all are in the API."""


def pages(look: Look) -> APIRouter:
    """Return the routes of the pages."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    def status(request: Request) -> HTMLResponse:
        return _status(request, look)

    @router.get("/runs")
    def runs(request: Request) -> HTMLResponse:
        return _runs(request, look)

    @router.get("/alerts")
    def alerts(request: Request) -> HTMLResponse:
        return _alerts(request, look)

    @router.get("/map")
    def map_page(request: Request) -> HTMLResponse:
        return _map(request, look.seen())

    @router.get("/api")
    def api(request: Request) -> HTMLResponse:
        document = request.app.openapi()
        context = {"about": document["info"].get("description", ""), "chapters": chapters(document)}
        return render(request, "api.html", context)

    router.include_router(location_pages(look))
    return router


def _status(request: Request, look: Look) -> HTMLResponse:
    seen = look.seen()

    def last(location_id: int) -> tuple[SensorLatest, ...]:
        try:
            return latest(look.settings.data_dir, location_id, seen.at)
        except StorageError as error:
            raise StorageError(look.told(str(error)), hint=error.hint) from error

    shown = listing(seen, _asked(request), last)

    def here(**changes: object) -> str:
        """Return the address of this list with some of what is asked for changed; what is usual is left out."""
        asked = shown.asked._asdict() | changes
        given = {"q": asked["query"], "state": asked["state"], "page": asked["page"] if asked["page"] != 1 else None}
        kept = {name: value for name, value in given.items() if value}
        return f"/?{urlencode(kept)}" if kept else "/"

    recent = [run_of(each) for each in seen.overview.runs[: -RECENT_RUNS - 1 : -1]]
    context = {
        "now": seen.at,
        "overview": seen.overview,
        "alerts": _open(seen.alerts),
        "listing": shown,
        "here": here,
        "words": WORDS,
        "stale_after_hours": look.settings.monitoring.alerts.stale_after_hours,
        "recent": recent,
        "last_run": recent[0] if recent else None,
    }
    return render(request, "status.html", context)


def _asked(request: Request) -> Asked:
    """Return what a reader asks for; what makes no sense is left out, as people mend addresses by hand."""
    given = request.query_params
    return Asked(
        given.get("q", "").strip()[:LONGEST_QUERY],
        next((state for state in STATES if state == given.get("state")), None),
        number_in(given.get("page", "")) or 1,
    )


def _open(book: Book | None) -> list[OpenCondition] | None:
    """Return the open conditions, the gravest and oldest first; None: they can't be read."""
    if book is None:
        return None
    order = ("critical", "error", "warning", "info")
    return sorted(book.open.values(), key=lambda each: (order.index(each.condition.severity), each.began))


def _runs(request: Request, look: Look) -> HTMLResponse:
    seen = look.seen()
    runs = [run_of(each) for each in seen.overview.runs]
    context = {
        "now": seen.at,
        "runs": runs[::-1],
        "good": sum(run.outcome == "ok" for run in runs),
        "next_run": seen.overview.health.next_run,
        "charts": charts(runs) if runs else [],
    }
    return render(request, "runs.html", context)


def _alerts(request: Request, look: Look) -> HTMLResponse:
    seen = look.seen()
    book = seen.alerts
    untold = [(each, False) for each in book.outbox] + [(each, True) for each in book.undelivered[::-1]] if book else []
    context = {
        "now": seen.at,
        "read": book is not None,
        "open": (_open(book) or [])[:SHOWN_ALERTS],
        "number": len(book.open) if book else 0,
        "past": book.past[::-1] if book else (),
        "untold": untold,
    }
    return render(request, "alerts.html", context)


def _map(request: Request, seen: Seen) -> HTMLResponse:
    placed = len(map_view.placed(seen))
    context = {
        "placed": placed,
        "unplaced": len(seen.overview.health.locations) - placed,
        "parameters": map_view.parameters(seen),
        "chosen": request.query_params.get("parameter", ""),
        "words": WORDS,
        "categories": CATEGORIES,
        "places": map_view.listed(seen),
    }
    return render(request, "map.html", context)
