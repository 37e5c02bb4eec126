"""What `monitor` and the status page show, gathered from the files; nothing is written to the data folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from openaq_pipeline.errors import PipelineError
from openaq_pipeline.files import Stamp, stamp_of
from openaq_pipeline.incremental.outlook import longest_gap, next_run
from openaq_pipeline.model import LocationState
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.health import health
from openaq_pipeline.monitoring.history import History
from openaq_pipeline.monitoring.metrics import RunMetrics, Totals
from openaq_pipeline.openaq.budget import BudgetUse, ledger_path, peek
from openaq_pipeline.reports import Health
from openaq_pipeline.settings import ApiSettings, Settings
from openaq_pipeline.storage import selections
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.selections import Chosen, Remembered
from openaq_pipeline.storage.state import StateFile

T = TypeVar("T")


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
    return Observer(settings).look(now, shown_runs=shown_runs)


class Observer:
    """Looks at a data folder again and again, and reads only what has changed since. For one thread at a time.

    `ledger` is where requests are counted, None: where this key's are.
    """

    def __init__(self, settings: Settings, ledger: Path | None = None) -> None:
        folder = settings.data_dir
        self._settings = settings
        self.ledger = ledger or _ledger(settings.api, folder)
        self._selections = Kept(folder / selections.NAME, lambda _: selections.read(folder))
        self._history = Kept(folder / history.NAME, lambda _: history.read(folder))
        self._state = Kept(folder / ".state.json", lambda now: _loaded(StateFile(folder), now))
        self._metadata = Kept(folder / "locations.json", lambda now: _loaded(Metadata(folder), now))
        self.metadata = Metadata(folder)

    def stamps(self) -> tuple[Stamp | None, ...]:
        """Return what changes when there is something new to see."""
        paths = [each.path for each in (self._selections, self._history, self._state, self._metadata)]
        if self.ledger is not None:
            paths += [self.ledger, self.ledger.with_name(f"{self.ledger.name}-wal")]
        return tuple(map(stamp_of, paths))

    def look(self, now: datetime, *, shown_runs: int) -> Overview:
        """Return how it is, as far as the files can be read; what can't is a warning."""
        warnings = _Warnings()
        if not self._settings.data_dir.is_dir():
            warnings.add(f"There is no data folder {self._settings.data_dir} yet")
        settings = self._resolved(now, warnings)
        past = warnings.unless(lambda: self._history.get(now)) or History()
        warnings.add(past.warning)
        states = self._states(now, warnings)
        self.metadata = self._known(now, warnings)
        known = Chosen(self.metadata, settings.parameters)
        last = past.runs[-1].started if past.runs else None
        how = health(
            {key: states.get(key, NOTHING_YET) for key in settings.locations},
            {key: found for key in settings.locations if (found := known.get(key))},
            settings.locations,
            past.runs,
            settings.monitoring.alerts,
            now,
            next_run=next_run(settings.schedule, last, now),
            interval=longest_gap(settings.schedule, now),
        )
        budget = self._budget(warnings)
        shown, said = past.runs[-shown_runs:], tuple(warnings.said)
        return Overview(how, shown, budget, str(settings.data_dir), said, past.totals)

    def _resolved(self, now: datetime, warnings: _Warnings) -> Settings:
        """Return the settings with the locations that their selections had last."""
        found = warnings.unless(lambda: self._selections.get(now))
        if found is None:
            return self._settings
        warnings.add(found.warning)
        return _applied(self._settings, found, warnings)

    def _states(self, now: datetime, warnings: _Warnings) -> dict[int, LocationState]:
        found = warnings.unless(lambda: self._state.get(now))
        if found is None:
            return {}
        warnings.add(found[1])
        return found[0].locations()

    def _known(self, now: datetime, warnings: _Warnings) -> Metadata:
        found = warnings.unless(lambda: self._metadata.get(now))
        if found is None:
            return Metadata(self._settings.data_dir)
        warnings.add(found[1])
        return found[0]

    def _budget(self, warnings: _Warnings) -> BudgetUse | None:
        """Return how much of the budget is used; nothing is, where no ledger was ever begun."""
        api, ledger = self._settings.api, self.ledger
        if ledger is None:
            return None
        return warnings.unless(lambda: peek(ledger, per_minute=api.requests_per_minute, per_hour=api.requests_per_hour))


NOTHING_YET = LocationState()


class Kept(Generic[T]):
    """What a file holds, read again only when the file is another one than the last time."""

    def __init__(self, path: Path, read: Callable[[datetime], T]) -> None:
        self.path = path
        self._read = read
        self._found: tuple[Stamp, T] | None = None

    def stamp(self) -> Stamp | None:
        """Return what changes with the file."""
        return stamp_of(self.path)

    def get(self, now: datetime) -> T:
        """Return it; what `read` raises passes through."""
        stamp = stamp_of(self.path)  # before: what is replaced meanwhile is read once more the next time
        if self._found is not None and self._found[0] == stamp:
            return self._found[1]
        self._found = None  # to hold the old and the new one at once takes twice the memory
        found = self._read(now)
        self._found = None if stamp is None else (stamp, found)
        return found


class _Warnings:
    """What went wrong on the way, in sentences."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def add(self, sentence: str | None) -> None:
        """Take note of a sentence; None: there is nothing to say."""
        if sentence:
            self.said.append(sentence)

    def unless(self, read: Callable[[], T]) -> T | None:
        """Return what `read` does; None, and a warning, if it can't."""
        try:
            return read()
        except PipelineError as error:
            self.add(error.advice)
            return None


L = TypeVar("L", StateFile, Metadata)


def _loaded(file: L, now: datetime) -> tuple[L, str | None]:
    """Return the file with what is in it, and what is wrong with it."""
    return file, file.load(now, repair=False)


def _applied(settings: Settings, found: Remembered, warnings: _Warnings) -> Settings:
    for selection in selections.unresolved(settings, found.selections):
        warnings.add(f"{selection} was not looked up yet; the next run does that")
    return selections.applied(settings, found.selections)


def _ledger(api: ApiSettings, folder: Path) -> Path | None:
    """Return where the requests of this key are counted; None without a key."""
    key = api.api_key.get_secret_value().strip() if api.api_key else ""
    return ledger_path(key, api.base_url, folder, os.environ) if key else None
