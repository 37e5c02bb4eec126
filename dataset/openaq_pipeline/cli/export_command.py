"""`export`: the measurements on disk as one file for others, with their licences beside it."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from openaq_pipeline.cli.show import count, printable
from openaq_pipeline.cli.values import range_end
from openaq_pipeline.config import load
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.model import Window


def main(namespace: argparse.Namespace) -> int:
    """Write the file the flags ask for; return 1 if its data may not be redistributed."""
    settings = load(config=namespace.config, data_dir=namespace.data_dir)
    from openaq_pipeline.reading.export import MayNotBeHandedOn, export  # noqa: PLC0415 - pyarrow costs a third of a second
    from openaq_pipeline.reading.folder import existing  # noqa: PLC0415 - see above

    try:
        done = export(
            existing(settings.data_dir),
            namespace.format,
            namespace.output,
            datetime.now(UTC),
            locations=namespace.locations,
            parameters=namespace.parameters,
            window=_window(namespace),
            include_restricted=namespace.include_restricted,
        )
    except MayNotBeHandedOn as error:
        for reason in error.reasons:
            print(f"  - {printable(reason, 400)}", file=sys.stderr)
        raise
    print(f"{count(done.rows, 'row')} of {count(done.locations, 'location')} in {done.output}")
    print(f"Licences and whom to name: {done.credits}")
    if done.restricted:
        print("These data may not be redistributed, as far as is known:")
        for reason in done.restricted:
            print(f"  - {printable(reason, 400)}")
    return 0


def _window(namespace: argparse.Namespace) -> Window:
    from openaq_pipeline.reading.moments import EARLIEST, LATEST  # noqa: PLC0415 - see above

    start = namespace.date_from[0] if namespace.date_from else EARLIEST
    end = range_end(namespace.date_to) if namespace.date_to else LATEST
    if end <= start:
        raise ConfigError("--date-to is not after --date-from")
    return Window(start, end)
