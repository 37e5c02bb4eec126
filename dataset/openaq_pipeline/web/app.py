"""The application put together."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from openaq_pipeline import __version__
from openaq_pipeline.web import api, failures
from openaq_pipeline.web.look import Look
from openaq_pipeline.web.manners import Manners
from openaq_pipeline.web.metrics import metrics
from openaq_pipeline.web.pages import HERE, pages
from openaq_pipeline.web.probes import probes

LOCAL_NAMES = frozenset({"localhost"})

COMPRESSED_BYTES = 1_024
"""A smaller answer fits into one packet as it is."""


def application(look: Look, *, local: frozenset[str] | None = LOCAL_NAMES) -> ASGIApp:
    """Return the application for a data folder; it only reads.

    `local` are the names of this machine if only this machine can reach it; None: others can.
    """
    manners = Manners(routes(look), failures.answer, local)
    return GZipMiddleware(manners, minimum_size=COMPRESSED_BYTES, compresslevel=5)


def routes(look: Look) -> FastAPI:
    """Return all that can be asked for."""
    # Swagger's and ReDoc's pages load their scripts from elsewhere; /api is ours.
    app = FastAPI(
        title="OpenAQ Pipeline",
        summary="What a data folder of OpenAQ Pipeline holds, and how it is.",
        description=api.ABOUT,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_name,
    )
    failures.on(app, look.told)
    app.include_router(pages(look))
    app.include_router(metrics(look))
    app.include_router(probes(look))
    app.include_router(api.router(look))
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    return app


def _name(route: APIRoute) -> str:
    return route.name
