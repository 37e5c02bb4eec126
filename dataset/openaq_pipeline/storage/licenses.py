"""`licenses.json`: what each licence that a location names allows and asks for, as OpenAQ says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from openaq_pipeline.bounded import NOTE_BYTES, whole
from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import replacing, set_aside, storage_error
from openaq_pipeline.model import UNREADABLE, LicenseTerms, Location

NAME = "licenses.json"
ASK_AGAIN = timedelta(days=1)
"""A licence that OpenAQ's list does not have is not looked for on every run."""

_decode = msgspec.json.Decoder(list[LicenseTerms]).decode


def read(folder: Path) -> dict[int, LicenseTerms]:
    """Return the terms on file by the licence's id; empty without a file. Raises `StorageError` for a damaged one."""
    path = folder / NAME
    try:
        return {terms.id: terms for terms in _checked(whole(path, NOTE_BYTES))}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise storage_error(error, path) from error
    except UNREADABLE as error:
        raise StorageError(f"{path} is damaged", hint="The next run asks OpenAQ for the licences anew.") from error


def top_up(
    folder: Path, locations: Iterable[Location], ask: Callable[[], list[LicenseTerms]], now: datetime
) -> str | None:
    """Ask for the licences if a location names one that is not on file; return what was done about a damaged file.

    `ask` costs one request and is called at most once a day for licences that OpenAQ's list does not have; its errors
    are the caller's. Terms on file that OpenAQ lists no more stay. Wants the data folder's lock.
    """
    warning = None
    try:
        known = read(folder)
    except StorageError as error:
        if not isinstance(error.__cause__, UNREADABLE):
            raise
        warning = f"{NAME} was damaged and set aside as {set_aside(folder / NAME, now).name}; it is asked for anew"
        known = {}
    named = {licence.id for location in locations for licence in location.licenses}
    asked = max((terms.fetched for terms in known.values()), default=None)
    if named <= known.keys() or (asked is not None and timedelta(0) <= now - asked < ASK_AGAIN):
        return warning
    known |= {terms.id: terms for terms in ask()}
    with replacing(folder / NAME) as file:
        lines = [msgspec.json.encode(known[key]) for key in sorted(known)]
        file.write(b"[\n" + b",\n".join(lines) + b"\n]\n")
    return warning


def _checked(body: bytes) -> list[LicenseTerms]:
    """Return the terms of a file; raises one of `UNREADABLE`, also for a time without a zone."""
    found = _decode(body)
    if any(terms.fetched.tzinfo is None for terms in found):
        raise msgspec.ValidationError("`fetched` must end in Z or in an offset from UTC")
    return found
