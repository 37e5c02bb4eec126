"""`/metrics`: how it is, for Prometheus."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from openaq_pipeline.figures import figures_of
from openaq_pipeline.monitoring import exposition
from openaq_pipeline.web.look import Look, Seen


class _Told(NamedTuple):
    """What was answered to an `Accept` header for one look."""

    seen: Seen
    accept: str
    body: bytes
    content_type: str


def metrics(look: Look) -> APIRouter:
    """Return the route that Prometheus asks; it is no part of the API, whose document leaves it out."""
    router = APIRouter(include_in_schema=False)
    last: list[_Told] = []

    @router.get("/metrics")
    def scrape(request: Request) -> Response:
        seen, accept = look.seen(), request.headers.get("accept", "")
        # A thousand locations take a fifth of a second: who asks more often than there is news costs nothing.
        told = next((one for one in last if one.seen is seen and one.accept == accept), None)
        if told is None:
            figures = figures_of(look.settings, seen.overview, seen.alerts, seen.locations, seen.at)
            told = _Told(seen, accept, *exposition.answer(figures, accept))
            last[:] = [told]
        return Response(told.body, headers={"Content-Type": told.content_type})

    return router
