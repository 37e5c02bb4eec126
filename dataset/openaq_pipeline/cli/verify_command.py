"""`verify`: read every byte of the data folder, name what is wrong, and mend it if asked to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from openaq_pipeline.cli import EXIT_FELL_SHORT, EXIT_FINE
from openaq_pipeline.cli.run_command import apply, print_json, stopping
from openaq_pipeline.cli.show import count, printable
from openaq_pipeline.config import load
from openaq_pipeline.locks import finish_restore
from openaq_pipeline.redact import clean
from openaq_pipeline.repair import Mended, repair
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage.checks.findings import MEND
from openaq_pipeline.verify import FileFinding, Verified, verify

LINE_WIDTH = 600
EVERY = 1000
"""A line of progress after so many locations, for those who wait."""


def main(namespace: argparse.Namespace) -> int:
    """Look, repair if asked to, and tell; return 0 if all is well by then, else 1."""
    settings = load(
        config=namespace.config,
        data_dir=namespace.data_dir,
        base_url=namespace.base_url,
        log_level="DEBUG" if namespace.debug else None,
    )
    apply(settings, to_file=namespace.repair and settings.data_dir.is_dir())
    say = _to_stderr if namespace.json else print
    if namespace.repair:
        finish_restore(settings.data_dir)  # first, or what is still to come would be taken for lost
    found = verify(settings.data_dir, namespace.locations or (), watch=_watch)
    repairs: tuple[Mended, ...] = ()
    after = found
    if namespace.repair and (not found.sound or any(finding.rule == "left_behind" for finding in found.findings)):
        if not namespace.json:
            print("\n".join(lines(found)))
        repairs, after = _repaired(settings, found, namespace, say)
    sound = after.sound and all(mended.complete for mended in repairs)
    if namespace.json:
        print_json(_json(found, after, repairs, sound=sound, repaired=namespace.repair))
    else:
        print("\n".join([*lines(after), summary(after, sound=sound)]))
    return EXIT_FINE if sound else EXIT_FELL_SHORT


def lines(found: Verified) -> list[str]:
    """Return a line for each finding, errors and what is merely odd alike."""
    return [_line(finding) for finding in found.findings]


def _line(finding: FileFinding) -> str:
    hint = "" if finding.hint in {"", MEND} else f". {finding.hint}"  # that one is said once, at the end
    text = f"{finding.file}: {finding.severity}: {finding.message}{hint}"
    return printable(text, LINE_WIDTH)


def summary(found: Verified, *, sound: bool) -> str:
    """Return the whole in a sentence or two, for people."""
    looked = f"Checked {count(len(found.files), 'file')}, {count(found.rows, 'row')}"
    if sound:
        return f"{looked}: all well."
    errors = [finding for finding in found.findings if finding.severity == "error"]
    if not errors:
        return f"{looked}: nothing is wrong with them, but not everything could be had again."
    bad = count(len({finding.file for finding in errors}), "file")
    mend = f" {MEND}" if any(finding.hint == MEND for finding in errors) else ""
    return f"{looked}: something is wrong with {bad}.{mend}"


def _repaired(
    settings: Settings, found: Verified, namespace: argparse.Namespace, say: Callable[[str], None]
) -> tuple[tuple[Mended, ...], Verified]:
    """Mend what was found; return what was done, and a second look."""

    def tell(mended: Mended) -> None:
        mark = "repaired" if mended.complete else "NOT REPAIRED"
        say(printable(clean(f"{mended.file}: {mark}: {mended.what}"), LINE_WIDTH))

    with stopping() as stop:
        repairs = repair(settings, found, tell=tell, stop=stop)
    return repairs, verify(settings.data_dir, namespace.locations or ())


def _watch(done: int, of: int) -> None:
    if done % EVERY == 0:
        _to_stderr(f"{done:,} of {of:,} locations looked at")


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def _json(
    found: Verified, after: Verified, repairs: tuple[Mended, ...], *, sound: bool, repaired: bool
) -> dict[str, object]:
    """Return what is so at the end; after a repair also what was so before, and what was done."""
    result: dict[str, object] = {
        "files": [{"file": file.file, "rows": file.rows} for file in after.files],
        "rows": after.rows,
        "sound": sound,
        "findings": after.findings,
    }
    return result | {"before": found.findings, "repairs": repairs} if repaired else result
