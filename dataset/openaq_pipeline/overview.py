"""What `monitor` shows, gathered from the files; nothing is written to the data folder."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import msgspec

from openaq_pipeline.errors import PipelineError
from openaq_pipeline.incremental.outlook import longest_gap, next_run
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.health import health
from openaq_pipeline.monitoring.history import History
from openaq_pipeline.monitoring.metrics import RunMetrics, Totals
from openaq_pipeline.openaq.budget import Budget, BudgetUse, ledger_path
from openaq_pipeline.reports import Health
from openaq_pipeline.settings import ApiSettings, Settings
from openaq_pipeline.storage import selections
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.selections import Chosen
from openaq_pipeline.storage.state import StateFile


class Overview(msgspec.Struct, frozen=True):
    """Everything `monitor` knows. `runs` are the last ones, oldest first.

    `budget` is None where it can't be told: without a key, whose ledger is meant, or with a ledger that can't be read.
    `warnings` tell which file could not be read. `totals` are what all runs came to, None: nothing was counted yet.
    """

    health: Health
    runs: tuple[RunMetrics, ...]
    budget: BudgetUse | None
    data_dir: str
    warnings: tuple[str, ...]
    totals: Totals | None = None


def overview(settings: Settings, now: datetime, *, shown_runs: int) -> Overview:
    """Return how it is, as far as the files can be read; what can't is a warning."""
    folder, warnings = settings.data_dir, _Warnings()
    settings = _resolved(settings, warnings)
    if not folder.is_dir():
        warnings.add(f"There is no data folder {folder} yet")
    past = _past(folder, warnings)
    runs = past.runs
    state, metadata = StateFile(folder), Metadata(folder)
    for load in (state.load, metadata.load):
        try:
            warnings.add(load(now, repair=False))
        except PipelineError as error:
            warnings.add(error.advice)
    known = Chosen(metadata, settings.parameters)
    locations = {key: found for key in settings.locations if (found := known.get(key))}
    how = health(
        {key: state.get(key) for key in settings.locations},
        locations,
        settings.locations,
        runs,
        settings.monitoring.alerts,
        now,
        next_run=next_run(settings.schedule, runs[-1].started if runs else None, now),
        interval=longest_gap(settings.schedule, now),
    )
    budget = _budget(settings.api, folder, warnings)
    return Overview(how, runs[-shown_runs:], budget, str(folder), tuple(warnings.said), past.totals)


class _Warnings:
    """What went wrong on the way, in sentences."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def add(self, sentence: str | None) -> None:
        """Take note of a sentence; None: there is nothing to say."""
        if sentence:
            self.said.append(sentence)


def _resolved(settings: Settings, warnings: _Warnings) -> Settings:
    """Return the settings with the locations that their selections had last."""
    try:
        found = selections.read(settings.data_dir)
    except PipelineError as error:
        warnings.add(error.advice)
        return settings
    warnings.add(found.warning)
    for selection in selections.unresolved(settings, found.selections):
        warnings.add(f"{selection} was not looked up yet; the next run does that")
    return selections.applied(settings, found.selections)


def _past(folder: Path, warnings: _Warnings) -> History:
    try:
        found = history.read(folder)
    except PipelineError as error:
        warnings.add(error.advice)
        return History()
    warnings.add(found.warning)
    return found


def _budget(api: ApiSettings, folder: Path, warnings: _Warnings) -> BudgetUse | None:
    """Return how much of the budget is used; nothing is, where no ledger was ever begun."""
    key = api.api_key.get_secret_value().strip() if api.api_key else ""
    if not key:
        return None
    path = ledger_path(key, api.base_url, folder, os.environ)
    if not path.exists():
        return BudgetUse(0, 0, api.requests_per_minute, api.requests_per_hour)
    try:
        budget = Budget(path, per_minute=api.requests_per_minute, per_hour=api.requests_per_hour)
        try:
            return budget.use()
        finally:
            budget.close()
    except PipelineError as error:
        warnings.add(error.advice)
        return None
