"""The files as this sink reads them: by part, each with its mark, and only the rows that count."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from openaq_pipeline.bounded import check_is_file, lines_of
from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import storage_error
from openaq_pipeline.locks import hold_location
from openaq_pipeline.model import UNREADABLE, FileMark, Measurement
from openaq_pipeline.storage import sealed
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.postgres.marks import LIVE, Mark
from openaq_pipeline.storage.postgres.text import BLOCK_ROWS, Block, block_of_batch, blocks_of_rows
from openaq_pipeline.storage.salvage import decode_row

if TYPE_CHECKING:
    import pyarrow as pa

BEGINNING = datetime.min.replace(tzinfo=UTC)
FILE_NAME = "measurements.parquet"
LARGEST_ID = 2**31 - 1
"""As OpenAQ has them; a file of another number is none of ours."""

SCHEMA_VERSION = 1
VERSION_KEY = b"openaq_pipeline.schema_version"


def location_ids(folder: Path) -> list[int]:
    """Return the locations that a data folder holds rows of, in order."""
    live = (path.stem.removeprefix("location_") for path in folder.glob("location_*.json"))
    history = (path.name.removeprefix("location_id=") for path in folder.glob("history/location_id=*"))
    found = {int(text) for text in (*live, *history) if text.isascii() and text.isdigit()}
    return sorted(number for number in found if 0 < number <= LARGEST_ID)


def stale_parts(folder: Path, location_id: int, marks: Mapping[tuple[int, str], Mark]) -> list[str]:
    """Return the parts of a location of which the database does not hold all that counts, the live file first.

    Raises `StorageError` where nobody knows which rows count, because the seal is damaged.
    """
    end = sealed.sealed_to(folder, location_id)
    found = [(LIVE, mark)] if (mark := mark_of(LocationFiles(folder).path(location_id))) else []
    if end is not None:
        place = sealed.history_folder(folder, location_id)
        names = sorted(path.parent.name for path in place.glob("year=*/measurements.parquet"))
        found += [(name, mark) for name in names if (mark := mark_of(place / name / FILE_NAME))]
    return [part for part, mark in found if not _holds(marks.get((location_id, part)), part, mark, end)]


def _holds(stored: Mark | None, part: str, mark: FileMark, end: datetime | None) -> bool:
    """Say whether the database holds what counts of a file with this mark while the history ends at `end`.

    Of a live file ever fewer rows count as the end moves on, of a year in the history ever more, until it is past.
    """
    if stored is None or stored.file != mark:
        return False
    if part == LIVE:
        return (stored.sealed_to or BEGINNING) <= (end or BEGINNING)
    if stored.sealed_to is None:
        return False
    return stored.sealed_to == end or f"{stored.sealed_to:%Y}" > part.removeprefix("year=")


def mark_of(path: Path) -> FileMark | None:
    """Return a file's mark; None if there is none."""
    try:
        return _mark(path.stat())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, path) from error


def _mark(stat: os.stat_result) -> FileMark:
    return FileMark(stat.st_size, stat.st_mtime_ns)


class Reading(NamedTuple):
    """One version of a file, and the text of its rows that count, yet to be read."""

    version: Mark
    blocks: Iterator[Block]


@contextmanager
def reading(
    folder: Path, location_id: int, part: str, hint: tuple[FileMark, datetime] | None
) -> Iterator[Reading | None]:
    """Give one part as it is now; None: its file is gone.

    With a `hint` only the rows from its time on are given, if the live file is the version it names. A file is replaced
    and never changed, so an open one stays as it is: only the opening wants the location's lock, for the live one.
    """
    with ExitStack() as stack:
        path = LocationFiles(folder).path(location_id)
        if part == LIVE:
            with hold_location(folder, location_id):
                end = sealed.sealed_to(folder, location_id)
                file = _open(path, stack)
                tail = _tail(folder, location_id, file, end, hint)
        else:
            end, path = (
                sealed.sealed_to(folder, location_id),
                sealed.history_folder(folder, location_id) / part / FILE_NAME,
            )
            file = _open(path, stack)
        if file is None:
            yield None
            return
        first = end or BEGINNING
        if part != LIVE:
            blocks = _history(file, path, location_id, first)
        else:
            blocks = blocks_of_rows(_rows(file, path, location_id, first) if tail is None else tail)
        yield Reading(Mark(_mark(os.fstat(file.fileno())), end), blocks)


def _tail(
    folder: Path, location_id: int, file: IO[bytes] | None, end: datetime | None, hint: tuple[FileMark, datetime] | None
) -> list[Measurement] | None:
    """Return the rows from the hint's time on; None where the hint is not for this version of the file."""
    if file is None or hint is None or _mark(os.fstat(file.fileno())) != hint[0]:
        return None
    return LocationFiles(folder).tail(location_id, max(hint[1], end or BEGINNING))


def _open(path: Path, stack: ExitStack) -> IO[bytes] | None:
    """Return a file that the stack closes; None if there is none."""
    try:
        check_is_file(path)
        return stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, path) from error


def _rows(file: IO[bytes], path: Path, location_id: int, since: datetime) -> Iterator[Measurement]:
    """Yield the rows of a file in our form, a line each, from `since` on; raises `StorageError` for any other."""
    closed = False
    try:
        for line in lines_of(file):
            closed = line in {b"]\n", b"[]\n"}
            if closed or line == b"[\n":
                continue
            row = decode_row(line.rstrip(b",\n"))
            if row.location_id == location_id and row.datetime >= since:
                yield row
    except UNREADABLE as error:
        raise _damaged(path) from error
    except OSError as error:
        raise storage_error(error, path) from error
    if not closed:
        raise _damaged(path)


def _damaged(path: Path) -> StorageError:
    return StorageError(
        f"{path} is damaged", hint="The next run sets it aside and keeps every row it can read; then it is sent."
    )


def _history(file: IO[bytes], path: Path, location_id: int, end: datetime) -> Iterator[Block]:
    """Yield a Parquet file's rows as text; raises `StorageError` for one that is damaged or of a newer version."""
    import pyarrow as pa  # noqa: PLC0415 - only history needs it
    from pyarrow import parquet  # noqa: PLC0415

    try:
        source = parquet.ParquetFile(file, page_checksum_verification=True, buffer_size=1 << 20)
        _check_version(source, path)
        for batch in source.iter_batches(BLOCK_ROWS, columns=_names()):
            if (block := _block(location_id, batch, end)).rows:
                yield block
    except (pa.ArrowException, OSError, KeyError) as error:
        hint = "Run `openaq-pipeline verify` for what is wrong with it; the other files were sent."
        raise StorageError(f"{path} can't be read: {str(error).splitlines()[0]}", hint=hint) from error


def _check_version(source: pa.parquet.ParquetFile, path: Path) -> None:
    version = (source.schema_arrow.metadata or source.metadata.metadata or {}).get(VERSION_KEY, b"1")
    if not version.isdigit() or int(version) > SCHEMA_VERSION:
        raise StorageError(f"{path} was written by a newer version of this program", hint="Update this program.")


def _names() -> list[str]:
    from openaq_pipeline.columns import HISTORY  # noqa: PLC0415 - pyarrow

    names: list[str] = HISTORY.names
    return names


def _block(location_id: int, batch: pa.RecordBatch, end: datetime) -> Block:
    """Return what counts of a batch: the rows before the end of the history."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    counts = compute.less(batch["datetime"], pa.scalar(end, pa.timestamp("us", tz="UTC")))
    if not compute.all(counts).as_py():
        batch = batch.filter(counts)
    return block_of_batch(location_id, batch) if batch.num_rows else Block(b"", 0, frozenset())
