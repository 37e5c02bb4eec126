"""The checks, one after the other, to the end whatever fails."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from openaq_pipeline import installed
from openaq_pipeline.errors import ConfigError, PipelineError

if TYPE_CHECKING:
    from openaq_pipeline.settings import Settings

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found out: `message` is what is, `hint` what to do (empty: nothing)."""

    status: Status
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A finding with the name of its check."""

    name: str
    status: Status
    message: str
    hint: str = ""


Probe = Callable[..., Iterable[Finding]]
"""Looks at one thing, most with the settings as argument; what it raises is a finding too."""

WITHOUT_SETTINGS = (("dependencies", "machine", "dependencies"), ("time zones", "machine", "time_zones"))
WITH_SETTINGS = (
    ("locations", "folder", "locations"),
    ("schedule", "schedule", "schedule"),
    ("data folder", "folder", "data_folder"),
    ("lock", "folder", "lock"),
    ("state", "folder", "state"),
    ("log file", "folder", "log_file"),
    ("disk", "machine", "disk"),
    ("OpenAQ", "upstream", "openaq"),
    ("PostgreSQL", "database", "postgres"),
    ("channels", "channels", "channels"),
)
"""Name of the check, module and function; imported when its turn comes."""


def without_settings() -> Iterator[Check]:
    """Yield what can be said before any setting is read."""
    for name, module, function in WITHOUT_SETTINGS:
        yield from run_check(name, module, function)


def with_settings(settings: Settings) -> Iterator[Check]:
    """Yield what the settings lead to."""
    for name, module, function in WITH_SETTINGS:
        yield from run_check(name, module, function, settings)


def configuration(load: Callable[[], Settings]) -> tuple[Settings | None, list[Check]]:
    """Return the settings, None if they can't be read, and what is to be said of them, a line for each problem."""
    try:
        settings = load()
    except ConfigError as error:
        problems = error.problems or (error.advice,)
        return None, [Check("configuration", "failed", problem, _hint_of(error)) for problem in problems]
    except Exception as error:  # noqa: BLE001 - to the end, whatever fails
        return None, [_failure("configuration", error)]
    where = (
        f"{settings.config_path}"
        if settings.config_path
        else "no config.yaml (`openaq-pipeline init` writes one); the defaults hold"
    )
    checks = [Check("configuration", "ok", where)]
    checks += [Check("configuration", "warning", warning) for warning in settings.warnings]
    return settings, checks


def run_check(name: str, module: str, function: str, *given: Settings) -> Iterator[Check]:
    """Yield the findings of one check under its name; an error is a finding, and the next check goes on."""
    try:
        probe: Probe = getattr(importlib.import_module(f"openaq_pipeline.preflight.{module}"), function)
        for finding in probe(*given):
            yield Check(name, finding.status, finding.message, finding.hint)
    except Exception as error:  # noqa: BLE001 - to the end, whatever fails
        yield _failure(name, error)


def _hint_of(error: PipelineError) -> str:
    return "" if isinstance(error, ConfigError) and not error.problems else error.hint or "See config.yaml."


def _failure(name: str, error: Exception) -> Check:
    """Return what an error says of a check."""
    if isinstance(error, PipelineError):
        return Check(name, "failed", str(error), error.hint)
    if isinstance(error, ModuleNotFoundError) and (lack := installed.explained(error)):
        return Check(name, "failed", str(lack), lack.hint)
    return Check(name, "failed", f"the check itself failed: {type(error).__name__}: {error}", "Please report this bug.")
