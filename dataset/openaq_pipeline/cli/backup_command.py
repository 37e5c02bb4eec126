"""`backup`: everything in the data folder as one archive, beside a running scheduler."""

from __future__ import annotations

import argparse
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from openaq_pipeline.backup import output
from openaq_pipeline.backup.writing import Written, back_up
from openaq_pipeline.cli import EXIT_FINE
from openaq_pipeline.cli.run_command import apply, stopping
from openaq_pipeline.cli.show import count
from openaq_pipeline.config import load
from openaq_pipeline.wiring import utc_now

EVERY = 1000
"""A line of progress after so many locations, for those who wait."""


def main(namespace: argparse.Namespace) -> int:
    """Write the archive and say what is in it: on stderr, for stdout may be the archive."""
    settings = load(
        config=namespace.config, data_dir=namespace.data_dir, log_level="DEBUG" if namespace.debug else None
    )
    apply(settings, to_file=False)
    target = None if namespace.output == "-" else Path(namespace.output).absolute()
    with stopping() as stop, _opened(target, settings.data_dir) as file:
        done = back_up(settings.data_dir, file.write, utc_now(), check=stop.check, watch=_watch)
    print(summary(done, "stdout" if target is None else str(target)), file=sys.stderr)
    return EXIT_FINE


def _opened(target: Path | None, folder: Path) -> AbstractContextManager[IO[bytes]]:
    return output.stdout() if target is None else output.new_file(target, folder)


def summary(done: Written, where: str) -> str:
    """Return what was written, for people and for `sha256sum`."""
    what = f"{count(done.totals.files, 'file')} of {count(done.locations, 'location')}"
    size = f"{done.totals.bytes / 1e6:,.2f} MB as {done.archive_bytes / 1e6:,.2f} MB"
    return f"{what}, {size}, in {where}\nSHA-256: {done.sha256}"


def _watch(done: int, of: int) -> None:
    if done % EVERY == 0:
        print(f"{done:,} of {of:,} locations", file=sys.stderr)
