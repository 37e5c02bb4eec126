"""Tell Slack once when the runs begin to fail, once when they fail in another way, and once when they are well again.

What was told last is remembered in .kept/told. The address is a secret: it comes from the environment, and no word of
this program quotes it. Slack that can't be reached fails no run; it is told at the next one.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TOLD = Path(".kept/told")
TIMEOUT_SECONDS = 10


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: whoever else is at its end shall not be told."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return no further request."""


def news(status: str, verdict: str, told: str) -> str | None:
    """Return what is to be told now; None: nothing. `told` is the failure that was told last, empty if none lasts."""
    if status == "success":
        return "The runs are well again" if told else None
    return verdict if status == "failure" and verdict != told else None


def text(said: str) -> str:
    """Return the message, in Slack's own escapes."""
    of = os.environ.get
    repository = of("GITHUB_REPOSITORY", "")
    link = f"{of('GITHUB_SERVER_URL', '')}/{repository}/actions/runs/{of('GITHUB_RUN_ID', '')}"
    plain = said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"Data pipeline of {repository}: {plain}\n{link}"


def send(address: str, message: str) -> str | None:
    """Post the message; return what went wrong in words without the address, None if it arrived."""
    try:
        body = json.dumps({"text": message, "unfurl_links": False}).encode()
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 - of a secret
        with urllib.request.build_opener(_Stay).open(request, timeout=TIMEOUT_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return f"Slack answered {error.code}"
    except Exception as error:  # noqa: BLE001 - its text may quote the address
        return f"Slack could not be reached ({type(error).__name__})"


def main() -> None:
    """Tell what is new, if there is anybody to tell."""
    verdict_file = Path("report/verdict.txt")
    verdict = verdict_file.read_text(encoding="utf-8").strip() if verdict_file.is_file() else "The workflow has failed"
    told = TOLD.read_text(encoding="utf-8") if TOLD.is_file() else ""
    status = os.environ["STATUS"]
    if (said := news(status, verdict, told)) is None:
        print("There is nothing new to tell.")
    elif not (address := os.environ.get("SLACK_WEBHOOK_URL", "").strip()):
        print("There is no secret SLACK_WEBHOOK_URL, so nobody is told.")
    elif problem := send(address, text(said)):
        print(f"::warning title=Slack was not told::{problem}")
    else:
        print("Slack was told.")
        TOLD.parent.mkdir(exist_ok=True)
        TOLD.write_text("" if status == "success" else verdict, encoding="utf-8")


if __name__ == "__main__":
    main()
