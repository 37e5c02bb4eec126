"""One table from an HTTP answer to an error (OPENAQ section 4.2). Decided by status first: bodies may be anything."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from openaq_pipeline.errors import (
    FatalError,
    ItemMissing,
    PipelineError,
    RetriableError,
    ServerFault,
    WindowTooLarge,
)

KEY_HINT = "Set OPENAQ_API_KEY to a valid key; https://explore.openaq.org/register gives one for free."
BETWEEN_HINT = "Check api.base_url, and whether a proxy or a sign-in page sits in between."
CONTACT_HINT = "Stop polling with this key and address, and write to dev@openaq.org: the block is not lifted by itself."


class Answer(msgspec.Struct, frozen=True):
    """What came back: the status, lower-case headers, the decoded body, and how long it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    elapsed_seconds: float


def error_of(answer: Answer, path: str) -> PipelineError | None:
    """Return the error an answer stands for; None for a good one (200 with what looks like a whole JSON object)."""
    status = answer.status
    if status == 200:
        return None if _is_json(answer) else RetriableError(f"{path} answered 200 with something that is not JSON")
    said = f"OpenAQ answered {status} to {path}: {explain(answer)}"
    if status in TABLE:
        make, hint = TABLE[status]
        return make(said, hint=hint)
    if status > 500:
        return RetriableError(said, hint="OpenAQ has a problem; the next run tries again.")
    if 300 <= status < 400:
        said = f"{path} was answered with a redirect ({status}), which is not followed so that the key stays here"
        return RetriableError(said, hint=BETWEEN_HINT)
    return ItemMissing(said) if status >= 400 else RetriableError(said, hint=BETWEEN_HINT)


TABLE: dict[int, tuple[type[PipelineError], str]] = {
    401: (FatalError, KEY_HINT),
    403: (FatalError, CONTACT_HINT),
    407: (RetriableError, "A proxy asks who you are: check the proxy settings (HTTPS_PROXY)."),
    410: (FatalError, "This version of the API is retired: update this program and check api.base_url."),
    408: (WindowTooLarge, "OpenAQ needed too long; a smaller window is asked for."),
    429: (RetriableError, "The request budget is used up; other programs may use the same key."),
    500: (ServerFault, "OpenAQ failed at this question; the next run tries again."),
}
"""What a status means and what to do; the others are decided by their hundred."""


def explain(answer: Answer, limit: int = 200) -> str:
    """Return in one short line what a body says, be it JSON, a JSON string, text or a page of HTML."""
    text = answer.body[:10_000].decode(errors="replace")
    try:
        said = _said(msgspec.json.decode(answer.body[:10_000]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = re.sub(r"<[^>]*>", " ", text) if text.lstrip().startswith("<") else text
    line = " ".join("".join(char if char.isprintable() else " " for char in said).split())
    return (line[:limit] + "…" if len(line) > limit else line) or "no reason given"


def _said(data: Any) -> str:
    """Return the reason in a decoded body; of a list of problems (422) where each is and what it is."""
    if isinstance(data, dict):
        data = data.get("detail") or data.get("message") or data
    if isinstance(data, list) and all(isinstance(problem, dict) and "msg" in problem for problem in data):
        return "; ".join(f"{_place(problem)}{problem['msg']}" for problem in data)
    return str(data)


def _place(problem: dict[str, Any]) -> str:
    """Return the name of the parameter a problem is about, with a colon; empty if it is not said."""
    place = problem.get("loc")
    return f"{place[-1]}: " if isinstance(place, list) and place else ""


def _is_json(answer: Answer) -> bool:
    """Say whether the body can be a JSON object that came to its end; a proxy may cut one off without a sign."""
    whole = answer.body[:1] == b"{" and answer.body.rstrip()[-1:] == b"}"
    return whole and "json" in answer.headers.get("content-type", "json").lower()
