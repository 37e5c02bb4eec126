"""`/healthz` and `/readyz`, for those who ask by machine whether it lives, and whether it does what it is for."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from openaq_pipeline.web.look import Look


def probes(look: Look) -> APIRouter:
    """Return the routes of the probes."""
    router = APIRouter(tags=["probes"], default_response_class=PlainTextResponse)

    @router.get("/healthz", summary="Whether the server lives")
    async def healthz() -> PlainTextResponse:
        """Answer 200 as long as the server lives; it says nothing of the data."""
        return PlainTextResponse("ok\n")

    @router.get(
        "/readyz",
        summary="Whether a run was good lately",
        responses={503: {"description": "No run was good lately", "content": {"text/plain": {}}}},
    )
    def readyz() -> PlainTextResponse:
        """Answer 200 if the last good run is recent enough, by the rule of `monitor.py --check`, else 503."""
        found = look.readiness()
        return PlainTextResponse(f"{found.sentence}\n", 200 if found.ready else 503)

    return router
