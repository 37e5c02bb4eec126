"""The templates, and what all of them know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from openaq_pipeline import __version__
from openaq_pipeline.web.drawing import spark
from openaq_pipeline.web.views.status import is_old
from openaq_pipeline.web.wording import FILTERS

HERE = Path(__file__).parent


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {**FILTERS, "spark": spark}
    environment.tests |= {"old": is_old}
    environment.globals |= {"version": __version__}
    return environment


_templates = Jinja2Templates(env=_environment())


def render(request: Request, template: str, context: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """Return a page."""
    return _templates.TemplateResponse(request, template, dict(context), status)
