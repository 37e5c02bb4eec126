"""One file of measurements for others, with their licences beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from openaq_pipeline.errors import ConfigError, PipelineError
from openaq_pipeline.files import USERS_OWN_MODE, replacing, storage_error
from openaq_pipeline.model import Window
from openaq_pipeline.reading import credits_file
from openaq_pipeline.reading.formats import FORMATS
from openaq_pipeline.reading.load import check_parameters, chosen_locations, known_locations, selection
from openaq_pipeline.reading.location import read
from openaq_pipeline.reading.moments import EARLIEST, LATEST
from openaq_pipeline.reading.permission import Permission, permission, refused
from openaq_pipeline.storage import licenses


class MayNotBeHandedOn(PipelineError):
    """Some of the locations may not be redistributed, or nobody knows; `reasons` holds a line for each."""

    def __init__(self, held_back: Sequence[Permission]) -> None:
        self.reasons = tuple(f"location {each.location_id}: {each.reason}" for each in held_back)
        many = "1 location" if len(held_back) == 1 else f"{len(held_back)} locations"
        super().__init__(
            f"The data of {many} may not be redistributed, as far as is known; nothing was written",
            hint="Leave them out with --locations, or export them for your own use with --include-restricted.",
        )


class Exported(msgspec.Struct, frozen=True):
    """What was written: the file, the one with the licences, and how much of it may not be handed on."""

    output: Path
    credits: Path
    rows: int
    locations: int
    restricted: tuple[str, ...]


def export(
    folder: Path,
    form: str,
    output: Path,
    now: datetime,
    *,
    locations: Sequence[int] | None = None,
    parameters: Sequence[str] | None = None,
    window: Window,
    include_restricted: bool = False,
) -> Exported:
    """Write the measurements of a window (start, end] to `output`, a location at a time, and `LICENSES.md` beside it.

    Neither file is there, or changed, before all is written. Raises `MayNotBeHandedOn` where a licence forbids to hand
    data on or is unknown, unless `include_restricted` is set; `ConfigError` for an output in the data folder, for one
    beside a `LICENSES.md` that is no export's, and if no measurement is wanted; `StorageError` for a damaged file.
    """
    target = output.absolute()
    check_output(target, folder)
    ids = chosen_locations(folder, locations)
    permissions = permissions_of(folder, ids, window)
    held_back = refused(permissions)
    if held_back and not include_restricted:
        raise MayNotBeHandedOn(held_back)
    wanted = selection(folder, ids, parameters, window)
    before = credits_file.current(target.parent)
    rows, found = 0, set[str]()
    with replacing(target, mode=USERS_OWN_MODE) as file:
        with FORMATS[form](file) as write:
            for location_id in ids:
                table = read(folder, location_id, wanted)
                if table.num_rows:
                    write(table)
                    rows += table.num_rows
                    found |= set(table.column("parameter").unique().to_pylist())
        check_parameters(folder, ids, wanted, found)
        if not rows:
            raise ConfigError("No measurement is of these locations, parameters and times; nothing was written")
        _write_credits(target, before, permissions, window, now)  # first: no data without their licences
    restricted = tuple(f"location {each.location_id}: {each.reason}" for each in held_back)
    return Exported(target, target.with_name(credits_file.NAME), rows, len(ids), restricted)


def check_output(output: Path, folder: Path) -> None:
    """Raise `ConfigError` for an output that is in the data folder, is a folder, or is in none."""
    if output.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"--output {output} is in the data folder", hint="Name a file outside of it.")
    try:
        beside, taken = output.parent.is_dir(), output.is_dir()
    except OSError as error:
        raise storage_error(error, output) from error
    if taken or output.name == credits_file.NAME:
        raise ConfigError(f"--output {output} is no name for a file of data", hint="Name a file such as data.csv.")
    if not beside:
        raise ConfigError(f"There is no folder {output.parent}", hint="Make it first, or name another --output.")


def permissions_of(folder: Path, ids: Sequence[int], window: Window) -> list[Permission]:
    """Return for each location whether its rows of a window may be handed on."""
    metadata, terms = known_locations(folder), licenses.read(folder)
    return [permission(each, metadata.get(each), terms, window) for each in ids]


def span(window: Window) -> str:
    """Return a window in words."""
    begins = "the beginning" if window.start <= EARLIEST else f"{window.start:%Y-%m-%d %H:%M} UTC"
    ends = "the end" if window.end >= LATEST else f"{window.end:%Y-%m-%d %H:%M} UTC"
    return f"measurements from {begins} to {ends}"


def _write_credits(
    output: Path, before: str | None, permissions: Sequence[Permission], window: Window, now: datetime
) -> None:
    text = credits_file.document(before, output.name, permissions, span(window), now)
    with replacing(output.with_name(credits_file.NAME), mode=USERS_OWN_MODE) as file:
        file.write(text.encode())
