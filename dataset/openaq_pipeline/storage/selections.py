"""`.selections.json`: which locations each selection of the settings had when OpenAQ was last asked.

A cache: lost, it is asked for anew. But for how many locations were agreed to with --yes, which then is asked again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from openaq_pipeline.bounded import BOOK_BYTES, whole
from openaq_pipeline.errors import FatalError
from openaq_pipeline.files import replacing, set_aside, storage_error
from openaq_pipeline.locks import hold_descriptions
from openaq_pipeline.model import UNREADABLE, Location
from openaq_pipeline.places import Selection
from openaq_pipeline.ports import MetadataStore
from openaq_pipeline.settings import Settings

NAME = ".selections.json"
VERSION = 1
FRESH_FOR = timedelta(hours=24)
"""As long as what is known of a location: both are asked in one go."""


class Resolved(msgspec.Struct, frozen=True):
    """What a selection came to when OpenAQ was asked (`fetched`).

    `parameters` are the ids of the parameters to read, None: all. `sensors` counts the sensors to read. `accepted` is
    how many locations were agreed to with --yes, 0: none were asked about. `held_back`: it has more that were not.
    """

    fetched: datetime
    locations: tuple[int, ...]
    sensors: int
    parameters: tuple[int, ...] | None = None
    accepted: int = 0
    held_back: bool = False

    def is_fresh(self, now: datetime) -> bool:
        """Say whether it was asked within the last day."""
        return timedelta(0) <= now - self.fetched < FRESH_FOR


class Remembered(msgspec.Struct, frozen=True):
    """The selections on file, by what they say; `warning` tells in a sentence what is wrong with the file."""

    selections: dict[str, Resolved] = {}
    warning: str | None = None


class _Version(msgspec.Struct):
    version: int


class _Document(msgspec.Struct):
    version: int
    selections: dict[str, Resolved]


def read(folder: Path, now: datetime | None = None) -> Remembered:
    """Return what is on file; `now` sets a damaged file aside, None only looks.

    Raises `FatalError` for a file that a newer version wrote and `StorageError` for one that the disk refuses.
    """
    path = folder / NAME
    try:
        body = whole(path, BOOK_BYTES)
    except FileNotFoundError:
        return Remembered()
    except msgspec.DecodeError:
        body = b""  # as good as that
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        version = msgspec.json.decode(body, type=_Version).version
        if version > VERSION:
            hint = "Update this program; nothing was changed."
            raise FatalError(f"{path} was written by a newer version of this program", hint=hint)
        return Remembered(_decode(body))
    except UNREADABLE:
        if now is None:
            return Remembered(warning=f"{NAME} is damaged; the next run asks OpenAQ for the selections anew")
        place = set_aside(path, now).name
        return Remembered(warning=f"{NAME} was damaged and set aside as {place}; OpenAQ is asked for the selections")


def write(folder: Path, selections: Mapping[str, Resolved]) -> None:
    """Replace what is on file. Raises `StorageError` when the disk refuses; the file is as before then."""
    body = {key: msgspec.Raw(msgspec.json.encode(found)) for key, found in selections.items()}
    lines = (b" %s: %s" % (msgspec.json.encode(key), bytes(found)) for key, found in body.items())
    with hold_descriptions(folder), replacing(folder / NAME) as file:  # a backfill may resolve at the same time
        file.write(b'{"version": %d, "selections": {\n' % VERSION + b",\n".join(lines) + b"\n}}\n")


def applied(settings: Settings, found: Mapping[str, Resolved]) -> Settings:
    """Return the settings with the locations of their selections, as far as they are resolved, and none left to do.

    A location that an item selects whole is read whole, whatever another one says of its parameters.
    """
    if not settings.selections:
        return settings
    chosen = [found[key] for key in map(str, settings.selections) if key in found]
    whole = set(settings.locations)
    whole.update(itertools.chain.from_iterable(each.locations for each in chosen if each.parameters is None))
    some: dict[int, frozenset[int]] = {}
    for each in chosen:
        parameters = frozenset(each.parameters or ())
        for location_id in () if each.parameters is None else each.locations:
            if location_id not in whole:
                some[location_id] = some[location_id] | parameters if location_id in some else parameters
    ids = itertools.chain(settings.locations, *(each.locations for each in chosen))
    return settings.model_copy(update={"locations": list(dict.fromkeys(ids)), "parameters": some, "selections": ()})


def remembered(settings: Settings) -> Settings:
    """Return the settings with the locations that their selections had last, without asking anybody.

    A selection that was not resolved yet has none. Raises what `read` raises.
    """
    return applied(settings, read(settings.data_dir).selections) if settings.selections else settings


def unresolved(settings: Settings, found: Mapping[str, Resolved]) -> list[Selection]:
    """Return the selections of which nothing is known yet."""
    return [selection for selection in settings.selections if str(selection) not in found]


class Chosen:
    """The known locations with those sensors alone that are to be read; a `MetadataStore`.

    `parameters` names them by location; a location that is not in it is read whole.
    """

    def __init__(self, metadata: MetadataStore, parameters: Mapping[int, frozenset[int]]) -> None:
        self._metadata = metadata
        self._parameters = parameters

    def get(self, location_id: int) -> Location | None:
        """Return what is known of a location, but of its sensors only those that are to be read."""
        known, parameters = self._metadata.get(location_id), self._parameters.get(location_id)
        return known if known is None or parameters is None else trimmed(known, parameters)

    def is_fresh(self, location_id: int, now: datetime) -> bool:
        """Say whether it was asked for within the last day."""
        return self._metadata.is_fresh(location_id, now)

    def put(self, location: Location) -> None:
        """Remember all of a location."""
        self._metadata.put(location)


def trimmed(location: Location, parameters: Iterable[int]) -> Location:
    """Return a location with the sensors of some parameters alone."""
    wanted = frozenset(parameters)
    sensors = tuple(sensor for sensor in location.sensors if sensor.parameters_id in wanted)
    return msgspec.structs.replace(location, sensors=sensors)


def _decode(body: bytes) -> dict[str, Resolved]:
    """Return the selections; raises one of `UNREADABLE`, also for a time without a zone."""
    found = msgspec.json.decode(body, type=_Document).selections
    if any(each.fetched.tzinfo is None for each in found.values()):
        raise msgspec.ValidationError("`fetched` must end in Z or in an offset from UTC")
    return found
