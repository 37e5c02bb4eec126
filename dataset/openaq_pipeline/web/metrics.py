"""`/metrics`: how it is, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from openaq_pipeline.figures import figures_of
from openaq_pipeline.monitoring import exposition
from openaq_pipeline.web.look import Look


def metrics(look: Look) -> APIRouter:
    """Return the route that Prometheus asks; it is no part of the API, whose document leaves it out."""
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics")
    def scrape(request: Request) -> Response:
        seen = look.seen()
        figures = figures_of(look.settings, seen.overview, seen.alerts, seen.locations, seen.at)
        body, content_type = exposition.answer(figures, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return router
