"""`location_{id}.json`: a JSON array, one measurement a line, sorted by (datetime, sensors_id), unique by key.

Because it is sorted, what a run changes lies at the end: the cut is found by bisection, what is in front of it is
copied as bytes and never decoded, so a run costs by what is new and not by what is kept. Rows from before `sealed_to`
count only in the location's history: here they are left over from an interrupted move, and go with the next write.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from openaq_pipeline.bounded import LINE_BYTES, NOTE_BYTES, check_is_file, lines_of, whole
from openaq_pipeline.errors import StorageError
from openaq_pipeline.files import exists, keep_aside, remove_temporary, replacing, storage_error
from openaq_pipeline.locks import hold_location
from openaq_pipeline.model import UNREADABLE, FileMark, Key, Measurement, Stored, file_order
from openaq_pipeline.ports import HistoryStore
from openaq_pipeline.storage import leftovers, salvage, sealed
from openaq_pipeline.storage.view import View

ROWS_AT_ONCE = 1000
HEAD, BETWEEN, TAIL, EMPTY = b"[\n", b",\n", b"\n]\n", b"[]\n"
LOSS_NOTE = b"No watermark stands on the rows of this location; this note goes when a run has remembered one.\n"
LOST = b"Rows of it were lost, and are read again from where its file begins.\n"

_decode_rows = msgspec.json.Decoder(list[Measurement]).decode
_encode_lines = msgspec.json.Encoder().encode_lines


class _Stamp(msgspec.Struct, gc=False):
    datetime: Annotated[datetime, msgspec.Meta(tz=True)]


_decode_stamp = msgspec.json.Decoder(_Stamp).decode


class LocationFiles:
    """The location files of one data folder. Every method but `mark` and `history` wants the location's lock held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A visit asks for its file some ten times, and making a path costs more than looking the file up.
        self._path = lru_cache(maxsize=64)(folder.joinpath)
        self._guard = threading.Lock()
        self._left: dict[int, list[Path]] | None = None

    def path(self, location_id: int) -> Path:
        """Return where a location's measurements are."""
        path: Path = self._path(f"location_{int(location_id)}.json")
        return path

    @contextmanager
    def lock(self, location_id: int) -> Iterator[None]:
        """Hold a location for one read, merge and write; what killed writers left of its files goes first."""
        with hold_location(self._folder, location_id):
            with self._guard:
                if self._left is None:
                    self._left = leftovers.find(self._folder)
                left = self._left.pop(location_id, [])
            leftovers.remove(left)
            yield

    def mark(self, location_id: int) -> FileMark | None:
        """Return the file's size and time of change; None when there is no file."""
        path = self.path(location_id)
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, path) from error
        return FileMark(stat.st_size, stat.st_mtime_ns)

    def history(self) -> HistoryStore:
        """Return where older rows are; this loads pyarrow."""
        from openaq_pipeline.storage.history import History  # noqa: PLC0415 - a plain poll needs none

        return History(self._folder)

    def sealed_to(self, location_id: int) -> datetime | None:
        """Return the first moment whose rows are here and not in the history; None: all are here."""
        return sealed.sealed_to(self._folder, location_id)

    def seal(self, location_id: int, to: datetime) -> FileMark:
        """Let the rows before `to`, which the history has by now, count there; take them out of the file.

        Returns the new mark of the file, which is made if there was none: by it a poll knows that nothing has changed.
        """
        sealed.seal(self._folder, location_id, to, self._years(location_id))
        return self.replace_tail(location_id, to, self.tail(location_id, to))

    def _years(self, location_id: int) -> dict[int, datetime]:
        """Return the first stamp of each year of the history."""
        if not exists(sealed.history_folder(self._folder, location_id)):
            return {}
        from openaq_pipeline.storage.history import History  # noqa: PLC0415 - as in `history`

        return History(self._folder).firsts(location_id)

    def oldest(self, location_id: int) -> datetime | None:
        """Return the stamp of the first row in the file, whether it counts there or not; None: there is no row.

        Raises `StorageError` for a file whose beginning is damaged.
        """
        path = self.path(location_id)
        try:
            check_is_file(path)
            with path.open("rb") as file:
                head, line = file.readline(LINE_BYTES), file.readline(LINE_BYTES)
            if head == EMPTY:
                return None
            if head != HEAD:
                raise msgspec.DecodeError("does not begin as our files do")
            return _decode_stamp(line.rstrip(b",\n")).datetime
        except FileNotFoundError:
            return None
        except UNREADABLE as error:
            raise _damaged(path) from error
        except OSError as error:
            raise storage_error(error, path) from error

    def inspect(self, location_id: int, mark: FileMark | None, now: datetime) -> Stored:
        """Return what a location holds, its file read whole unless it is as `mark` remembers it.

        A file that is not ours any more (edited, cut, damaged) is brought back into form: every row that can be
        read stays, and where one could not, the old file is set aside first, never overwritten. After such a loss
        `latest` is empty, in this and in every later call until one brings the mark of the file as it then is: the
        caller has remembered by then that nothing is known to be stored.
        """
        path = self.path(location_id)
        try:
            remove_temporary(path)
            current = self.mark(location_id)
            if current is not None and current == mark:
                self._loss_note(location_id).unlink(missing_ok=True)
                return Stored(None)
            latest = self._latest(location_id, {} if current is None else _scan(path, location_id))
        except UNREADABLE:
            return self._mend(location_id, now)
        except OSError as error:
            raise storage_error(error, path) from error
        noted = self._noted(location_id)
        return Stored(latest if noted is None else {}, lost=noted is not None and LOST in noted)

    def _latest(self, location_id: int, here: dict[int, datetime]) -> dict[int, datetime]:
        """Return the latest stamp of each sensor that counts, in the history where the file has none."""
        to = self.sealed_to(location_id)
        if to is None:
            return here
        return self.history().latest(location_id, to) | {key: stamp for key, stamp in here.items() if stamp >= to}

    def disclaim(self, location_id: int, *, lost: bool = False) -> None:
        """Note that no watermark may be derived from the file: its first load is not through, or rows of it were lost.

        Every `inspect` then says that nothing is stored, until one brings the mark of the file as it then is.
        """
        with replacing(self._loss_note(location_id)) as file:
            file.write(LOSS_NOTE + LOST if lost else LOSS_NOTE)

    def _noted(self, location_id: int) -> bytes | None:
        """Return what `disclaim` has noted; None: nothing."""
        path = self._loss_note(location_id)
        try:
            return whole(path, NOTE_BYTES)
        except FileNotFoundError:
            return None
        except UNREADABLE:
            return LOST  # whatever it is, it is there: rather read too much again
        except OSError as error:
            raise storage_error(error, path) from error

    def vouch(self, location_id: int, mark: FileMark | None) -> None:
        """Take the note of `disclaim` away, now that a durable state stands on the file with this mark."""
        note = self._loss_note(location_id)
        if not exists(note):
            return
        with self.lock(location_id):
            if mark is not None and self.mark(location_id) == mark:
                with suppress(OSError):  # the next look takes it away
                    note.unlink(missing_ok=True)

    def tail(self, location_id: int, since: datetime, until: datetime | None = None) -> list[Measurement]:
        """Return the rows that count here with since <= stamp < until, in file order; None: up to the end.

        Raises `StorageError` for a damaged file.
        """
        path = self.path(location_id)
        start = max(since, self.sealed_to(location_id) or since)
        try:
            with View(path) as view:
                found = cut(view, start)
                end = found.end if until is None else max(found.drop, cut(view, until).keep)
                return _decode_rows(b"[" + view.read(found.drop, end) + b"]")
        except UNREADABLE as error:
            raise _damaged(path) from error

    def replace_tail(self, location_id: int, since: datetime, rows: Sequence[Measurement]) -> FileMark:
        """Put `rows` (in file order) in the place of all rows from `since` on; return the new file's mark.

        Only rows that count here are given and kept; what an interrupted move left in front of them goes.
        """
        path = self.path(location_id)
        start = self.sealed_to(location_id)
        try:
            self._write(path, start, since if start is None else max(start, since), rows)
        except UNREADABLE as error:
            raise _damaged(path) from error
        mark = self.mark(location_id)
        if mark is None:
            raise StorageError(f"{path} vanished while it was written", hint="Keep other programs off the data folder.")
        return mark

    def _write(self, path: Path, start: datetime | None, since: datetime, rows: Sequence[Measurement]) -> None:
        """Write the file anew: its rows in [start, since) as they are (None: from the first), and then `rows`."""
        with View(path) as view, replacing(path) as file:
            keep = cut(view, since).keep
            skip = 0 if start is None else min(cut(view, start).drop, keep)
            # The bytes to keep begin with the bracket, which is written anew where rows in front of them go.
            kept = keep > max(skip, len(HEAD))
            if kept and skip > len(HEAD):
                file.write(HEAD)
            file.writelines(view.pieces(skip if skip > len(HEAD) else 0, keep if kept else 0))
            if rows:
                file.write(BETWEEN if kept else HEAD)
                file.writelines(_lines(rows))
            file.write(TAIL if kept or rows else EMPTY)

    def _loss_note(self, location_id: int) -> Path:
        return self._folder / f".location_{int(location_id)}.loss"

    def _mend(self, location_id: int, now: datetime) -> Stored:
        """Rewrite a file that is not in our form from every row in it that can be read.

        The damaged file stays in its place until the new one takes it, so that a crash in between loses nothing.
        """
        path = self.path(location_id)
        found = salvage.read(path)
        own = [row for row in found.rows if row.location_id == location_id]
        rows = sorted({row.key: row for row in own}.values(), key=file_order)
        lost = len(found.unreadable) + len(found.rows) - len(own)
        place = keep_aside(path, now) if lost or _contradictory(own) else None
        if lost:
            self.disclaim(location_id, lost=True)
        with replacing(path) as file:
            file.writelines((HEAD, *_lines(rows), TAIL) if rows else (EMPTY,))
        # After damage nothing says which rows are gone: no watermark stands on this file until it was read anew.
        latest = {} if lost else {row.sensors_id: row.datetime for row in rows}
        return Stored(latest, _mended(path, place, len(rows), lost), lost=bool(lost))


