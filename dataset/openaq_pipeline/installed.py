"""What may be missing: a plain installation polls, checks, watches and tells, and has nothing to analyse or serve with.

The one place that knows which packages a feature takes. One that is asked for and not installed is `NotInstalled`, a
mistake like one in the settings (exit code 2). See docs/decisions/0032-plain-installation.md.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import NamedTuple

from openaq_pipeline.errors import ConfigError

HINT = "Install what is missing: pip install -r requirements.txt. Of the images take the whole one, not `loader`."


class Feature(NamedTuple):
    """Something that can be done without, and the packages that it takes, by their names on PyPI."""

    name: str
    packages: tuple[str, ...]


HISTORY = Feature("the history and its readers", ("numpy", "pyarrow"))
QUERY = Feature("SQL and OpenAQ's archive", ("duckdb",))
PAGE = Feature("the status page and the simulator", ("fastapi", "jinja2", "uvicorn"))
POSTGRES = Feature("the copy in PostgreSQL", ("psycopg",))
SHEETS = Feature("spreadsheets", ("xlsxwriter",))
APPRISE = Feature("alerts by Apprise", ("apprise",))
PICTURE = Feature("the picture of the weekly digest", ("pillow",))

FEATURES = (HISTORY, QUERY, PAGE, POSTGRES, SHEETS, APPRISE, PICTURE)

MODULES = {"pillow": "PIL"}
"""What a package is imported as, where that is not its name."""


class NotInstalled(ConfigError):
    """A feature is asked for whose packages are not here."""

    def __init__(self, feature: Feature, why: str = "") -> None:
        said = _sentence(feature)
        super().__init__(f"{why}: {said[:1].lower()}{said[1:]}" if why else said, hint=HINT)


def has(feature: Feature) -> bool:
    """Say whether a feature is installed; imports nothing."""
    return not missing(feature)


def missing(feature: Feature) -> list[str]:
    """Return the packages that a feature lacks."""
    return [name for name in feature.packages if find_spec(MODULES.get(name, name)) is None]


def need(*features: Feature, why: str = "") -> None:
    """Raise `NotInstalled`, which says `why` it is needed, for the first of the features that is not installed."""
    for feature in features:
        if not has(feature):
            raise NotInstalled(feature, why)


def explained(error: ModuleNotFoundError) -> ConfigError | None:
    """Return what an import that failed means to the user; None: it was one of our own modules, which is a bug."""
    name = (error.name or "").partition(".")[0]
    if name in {"", "openaq_pipeline", *sys.stdlib_module_names}:
        return None
    for feature in FEATURES:
        if name in {MODULES.get(package, package) for package in feature.packages}:
            return NotInstalled(feature)
    return ConfigError(f"{name} is not installed", hint=HINT)


def without_history(live_days: int) -> str:
    """Return what becomes of rows where there is no history for them."""
    return f"{_sentence(HISTORY)}: rows older than {live_days} days stay in the location files, which grow"


def _sentence(feature: Feature) -> str:
    lacking = missing(feature) or list(feature.packages)
    are = "is" if len(lacking) == 1 else "are"
    return f"For {feature.name} it takes {listed(lacking)}, which {are} not installed"


def listed(names: list[str]) -> str:
    """Return names as a sentence has them: `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
