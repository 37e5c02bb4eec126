"""What is answered where there is no answer: a page for people, an object for programs, never more than a sentence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from openaq_pipeline.errors import ConfigError, PipelineError, RetriableError
from openaq_pipeline.web.errors import error_page

log = logging.getLogger(__name__)

FOR_PROGRAMS = ("/api/v1", "/openapi.json", "/static/")
PLAIN = ("/healthz", "/readyz", "/metrics")

SHOWN_PROBLEMS = 5


class Failure(HTTPException):
    """A request that can't be answered: the status, a sentence, and what to do."""

    def __init__(self, status: int, sentence: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, sentence, headers)
        self.hint = hint


WORDS = {
    404: ("There is nothing under this address", "Begin at the status page, or at /openapi.json for programs."),
    405: ("Only GET and HEAD are possible here", "Nothing can be changed through this page."),
}


def answer(request: Request, status: int, sentence: str, hint: str, headers: Mapping[str, str] | None) -> Response:
    """Return an error in the form that suits who asked."""
    path = request.url.path
    if path.startswith(FOR_PROGRAMS):
        return JSONResponse({"detail": sentence, "hint": hint}, status, headers)
    if path.startswith(PLAIN):
        return PlainTextResponse(f"{sentence}\n", status, headers)
    page = error_page(request, status, sentence, hint)
    page.headers.update(headers or {})
    return page


def on(app: FastAPI, told: Callable[[str], str]) -> None:
    """Have all errors of an application answered so; `told` leaves out what only the owner of the files may read."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(PipelineError, lambda request, error: _explained(request, error, told))
    app.add_exception_handler(Exception, _confessed)


def _refused(request: Request, error: Exception) -> Response:
    error = cast("HTTPException", error)  # that is what it was registered for
    sentence, hint = WORDS.get(error.status_code, (str(error.detail), ""))
    if isinstance(error, Failure):
        sentence, hint = str(error.detail), error.hint
    return answer(request, error.status_code, sentence, hint, error.headers)


def _misread(request: Request, error: Exception) -> Response:
    """Answer parameters that are not what they should be, each in a sentence."""
    error = cast("RequestValidationError", error)
    said = [_problem(each) for each in error.errors()[:SHOWN_PROBLEMS]]
    return answer(request, 422, "; ".join(said), "See /openapi.json for what is possible.", None)


def _problem(detail: Mapping[str, object]) -> str:
    place = detail.get("loc")
    name = ".".join(map(str, place[1:])) if isinstance(place, tuple) else ""
    return f"{name}: {detail.get('msg')}"


def _explained(request: Request, error: Exception, told: Callable[[str], str]) -> Response:
    """Answer one of this program's own errors: a wrong question, or a file that can't be read."""
    error = cast("PipelineError", error)
    if isinstance(error, ConfigError):
        return answer(request, 422, str(error), error.hint, None)
    retry = {"Retry-After": "10"} if isinstance(error, RetriableError) else None
    return answer(request, 503, told(str(error)), told(error.hint), retry)


def _confessed(request: Request, error: Exception) -> Response:
    """Answer a bug, of which only the log tells more."""
    log.error("The page %s can't be shown: %s: %s", request.url.path, type(error).__name__, error)
    return answer(request, 500, "This is a bug", "The program's log tells more; please report it.", None)
