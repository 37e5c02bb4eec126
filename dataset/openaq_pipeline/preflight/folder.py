"""The data folder: whether it can be written, is free, and holds what can be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from openaq_pipeline import installed
from openaq_pipeline.errors import LockHeld
from openaq_pipeline.files import replacing
from openaq_pipeline.locks import hold_folder, make_folder, probing
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.log import path_of
from openaq_pipeline.monitoring.log_file import SharedLogFile
from openaq_pipeline.preflight.checks import Finding
from openaq_pipeline.settings import Settings
from openaq_pipeline.startable import check_installed
from openaq_pipeline.storage import selections
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.state import StateFile

NO_LOCATION_HINT = "List location ids under `locations:` in config.yaml; https://explore.openaq.org shows them."


def locations(settings: Settings) -> Iterator[Finding]:
    """See whether anything is selected, and how much that is as far as it is known."""
    number = len(settings.locations)
    if number:
        yield Finding("ok", "1 location is selected" if number == 1 else f"{number} locations are selected")
    elif not settings.selections:
        yield Finding("failed", "no location is selected", NO_LOCATION_HINT)
    known = selections.read(settings.data_dir).selections if settings.selections else {}
    for key in map(str, settings.selections):
        if (found := known.get(key)) is not None:
            one = len(found.locations) == 1
            size = f"{len(found.locations):,} location{'' if one else 's'}, {found.sensors:,} sensors"
            yield Finding("ok", f"{key}: {size}, as of {found.fetched:%Y-%m-%d %H:%M} UTC")
        else:
            yield Finding("ok", f"{key}: not looked up yet; the first run does that, and --dry-run shows it")


def data_folder(settings: Settings) -> Iterator[Finding]:
    """Make the folder if need be, and see whether files in it are replaced as a whole, durably, and can all be read."""
    folder = settings.data_dir
    existed = folder.is_dir()
    make_folder(folder)
    with probing(folder) as probe:
        for content in (b"old", b"new"):
            with replacing(probe) as file:
                file.write(content)
        whole = probe.read_bytes() == b"new"
    made = "" if existed else ", created"
    if whole:
        yield Finding("ok", f"{folder}{made}: files are written, synced and replaced as a whole")
    else:
        yield Finding("failed", f"{folder}: a replaced file still has its old content", "Choose a local disk.")
    check_installed(settings)
    if not installed.has(installed.HISTORY):
        yield Finding("warning", installed.without_history(settings.data.live_days), installed.HINT)


def lock(settings: Settings) -> Iterator[Finding]:
    """See whether another poller works on the folder."""
    try:
        with hold_folder(settings.data_dir):
            yield Finding("ok", "no other process works on the data folder")
    except LockHeld:
        hint = "If that is your scheduler, all is well; a second scheduler or run would end with exit code 3."
        yield Finding("warning", "another process works on the data folder", hint)


def state(settings: Settings) -> Iterator[Finding]:
    """See whether what is remembered between runs can be read; nothing is mended here."""
    now, folder, warnings = datetime.now(UTC), settings.data_dir, list[str | None]()
    for load in (StateFile(folder).load, Metadata(folder).load):
        warnings.append(load(now, repair=False))
    warnings += [history.read(folder).warning, selections.read(folder).warning]
    said = [warning for warning in warnings if warning]
    yield from (Finding("warning", warning, "Nothing to do: the next run mends it.") for warning in said)
    if not said:
        begun = (folder / ".state.json").exists()
        yield Finding("ok", "state, locations and metrics can be read" if begun else "none yet; the first run makes it")


def log_file(settings: Settings) -> Iterator[Finding]:
    """See whether the log can be written, by writing nothing to it."""
    path = path_of(settings)
    try:
        SharedLogFile(path, lambda _: None).write(b"")
    except OSError as error:
        hint = "Mend monitoring.log_file or the permissions; without it the log goes to the console alone."
        yield Finding("warning", f"{path} can't be written: {error.strerror}", hint)
    else:
        yield Finding("ok", f"{path} can be written")
