"""`LICENSES.md`: what stands beside exported data, so that nobody hands them on without their licences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from openaq_pipeline.bounded import NOTE_BYTES, whole
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.files import storage_error
from openaq_pipeline.model import UNREADABLE, License, LicenseTerms
from openaq_pipeline.reading.permission import Permission, refused

NAME = "LICENSES.md"
HEADING = "# Licences and attribution"
_PART = re.compile(r"^(?=## Data in `)", re.MULTILINE)

OPENAQ = """\
All measurements come from OpenAQ (https://openaq.org), which gathers them from the sources named here. OpenAQ asks to
be named, and each source's own licence holds for its data: say that you got the data from OpenAQ, and name the sources.
Times are UTC, and the end of the period that a value was measured over."""


def document(before: str | None, output: str, permissions: Sequence[Permission], span: str, now: datetime) -> str:
    """Return the file's text with the part about the export `output` in it; parts about other exports beside it stay.

    `before` is the text of the file that is there, None without one.
    """
    own = f"## Data in `{output}`\n"
    others = [part.strip() for part in _PART.split(before or "")[1:] if not part.startswith(own)]
    return "\n\n".join([HEADING, OPENAQ, *others, "\n".join([own, *_part(permissions, span, now)])]).strip() + "\n"


def current(folder: Path) -> str | None:
    """Return the text of a folder's file, None without one; raises `ConfigError` for one that is somebody else's."""
    path = folder / NAME
    try:
        text = whole(path, NOTE_BYTES).decode()
    except FileNotFoundError:
        return None
    except UNREADABLE:
        text = ""
    except OSError as error:
        raise storage_error(error, path) from error
    if not text.startswith(HEADING):
        raise ConfigError(f"{path} is not from an export and would be overwritten", hint="Name another folder.")
    return text


def _part(permissions: Sequence[Permission], span: str, now: datetime) -> list[str]:
    lines = [f"Exported {now:%Y-%m-%d %H:%M} UTC: {span}.", ""]
    if held_back := refused(permissions):
        lines += ["**These data may not be redistributed as they are.** No permission is known for:", ""]
        lines += [f"* {_name(each)}: {each.reason}" for each in held_back] + [""]
    for each in permissions:
        lines += [f"### {_name(each)}", ""]
        lines += [line for licence, terms in each.licenses for line in _licence(licence, terms)]
        if not each.licenses:
            lines.append("* Licence: **unknown**")
        if each.location and each.location.provider:
            lines.append(
                f"* Provider: {_text(each.location.provider)}; owner: {_text(each.location.owner or 'not named')}"
            )
        lines.append("")
    return lines


def _name(each: Permission) -> str:
    name = each.location.name if each.location else None
    return f"Location {each.location_id}" + (f" ({_text(name)})" if name else "")


def _licence(licence: License, terms: LicenseTerms | None) -> list[str]:
    dates = f"from {licence.date_from or 'the beginning'} to {licence.date_to or 'now'}"
    credit = _text(licence.attribution_name or "nobody is named")
    url = f", {_text(licence.attribution_url)}" if licence.attribution_url else ""
    return [
        f"* Licence: {_text(licence.name)} (OpenAQ's number {licence.id}), {dates}",
        f"  * Attribution: {credit}{url}",
        f"  * Terms: {_terms(terms)}",
    ]


def _terms(terms: LicenseTerms | None) -> str:
    if terms is None:
        return "not known"
    said = (
        ("redistribution", terms.redistribution_allowed, "allowed", "not allowed"),
        ("commercial use", terms.commercial_use_allowed, "allowed", "not allowed"),
        ("modification", terms.modification_allowed, "allowed", "not allowed"),
        ("attribution", terms.attribution_required, "required", "not required"),
        ("share alike", terms.share_alike_required, "required", "not required"),
    )
    words = [f"{what} {yes if given else 'not said' if given is None else no}" for what, given, yes, no in said]
    return "; ".join(words) + (f"; {_text(terms.source_url)}" if terms.source_url else "")


def _text(given: str) -> str:
    """Return a text from outside so that it is text in Markdown too, and one line."""
    line = " ".join("".join(char if char.isprintable() else " " for char in given).split())
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", line)
