"""What the machine brings: installed packages, time zones, free disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from openaq_pipeline.installed import FEATURES, HINT, has, listed, missing
from openaq_pipeline.preflight.checks import Finding

if TYPE_CHECKING:
    from openaq_pipeline.settings import Settings

DISTRIBUTION = "openaq-pipeline"
REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements.txt"
REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*([^;#]*)")
INSTALL = "Run: pip install -r requirements.txt"

TIME_ZONES = ("UTC", "Asia/Kathmandu", "America/Mexico_City")

LEAST_FREE_BYTES = 1_000_000_000
LOOK_AHEAD_DAYS = 90
ROWS_PER_SENSOR_AND_DAY = 24
BYTES_PER_ROW = 350
"""A line of a location file, rounded up."""

SENSORS_PER_LOCATION = 6
"""Taken for a location whose sensors are not known yet."""


def dependencies() -> Iterator[Finding]:
    """Compare what is installed with what is asked for."""
    lines = _requirements()
    if lines is None:
        yield Finding("warning", "there is no list of dependencies here to compare with", "Install from a checkout.")
        return
    lacking = [feature for feature in FEATURES if not has(feature)]
    without = {name for feature in lacking for name in missing(feature)}
    lines = [line for line in lines if _name(line) not in without]
    problems = [problem for line in lines if (problem := requirement_problem(line))]
    yield from (Finding("failed", problem, INSTALL) for problem in problems)
    if not problems:
        yield Finding("ok", f"{len(lines)} packages, all in the versions asked for")
    if lacking:
        said = f"not installed: {listed(sorted(without))}; it goes without {listed([each.name for each in lacking])}"
        yield Finding("warning", said, f"Nothing to do if that is meant. {HINT}")


def _name(line: str) -> str:
    """Return the package that a requirement is about."""
    match = REQUIREMENT.match(line)
    return match[1].lower() if match else line


def requirement_problem(line: str) -> str | None:
    """Return what is wrong with one requirement such as `requests>=2.32.4,<3`; None: it is fulfilled."""
    match = REQUIREMENT.match(line)
    if match is None:
        return None
    name, wanted = match[1], match[2].strip()
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is not installed"
    clauses = filter(None, (clause.strip() for clause in wanted.split(",")))
    if all(fulfils(version, clause) for clause in clauses):
        return None
    return f"{name} {version} is installed, {wanted} is asked for"


def fulfils(version: str, clause: str) -> bool:
    """Say whether a version fulfils one clause; clauses other than `>=`, `>`, `<=`, `<`, `==` are left to pip."""
    match = re.fullmatch(r"(>=|<=|==|>|<)\s*([0-9][0-9.]*)", clause)
    if match is None:
        return True
    left, right = _numbers(version), _numbers(match[2])
    width = max(len(left), len(right))
    left, right = left + (0,) * (width - len(left)), right + (0,) * (width - len(right))
    order = (left > right) - (left < right)
    return order in {">=": (0, 1), "<=": (-1, 0), "==": (0,), ">": (1,), "<": (-1,)}[match[1]]


def time_zones() -> Iterator[Finding]:
    """See whether the zones of stations can be read: local times depend on them."""
    try:
        for name in TIME_ZONES:
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        yield Finding("failed", "the time zone data are missing", "Run: pip install tzdata")
    else:
        yield Finding("ok", "the time zone data are there")


def disk(settings: Settings) -> Iterator[Finding]:
    """Compare the free space with what three months will need."""
    from openaq_pipeline.storage.metadata import Metadata  # noqa: PLC0415 - needs msgspec, which may be missing
    from openaq_pipeline.storage.selections import Chosen, remembered  # noqa: PLC0415

    folder = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.is_dir())
    settings = remembered(settings)
    metadata = Metadata(settings.data_dir)
    metadata.load(datetime.now(UTC), repair=False)
    known = Chosen(metadata, settings.parameters)
    sensors = sum(
        len(found.sensors) if (found := known.get(key)) else SENSORS_PER_LOCATION for key in settings.locations
    )
    need = needed_bytes(sensors)
    free = shutil.disk_usage(folder).free
    said = f"{free / 1e9:.1f} GB free; {LOOK_AHEAD_DAYS} days of {sensors} sensors need about {need / 1e9:.2f} GB"
    if free < max(LEAST_FREE_BYTES, need):
        yield Finding("warning", said, "Free some space or choose another data folder; on a full disk nothing is lost.")
    else:
        yield Finding("ok", said)


def needed_bytes(sensors: int) -> int:
    """Return what so many hourly sensors add in `LOOK_AHEAD_DAYS`; twice, because files are replaced by new ones."""
    return 2 * sensors * ROWS_PER_SENSOR_AND_DAY * LOOK_AHEAD_DAYS * BYTES_PER_ROW


def _requirements() -> list[str] | None:
    """Return the requirements of the checkout, else those of the installed package; None without either."""
    if REQUIREMENTS.is_file():
        lines = (line.split("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line and not line.startswith("-")]
    try:
        return [line for line in metadata.requires(DISTRIBUTION) or [] if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a release, without what follows them (`rc1`, `.post2`)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
