"""The whole: status, runs, alerts."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query

from openaq_pipeline import __version__
from openaq_pipeline.monitoring.alerts import Book
from openaq_pipeline.monitoring.metrics import RunMetrics
from openaq_pipeline.web.api import models
from openaq_pipeline.web.api.asking import Paged
from openaq_pipeline.web.failures import Failure
from openaq_pipeline.web.look import Look, Seen

NAMED = 100
"""So many locations are named of a run in which more were amiss."""


def router(look: Look) -> APIRouter:
    """Return the routes about the whole."""
    routes = APIRouter(tags=["status"])

    @routes.get("/status", summary="How the whole is")
    def status() -> models.Status:
        """Return the state of the copy in a word, a sentence and numbers."""
        return status_of(look.seen())

    @routes.get("/runs", summary="The last 100 runs")
    def runs(asked: Annotated[Paged, Query()]) -> models.Runs:
        """Return the runs on file, the last one first."""
        found = look.seen().overview.runs[::-1]
        return models.Runs(meta=asked.meta(len(found)), results=[run_of(each) for each in asked.of(found)])

    @routes.get("/alerts", summary="Alerts, open and past")
    def alerts(asked: Annotated[Paged, Query()]) -> models.Alerts:
        """Return the conditions that last, and the last 100 that have ended."""
        book = look.seen().alerts
        if book is None:
            raise Failure(503, "The book of alerts can't be read", "See /api/v1/status for why.")
        found = alerts_of(book)
        return models.Alerts(meta=asked.meta(len(found)), results=list(asked.of(found)))

    return routes


def status_of(seen: Seen) -> models.Status:
    """Return the whole as the API tells it."""
    how, budget = seen.overview.health, seen.overview.budget
    counts = Counter(each.status for each in how.locations)
    return models.Status(
        status=how.status,
        sentence=how.sentence,
        at=seen.at,
        last_run=how.last_run,
        next_run=how.next_run,
        locations=models.Counts(
            current=counts["current"], silent=counts["silent"], failing=counts["failing"], unknown=counts["unknown"]
        ),
        parked_sensors=sum(len(each.parked) for each in how.locations),
        open_alerts=None if seen.alerts is None else len(seen.alerts.open),
        budget=None if budget is None else models.Budget.model_validate(budget, from_attributes=True),
        warnings=list(seen.overview.warnings),
        version=__version__,
    )


def run_of(run: RunMetrics) -> models.Run:
    """Return a run as the API tells it."""
    amiss = [each for each in run.locations if each.outcome != "ok"][:NAMED]
    names = [name for name in models.Run.model_fields if name != "amiss"]
    return models.Run(
        **{name: getattr(run, name) for name in names},
        amiss=[models.RunLocation.model_validate(each, from_attributes=True) for each in amiss],
    )


def alerts_of(book: Book) -> list[models.Alert]:
    """Return the alerts: what lasts, the most recent first, and then what is past."""
    lasting = sorted(book.open.values(), key=lambda each: each.began, reverse=True)
    found = [(each.condition, each.began, None, each.told is not None) for each in lasting]
    past = [(each.condition, each.began, each.ended, each.told) for each in reversed(book.past)]
    return [
        models.Alert(
            key=condition.key,
            severity=condition.severity,
            title=condition.title,
            message=condition.message,
            hint=condition.hint,
            began=began,
            ended=ended,
            told=told,
        )
        for condition, began, ended, told in [*found, *past]
    ]
