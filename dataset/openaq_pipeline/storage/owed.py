"""`.repair/location_{id}.json`: the ranges whose rows a repair has still to fetch again.

Written before a damaged file is touched and taken away when its rows were asked for, so that a repair that was stopped,
or found no way to OpenAQ, is not forgotten: `verify` says so until one has come through.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from openaq_pipeline.bounded import NOTE_BYTES, whole
from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import exists, make_durably, remove_durably, replacing, storage_error
from openaq_pipeline.model import UNREADABLE, Window

VERSION = 1


class _Document(msgspec.Struct):
    version: int
    spans: tuple[Window, ...]


class Owed:
    """What repairs of one data folder still owe; all but reading wants the location's lock held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, location_id: int) -> Path:
        """Return where a location's ranges are."""
        return self._folder / ".repair" / f"location_{int(location_id)}.json"

    def spans(self, location_id: int) -> tuple[Window, ...]:
        """Return the ranges still to be fetched, earliest first, none of which touch; raises `StorageError`."""
        path = self.path(location_id)
        try:
            return _decode(whole(path, NOTE_BYTES))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise storage_error(error, path) from error
        except UNREADABLE as error:
            raise StorageError(f"{path} is damaged") from error

    def add(self, location_id: int, span: Window) -> None:
        """Remember that a range is to be fetched; one that can't be read any more gives way."""
        try:
            known = self.spans(location_id)
        except StorageError as error:
            if not isinstance(error.__cause__, UNREADABLE):
                raise
            known = ()
        self._save(location_id, _joined([*known, span]))

    def settle(self, location_id: int, span: Window) -> None:
        """Forget a range, which was fetched."""
        self._save(location_id, tuple(rest for known in self.spans(location_id) for rest in _without(known, span)))

    def _save(self, location_id: int, spans: tuple[Window, ...]) -> None:
        path = self.path(location_id)
        if not spans:
            if exists(path):
                remove_durably(path)
            return
        try:
            make_durably(path.parent)
        except OSError as error:
            raise storage_error(error, path) from error
        with replacing(path) as file:
            file.write(msgspec.json.encode(_Document(VERSION, spans)) + b"\n")


def _decode(body: bytes) -> tuple[Window, ...]:
    """Return the ranges; raises one of `UNREADABLE`, also for a time without a zone and for another version."""
    found = msgspec.json.decode(body, type=_Document)
    if found.version != VERSION or not all(span.start.tzinfo and span.end.tzinfo for span in found.spans):
        raise msgspec.ValidationError("not of this version, or a time without a zone")
    return found.spans


def _joined(spans: Iterable[Window]) -> tuple[Window, ...]:
    """Return the ranges in order, those that touch or overlap as one."""
    found: list[Window] = []
    for span in sorted(spans, key=lambda span: span.start):
        if found and span.start <= found[-1].end:
            found[-1] = Window(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return tuple(found)


def _without(span: Window, gone: Window) -> list[Window]:
    """Return what is left of a range without another one."""
    if gone.end <= span.start or span.end <= gone.start:
        return [span]
    parts = (Window(span.start, gone.start), Window(gone.end, span.end))
    return [part for part in parts if part.start < part.end]
