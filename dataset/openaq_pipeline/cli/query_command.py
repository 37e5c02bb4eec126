"""`query`: SQL over the measurements on disk."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from openaq_pipeline.cli import show_rows
from openaq_pipeline.cli.validate_command import check_output
from openaq_pipeline.config import load
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.files import USERS_OWN_MODE, replacing

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_ROWS = 40
PIPE_COLUMNS = 160
"""How wide a table is where there is no terminal."""

Print = Callable[["pa.RecordBatchReader", IO[bytes]], None]


def main(namespace: argparse.Namespace) -> int:
    """Answer the query on stdout, or in the file named; nothing is shown of an answer that failed half way."""
    settings = load(config=namespace.config, data_dir=namespace.data_dir)
    folder = settings.data_dir
    _check_data(folder)
    if namespace.output is None:
        with tempfile.TemporaryFile() as file:
            _answer(folder, namespace.sql, namespace.format, file)
            file.seek(0)
            sys.stdout.flush()
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return 0
    _check_place(namespace.output, folder)
    with replacing(namespace.output.absolute(), mode=USERS_OWN_MODE) as file:
        _answer(folder, namespace.sql, namespace.format, file)
    return 0


def _answer(folder: Path, sql: str, form: str, file: IO[bytes]) -> None:
    from openaq_pipeline.reading.query import run  # noqa: PLC0415 - DuckDB and pyarrow cost half a second

    def write(rows: pa.RecordBatchReader) -> None:
        file.seek(0)
        file.truncate()
        {"table": _table, "csv": _csv, "json": _json}[form](rows, file)

    run(folder, sql, write)


def _table(rows: pa.RecordBatchReader, file: IO[bytes]) -> None:
    """Write the first rows for people, and how many there are."""
    total, first = 0, list[Any]()
    for batch in rows:
        total += batch.num_rows
        first += zip(*(column.to_pylist() for column in batch.slice(0, SHOWN_ROWS - len(first)).columns), strict=True)
    width = shutil.get_terminal_size().columns if file_is_for_terminal() else PIPE_COLUMNS
    text = show_rows.rows(rows.schema.names, first, total, width)
    file.write(f"{text}\n".encode(sys.stdout.encoding or "utf-8", errors="backslashreplace"))


def file_is_for_terminal() -> bool:
    """Say whether a person sees stdout on a terminal."""
    return sys.stdout.isatty()


def _csv(rows: pa.RecordBatchReader, file: IO[bytes]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - see above
    import pyarrow.csv  # noqa: PLC0415

    from openaq_pipeline.reading.flat import flat  # noqa: PLC0415

    with pa.csv.CSVWriter(file, flat(rows.schema.empty_table()).schema) as writer:
        for batch in rows:
            writer.write_table(flat(pa.Table.from_batches([batch])))


def _json(rows: pa.RecordBatchReader, file: IO[bytes]) -> None:
    """Write an array, one object a line."""
    from openaq_pipeline.reading.flat import to_json  # noqa: PLC0415 - see above

    between = b"[\n"
    for batch in rows:
        if batch.num_rows:
            file.write(between + b",\n".join(map(to_json, batch.to_pylist())))
            between = b",\n"
    file.write(b"[]\n" if between == b"[\n" else b"\n]\n")


def _check_data(folder: Path) -> None:
    """Raise `ConfigError` if there is nothing to ask about."""
    files = [folder / "locations.json", folder / "metrics.json", *folder.glob("location_*.json")]
    if not any(path.exists() for path in files) and not (folder / "history").is_dir():
        raise ConfigError(
            f"There are no data in {folder} yet", hint="Run the main job first, or name another --data-dir."
        )


def _check_place(output: Path, folder: Path) -> None:
    check_output(output, (), folder)
    if output.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"--output {output} is in the data folder", hint="Name a file outside of it.")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"There is no folder {output.absolute().parent}", hint="Make it first.")
