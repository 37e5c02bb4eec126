"""The application put together."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from openaq_pipeline import __version__
from openaq_pipeline.settings import Settings
from openaq_pipeline.web.look import Look
from openaq_pipeline.web.metrics import metrics
from openaq_pipeline.web.pages import HERE, pages


def application(settings: Settings) -> FastAPI:
    """Return the application for a data folder; it only reads."""
    look = Look(settings)
    # Swagger's and ReDoc's pages load their scripts from elsewhere; /api is ours.
    app = FastAPI(title="OpenAQ Pipeline", version=__version__, docs_url=None, redoc_url=None)
    app.include_router(pages(look))
    app.include_router(metrics(look))
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    return app
