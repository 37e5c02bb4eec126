"""Whether the files of a data folder are what was written: every byte is read, and nothing is changed.

It takes no lock, and may run beside everything else. What it finds, `repair` mends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from openaq_pipeline.errors import ConfigError, FatalError, StorageError
from openaq_pipeline.files import exists
from openaq_pipeline.model import LocationState
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.quality.rules import RULES
from openaq_pipeline.reports import Finding
from openaq_pipeline.storage import licenses, selections
from openaq_pipeline.storage.checks import layout, notes, remembered
from openaq_pipeline.storage.checks.findings import damaged, newer, of_storage
from openaq_pipeline.storage.checks.location import Checked, look
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.state import StateFile
from openaq_pipeline.wiring import utc_now

STATE, METADATA, METRICS, ALERTS = ".state.json", "locations.json", history.NAME, ".alerts.json"
LICENSES, SELECTIONS = licenses.NAME, selections.NAME


class FileFinding(Finding, frozen=True, kw_only=True):
    """A finding with the path of its file in the data folder."""

    file: str


class Verified(msgspec.Struct, frozen=True):
    """What was looked at. `sound`: nothing is wrong; what is odd but no error is among the findings too.

    `ailing` are the locations of which something is wrong.
    """

    files: tuple[Checked, ...]
    ailing: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """Return how many rows were read."""
        return sum(file.rows for file in self.files)

    @property
    def findings(self) -> tuple[FileFinding, ...]:
        """Return all findings with their files."""
        return tuple(
            FileFinding(*msgspec.structs.astuple(finding), file=file.file)
            for file in self.files
            for finding in file.findings
        )

    @property
    def sound(self) -> bool:
        """Say whether no file has an error."""
        return not any(finding.severity == "error" for finding in self.findings)


def verify(
    folder: Path,
    locations: Collection[int] = (),
    *,
    clock: Callable[[], datetime] = utc_now,
    watch: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verified:
    """Return what is found in a data folder, or only of some locations in it.

    `watch` hears after each location how many are done, of how many. Raises `ConfigError` if there is nothing to look
    at, `StorageError` if the folder can't be listed.
    """
    # The state first: the data that it stands on are older than it, so they are there whatever a run does meanwhile.
    state, metadata = StateFile(folder), Metadata(folder)
    whole = [*_state(state, clock()), *_one(METADATA, folder, notes.locations(metadata, clock()))]
    chosen = _chosen(folder, locations, set(state.locations()))
    files = [] if locations else [*whole, *_others(folder)]
    ailing = []
    for done, location_id in enumerate(chosen, start=1):
        found = list(_location(folder, location_id, state, metadata, clock))
        if not Verified(tuple(found)).sound:
            ailing.append(location_id)
        files += found
        watch(done, len(chosen))
    if not locations:
        files += [_named(folder, path, finding) for path, finding in layout.odd_names(folder)]
    return Verified(_together(files), tuple(ailing))


def _chosen(folder: Path, locations: Collection[int], remembered: set[int]) -> list[int]:
    """Return the locations to look at, by id."""
    there = layout.location_ids(folder) | remembered
    if not locations:
        if not there and not exists(folder / METADATA):
            raise ConfigError(
                f"There are no data in {folder}", hint="Run the main job first, or name another --data-dir."
            )
        return sorted(there)
    if missing := set(locations) - there:
        named = ", ".join(map(str, sorted(missing)))
        raise ConfigError(f"There are no data of location {named} in {folder}", hint="Look for a slip in the id.")
    return sorted(set(locations))


def _location(
    folder: Path, location_id: int, state: StateFile, metadata: Metadata, clock: Callable[[], datetime]
) -> Iterator[Checked]:
    """Yield the files of a location, and the state where it says of the location what is not so."""
    found = look(folder, location_id, RULES, clock())
    yield from found.checked
    remembers, known = state.get(location_id), metadata.get(location_id)
    sensors = None if known is None else {sensor.id for sensor in known.sensors}
    problems = state_findings(folder, location_id, remembers, found.latest, clock(), sensors=sensors)
    if problems:
        yield Checked(STATE, 0, problems)


def state_findings(
    folder: Path,
    location_id: int,
    state: LocationState,
    latest: Mapping[int, datetime] | None,
    now: datetime,
    *,
    sensors: Collection[int] | None = None,
) -> tuple[Finding, ...]:
    """Return what the state says of a location that is not so."""
    mark = LocationFiles(folder).mark(location_id)
    return tuple(remembered.look(location_id, state, latest=latest, known=sensors, mark=mark, now=now))


def _state(state: StateFile, now: datetime) -> Iterator[Checked]:
    try:
        said = state.load(now, repair=False)
        problem = damaged("it can't be read as what it should be") if said else None
    except FatalError:
        problem = newer()
    except StorageError as error:
        problem = of_storage(error)
    if problem or state.locations():
        yield Checked(STATE, 0, (problem,) if problem else ())


def _others(folder: Path) -> Iterator[Checked]:
    """Yield the other files that belong to no location."""
    yield from _one(LICENSES, folder, notes.terms(folder))
    yield from _one(METRICS, folder, _metrics(folder))
    yield from _one(ALERTS, folder, _alerts(folder))
    yield from _one(SELECTIONS, folder, _selections(folder))


def _metrics(folder: Path) -> Finding | None:
    try:
        said = history.read(folder).warning
    except StorageError as error:
        return of_storage(error)
    return damaged("it can't be read as what it should be") if said else None


def _alerts(folder: Path) -> Finding | None:
    try:
        bad = AlertFile(folder).is_damaged()
    except StorageError as error:
        return of_storage(error)
    return damaged("it can't be read as what it should be") if bad else None


def _selections(folder: Path) -> Finding | None:
    try:
        said = selections.read(folder).warning
    except FatalError:
        return newer()
    except StorageError as error:
        return of_storage(error)
    return damaged("it can't be read as what it should be") if said else None


def _one(name: str, folder: Path, problem: Finding | None) -> Iterator[Checked]:
    if problem is not None:
        yield Checked(name, 0, (problem,))
    elif exists(folder / name):
        yield Checked(name)


def _named(folder: Path, path: Path, finding: Finding) -> Checked:
    return Checked(path.relative_to(folder).as_posix(), 0, (finding,))


def _together(files: list[Checked]) -> tuple[Checked, ...]:
    """Return each file once, with all that was found of it."""
    found: dict[str, Checked] = {}
    for file in files:
        known = found.get(file.file)
        found[file.file] = file if known is None else Checked(file.file, known.rows, known.findings + file.findings)
    return tuple(found.values())
