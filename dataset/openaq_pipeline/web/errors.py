"""What a reader sees when something can't be shown: a page that says so and what to do."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse

from openaq_pipeline.web.rendering import render


def error_page(request: Request, status: int, what: str, hint: str = "") -> HTMLResponse:
    """Return the page of an error."""
    return render(request, "error.html", {"status": status, "what": what, "hint": hint}, status)
