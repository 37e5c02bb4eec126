"""`/api/v1`: what the data folder holds, for programs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from openaq_pipeline.web.api import locations, measurements, models, status
from openaq_pipeline.web.api import map as map_
from openaq_pipeline.web.look import Look

ABOUT = """\
What a data folder of OpenAQ Pipeline holds, and how it is. Nothing can be changed here: only GET and HEAD are possible.

Names of fields and filters are OpenAQ's where OpenAQ has the thing. `datetime` is the **end** of the averaging period,
in UTC, and windows are (`datetime_from`, `datetime_to`]: later than the one, up to and with the other.

Lists come in pages: `meta.found` is how many results there are on all of them. An unknown parameter is an error, so
that no slip of the pen is taken for an answer. Every answer but a file has an `ETag`; with `If-None-Match` it is sent
once."""

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": models.Problem, "description": "Asked under a name that is not this machine's"},
    414: {"model": models.Problem, "description": "The address is longer than 2,048 bytes"},
    422: {"model": models.Problem, "description": "A parameter is not what it should be"},
    503: {"model": models.Problem, "description": "A file can't be read"},
}


def router(look: Look) -> APIRouter:
    """Return all routes of the API."""
    routes = APIRouter(prefix="/api/v1", responses=ERRORS)
    for part in (status, locations, map_, measurements):
        routes.include_router(part.router(look))
    return routes
