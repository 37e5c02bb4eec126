"""`restore`: a backup into a data folder that has no data, or only a look whether it is whole."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from openaq_pipeline.backup.manifest import About, Totals
from openaq_pipeline.backup.reading import Archive, Nowhere
from openaq_pipeline.backup.restoring import restore
from openaq_pipeline.cli import EXIT_FINE
from openaq_pipeline.cli.run_command import apply, stopping
from openaq_pipeline.cli.show import count, printable
from openaq_pipeline.config import load
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.files import storage_error

STDIN = 0
NAME_WIDTH = 60


def main(namespace: argparse.Namespace) -> int:
    """Restore, or with --check only read; say what it was."""
    settings = load(
        config=namespace.config, data_dir=namespace.data_dir, log_level="DEBUG" if namespace.debug else None
    )
    apply(settings, to_file=False)
    with stopping() as stop, opened(namespace.archive) as archive:
        if namespace.check:
            print(f"{namespace.archive} is whole: {_described(archive.about, archive.read(Nowhere()))}.")
            return EXIT_FINE
        totals = restore(archive, settings.data_dir, check=stop.check)
    if totals is None:
        print(f"A restore that was cut off had brought all of it; it is in {settings.data_dir} now.")
    else:
        print(f"Restored {_described(archive.about, totals)} into {settings.data_dir}.")
    return EXIT_FINE


def _described(about: About, totals: Totals) -> str:
    made = f"of {about.created:%Y-%m-%d %H:%M} UTC, by version {printable(about.program, NAME_WIDTH)}"
    return f"{count(totals.files, 'file')}, {totals.bytes / 1e6:,.2f} MB, {made}"


@contextmanager
def opened(name: str) -> Iterator[Archive]:
    """Open a file, or stdin for `-`; raises `ConfigError` for what can't be opened."""
    if name == "-" and os.isatty(STDIN):
        raise ConfigError("There is no backup on a terminal", hint="Send the file to stdin, or name it.")
    try:
        file = os.fdopen(os.dup(STDIN), "rb") if name == "-" else Path(name).open("rb")  # noqa: SIM115 - see below
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ConfigError(f"There is no file {name}", hint="Name a backup, or - for stdin.") from error
    except OSError as error:
        raise storage_error(error, Path(name)) from error
    try:
        yield Archive(file, "stdin" if name == "-" else name)
    finally:
        with suppress(OSError):  # all that there was to read was read
            file.close()