class Cut(NamedTuple):
    """Where a file is cut: bytes [0, keep) stay, [drop, end) are the rows behind the cut, without brackets."""

    keep: int
    drop: int
    end: int


def cut(view: View, since: datetime) -> Cut:
    """Find by bisection where the rows from `since` on begin; raises one of `UNREADABLE` for a file not in our form."""
    if not view.exists or view.read(0, min(len(view), len(EMPTY) + 1)) == EMPTY:
        return Cut(0, 0, 0)
    end = len(view) - len(TAIL)
    if end < len(HEAD) or view.read(0, len(HEAD)) != HEAD or view.read(end, len(view)) != TAIL:
        raise msgspec.DecodeError("not in our form")
    low, high = len(HEAD), end + 1
    while low < high:
        start, line = view.line((low + high) // 2)
        if _decode_stamp(line.removesuffix(b",")).datetime < since:
            low = start + len(line) + 1
        else:
            high = start
    if low > end:
        return Cut(end, end, end)
    return Cut(low - len(BETWEEN) if low > len(HEAD) else 0, low, end)


def _contradictory(rows: Iterable[Measurement]) -> bool:
    """Say whether two rows of one key differ, so that only one of them can stay."""
    seen: dict[Key, Measurement] = {}
    return any(seen.setdefault(row.key, row) != row for row in rows)


def _mended(path: Path, place: Path | None, kept: int, lost: int) -> str:
    """Return what was done to a file, in a sentence."""
    if place is None:
        return f"{path.name} had been changed by another program and was brought back into order"
    if not lost:
        return f"{path.name} held several versions of one row; the last one stays, the file is kept as {place.name}"
    return (
        f"{path.name} was damaged and set aside as {place.name}: {kept} rows were taken over, "
        f"{lost} could not be; all that the file may have held is read again"
    )


def _damaged(path: Path) -> StorageError:
    """Return the error for a file that is not as `inspect` found it, and see to it that the next look is a close one.

    Bits can rot under an unchanged time of change; a new one keeps `inspect` from trusting its mark.
    """
    with suppress(OSError):
        os.utime(path)
    return StorageError(
        f"{path} is damaged", hint="The next run sets it aside, keeps every row it can read and goes on."
    )


def _lines(rows: Sequence[Measurement]) -> Iterator[bytes]:
    """Yield rows as they stand between the brackets, many at a time; in JSON no text holds a line end."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = _encode_lines(rows[start : start + ROWS_AT_ONCE]).removesuffix(b"\n").replace(b"\n", BETWEEN)
        yield BETWEEN + some if start else some


def _scan(path: Path, location_id: int) -> dict[int, datetime]:
    """Return the latest stamp of each sensor of a file in our form; raises one of `UNREADABLE` for others."""
    latest: dict[int, datetime] = {}
    last: tuple[datetime, int] | None = None
    check_is_file(path)
    with path.open("rb") as file:
        for row in lines(lines_of(file)):
            here = (row.datetime, row.sensors_id)
            if row.location_id != location_id or (last is not None and here <= last):
                raise msgspec.DecodeError("not sorted, not unique, or of another location")
            last = here
            latest[row.sensors_id] = row.datetime
    return latest


def lines(file: Iterable[bytes]) -> Iterator[Measurement]:
    """Yield the rows of a file in our form, line by line; raises one of `UNREADABLE` where it is in another."""
    rest = iter(file)
    first = next(rest, b"")
    if first == EMPTY and next(rest, None) is None:
        return
    if first != HEAD:
        raise msgspec.DecodeError("does not begin as our files do")
    more = True
    for line in rest:
        if not more:
            if line == b"]\n" and next(rest, None) is None:
                return
            break
        more = line.endswith(BETWEEN)
        yield salvage.decode_row(line.removesuffix(BETWEEN))
    raise msgspec.DecodeError("does not end as our files do")
