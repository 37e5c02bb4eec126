"""Whether OpenAQ answers, takes the key and agrees on the time: one request, counted in the budget."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from openaq_pipeline.errors import PipelineError
from openaq_pipeline.openaq.answers import BETWEEN_HINT, KEY_HINT, Answer
from openaq_pipeline.openaq.budget import Budget, ledger_path
from openaq_pipeline.openaq.session import Client, require_key
from openaq_pipeline.preflight.checks import Finding
from openaq_pipeline.settings import Settings

QUESTION = "/parameters/2"
"""The smallest answer there is: one parameter, PM2.5."""

PATIENCE_SECONDS = 5.0
"""So long is waited for the budget; a preflight that stands still for an hour helps nobody."""

SKEW_WARNING = timedelta(seconds=60)
SKEW_FAILED = timedelta(hours=1)

CLOCK_HINT = (
    "Set the clock, such as with timedatectl set-ntp true: every window ends at this machine's now, so a clock that "
    "is behind misses the newest rows, and one that is ahead makes all data look late."
)


class _Asker(Client):
    """A client that asks once, without repeating, and keeps the answer for a look at its headers."""

    answer: Answer | None = None

    def ask(self, path: str) -> None:
        """Ask; raises what stands in the way."""
        self._get_once(path, None)

    def _note(self, answer: Answer) -> None:
        self.answer = answer
        super()._note(answer)


def openaq(settings: Settings) -> Iterator[Finding]:
    """Ask OpenAQ one small question with the key."""
    api = settings.api
    given = api.api_key.get_secret_value().strip() if api.api_key else ""
    if not given:
        yield Finding("failed", "OPENAQ_API_KEY is not set", KEY_HINT)
        return
    host = urlsplit(api.base_url).hostname
    asker, problem = _ask(settings, require_key(given))
    if isinstance(problem, _BudgetUsedUp):
        yield Finding("warning", str(problem), problem.hint)
    elif problem is not None:
        yield Finding("failed", str(problem), problem.hint)
    elif asker.answer is not None and not _is_openaq(asker.answer.body):
        yield Finding("failed", f"{host} answered, but not as OpenAQ does", BETWEEN_HINT)
    elif asker.answer is not None:
        yield Finding("ok", f"{host} takes the key and answered in {asker.answer.elapsed_seconds:.2f} s")
    if asker.answer is not None:
        yield clock(asker.answer.headers.get("date"), datetime.now(UTC))


def clock(server_date: str | None, now: datetime) -> Finding:
    """Compare this machine's clock with the `Date` of an answer that has just come; its resolution is a second."""
    try:
        told = parsedate_to_datetime(server_date or "")
    except ValueError:
        return Finding("warning", "the clock can't be compared: the server told no time", CLOCK_HINT)
    skew = now - (told if told.tzinfo else told.replace(tzinfo=UTC))
    seconds = round(abs(skew).total_seconds())
    if abs(skew) <= SKEW_WARNING:
        return Finding("ok", f"this machine's clock agrees with the server's ({seconds} s apart)")
    side = "ahead of" if skew > timedelta(0) else "behind"
    said = f"this machine's clock is {timedelta(seconds=seconds)} (hours, minutes, seconds) {side} the server's"
    return Finding("failed" if abs(skew) > SKEW_FAILED else "warning", said, CLOCK_HINT)


def _is_openaq(body: bytes) -> bool:
    """Say whether an answer has the form that all of OpenAQ's have."""
    try:
        return isinstance(msgspec.json.decode(body, type=dict[str, Any]).get("results"), list)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


class _BudgetUsedUp(PipelineError):
    """No request may leave right now."""


def _ask(settings: Settings, key: str) -> tuple[_Asker, PipelineError | None]:
    """Return the client after its one question, and what stood in the way; None: nothing did."""
    api = settings.api
    path = ledger_path(key, api.base_url, settings.data_dir, os.environ)
    budget = Budget(path, per_minute=api.requests_per_minute, per_hour=api.requests_per_hour, sleep=_wait_a_little)
    asker = _Asker(api.base_url, key, budget, timeout_seconds=api.timeout_seconds)
    try:
        asker.ask(QUESTION)
    except PipelineError as error:
        return asker, error
    finally:
        budget.close()
    return asker, None


def _wait_a_little(seconds: float) -> None:
    """Wait for the budget, but not for long; raises `_BudgetUsedUp`."""
    if seconds > PATIENCE_SECONDS:
        raise _BudgetUsedUp(
            f"not asked: the budget of this key is used up for another {seconds:.0f} s",
            hint="Try again later; a run waits by itself.",
        )
    time.sleep(seconds)
