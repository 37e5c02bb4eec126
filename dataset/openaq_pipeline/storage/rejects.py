"""`rejects/location_{id}.jsonl`: rows that are no measurements, kept with the reason, each once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from openaq_pipeline.bounded import ROWS_BYTES, whole
from openaq_pipeline.files import make_durably, replacing, storage_error
from openaq_pipeline.model import UNREADABLE, Reject

log = logging.getLogger(__name__)

FULL_BYTES = 64 << 20
"""A server that sends nothing but ever new nonsense must not fill the disk: 100,000 such rows are enough to see why."""


class Rejects:
    """The rejected rows of one data folder; `add` wants the location's lock held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "rejects"

    def path(self, location_id: int) -> Path:
        """Return where a location's rejected rows are."""
        return self._folder / f"location_{int(location_id)}.jsonl"

    def add(self, location_id: int, rejects: Iterable[Reject]) -> None:
        """Append what is not there yet, as long as there is room: a broken row comes back with every look-back."""
        path = self.path(location_id)
        try:
            make_durably(self._folder)
            if path.exists() and path.stat().st_size > FULL_BYTES:
                log.warning("%s is full, further rows are not added: look at it, and move it away", path)
                return
            old = whole(path, ROWS_BYTES) if path.exists() else b""
        except OSError as error:
            raise storage_error(error, path) from error
        known = {_identity(line) for line in old.splitlines()}
        lines: list[bytes] = []
        for reject in rejects:
            line = msgspec.json.encode(reject)
            if (identity := _identity(line)) not in known:
                known.add(identity)
                lines.append(line + b"\n")
        if lines:
            with replacing(path) as file:
                file.write(old if not old or old.endswith(b"\n") else old + b"\n")
                file.writelines(lines)


def _identity(line: bytes) -> object:
    """Return what makes a rejected row the same: everything but when it was seen."""
    try:
        reject = msgspec.json.decode(line, type=Reject)
    except UNREADABLE:
        return line
    return (reject.sensors_id, reject.reason, reject.row)
