"""`preflight`: a line for each check, with what to do; runs to its end whatever fails."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from openaq_pipeline.preflight import checks
from openaq_pipeline.preflight.checks import Check
from openaq_pipeline.redact import clean

if TYPE_CHECKING:
    from openaq_pipeline.settings import Settings

WIDTH = 1000
NO_SETTINGS, SOMETHING_FAILED, FINE = 2, 1, 0


def main(namespace: argparse.Namespace) -> int:
    """Check everything; return 0 if nothing failed, 1 if something did, 2 if the configuration can't be read."""
    settings, found = checks.configuration(lambda: _load(namespace))
    clean = _cleaner(settings)
    done: list[Check] = []
    for check in _all(settings, found):
        done.append(replace(check, message=clean(check.message), hint=clean(check.hint)))
        if not namespace.json:
            print(line(done[-1]), flush=True)
    failed = sum(check.status == "failed" for check in done)
    if namespace.json:
        document = {"passed": not failed, "checks": [asdict(check) for check in done]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(_verdict(done, failed))
    if settings is None:
        return NO_SETTINGS
    return SOMETHING_FAILED if failed else FINE


def line(check: Check) -> str:
    """Return a check as people read it: how it went, what it is about, what is, and what to do."""
    said = f"{check.message.rstrip('.')}. {check.hint}" if check.hint else check.message
    return f"{check.status:<8} {check.name:<14} {_printable(said)[:WIDTH]}"


def _printable(text: str) -> str:
    """Return text that moves no cursor. Not `show.printable`: with that would come msgspec, which may be missing."""
    return "".join(char if char.isprintable() else " " for char in text)


def _all(settings: Settings | None, configuration: list[Check]) -> Iterator[Check]:
    yield from checks.without_settings()
    yield from configuration
    if settings is not None:
        yield from checks.with_settings(settings)


def _load(namespace: argparse.Namespace) -> Settings:
    from openaq_pipeline.config import load  # noqa: PLC0415 - pydantic or PyYAML may be missing

    return load(config=namespace.config, data_dir=namespace.data_dir)


def _cleaner(settings: Settings | None) -> Callable[[str], str]:
    """Return what takes the secrets out of a text; without settings there is no secret to know of."""
    if settings is None:
        return str
    from openaq_pipeline.monitoring.log import set_up  # noqa: PLC0415 - needs what settings need

    set_up(settings, to_file=False)
    logging.getLogger().setLevel(logging.ERROR)  # what checks log, they also find
    return clean


def _verdict(done: list[Check], failed: int) -> str:
    warnings = sum(check.status == "warning" for check in done)
    if failed:
        return f"NOT READY: {failed} of {len(done)} checks failed."
    return f"Ready, with {warnings} of {len(done)} checks to look at." if warnings else "Ready."
