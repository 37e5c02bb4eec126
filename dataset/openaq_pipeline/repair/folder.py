"""Mending what belongs to no single location: set aside what is asked or written anew, remove half-written files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from openaq_pipeline import files, locks
from openaq_pipeline.errors import LockHeld, PipelineError
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.repair.mended import Mended
from openaq_pipeline.verify import ALERTS, LICENSES, METADATA, METRICS, SELECTIONS, STATE, Verified

THEN = {
    STATE: "the next run rebuilds it from the data",
    METADATA: "the next run asks OpenAQ for it anew",
    LICENSES: "the next run asks OpenAQ for it anew",
    SELECTIONS: "the next run asks OpenAQ for it anew",
    METRICS: "the history of runs begins anew",
}
"""What comes of a file that is set aside; all of these are a poller's."""

_LOCATION = re.compile(r"location(?:_id=|_)([1-9][0-9]{0,9})", re.ASCII)


def mend(folder: Path, found: Verified, now: datetime) -> Iterator[Mended]:
    """Mend the files that belong to no location, and remove what killed writers left; yield what was done."""
    bad = {finding.file for finding in found.findings if finding.rule == "damaged_file"}
    if ALERTS in bad:
        AlertFile(folder).change(now, lambda book: book)
        yield Mended(ALERTS, f"set aside as {ALERTS}.damaged-…; a new one begins")
    for name, then in THEN.items():
        if name in bad:
            yield _set_aside(folder, name, then, now)
    for finding in found.findings:
        if finding.rule == "left_behind":
            yield from _remove(folder, finding.file)


def _set_aside(folder: Path, name: str, then: str, now: datetime) -> Mended:
    try:
        with locks.hold_folder(folder):
            return Mended(name, f"set aside as {files.set_aside(folder / name, now).name}; {then}")
    except LockHeld:
        return Mended(name, "a run is at work on this folder; the next one sets it aside itself", complete=False)
    except PipelineError as error:
        return Mended(name, f"it can't be set aside: {error.advice}", complete=False)


def _remove(folder: Path, name: str) -> Iterator[Mended]:
    """Remove half a file under the lock that its writer would hold; while a run is at work it may be that one's."""
    path = folder / name
    try:
        with _held(folder, name):
            if files.exists(path):
                files.remove_durably(path)
                yield Mended(name, "removed; it was never finished")
    except LockHeld:
        return
    except PipelineError as error:
        yield Mended(name, f"it can't be removed: {error.advice}", complete=False)
    except OSError as error:
        yield Mended(name, f"it can't be removed: {files.storage_error(error, path).advice}", complete=False)


def _held(folder: Path, name: str) -> AbstractContextManager[object]:
    """Return what the writer of half a file would hold: a start tries the folder out before it has the lock of it."""
    if location := _LOCATION.search(name):
        return locks.hold_location(folder, int(location[1]))
    if name == files.temporary_of(folder / locks.PROBE).name:
        return locks.probing(folder)
    return locks.hold_folder(folder)
