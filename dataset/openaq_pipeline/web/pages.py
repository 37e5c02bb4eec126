"""The pages, made on the server from templates."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from openaq_pipeline.web.look import Look

HERE = Path(__file__).parent

templates = Jinja2Templates(
    env=Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
)


def pages(look: Look) -> APIRouter:
    """Return the routes of the pages."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    def status(request: Request) -> HTMLResponse:
        return templates.TemplateResponse(request, "status.html", {"seen": look.seen()})

    return router
