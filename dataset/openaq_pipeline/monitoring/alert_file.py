"""`.alerts.json`: the book of conditions on disk, shared by the processes that note, send and show."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import msgspec

from openaq_pipeline.bounded import BOOK_BYTES, whole
from openaq_pipeline.errors import RetriableError, StorageError
from openaq_pipeline.files import exists, remove_temporary, replacing, set_aside, storage_error
from openaq_pipeline.locks import let_go, take_lock
from openaq_pipeline.model import UNREADABLE
from openaq_pipeline.monitoring.alerts import READABLE, VERSION, Book, Waiting, joined
from openaq_pipeline.monitoring.spare import Spare, inherited

log = logging.getLogger(__name__)

WRITE_LOCK_SECONDS = 10.0
"""Changing the book takes milliseconds; who waits longer waits for something that hangs."""


class AlertFile:
    """The book in a data folder. Several processes and threads may change it: each reads, changes and replaces it.

    While the disk refuses the file the book lives in memory, because a full disk is a reason to tell somebody; in
    `spare`, if there is one, and then for the processes after this one too. None: the one that this process inherited.
    While it can't even be read a book apart does, which is joined to the one on disk as soon as that can be.
    """

    def __init__(self, folder: Path, spare: Spare | None = None) -> None:
        self._folder = folder
        self._path = folder / ".alerts.json"
        self._spare = spare or inherited()
        self._kept: Book | None = None
        self._apart: Book | None = None

    @property
    def _unsaved(self) -> Book | None:
        """Return the book that could not be stored; None: it is on disk."""
        return self._kept if self._spare is None else _decoded(self._spare.read())

    def _keep(self, book: Book | None) -> None:
        """Remember a book that could not be stored; None: it is on disk."""
        if self._spare is None:
            self._kept = book
        else:
            self._spare.write(b"" if book is None else msgspec.json.encode(book))

    def read(self) -> Book:
        """Return the book as it is, for looking at; an empty one if there is none or it is damaged.

        Raises `StorageError` when the file can't be read.
        """
        if (kept := self._unsaved) is not None:
            return kept
        try:
            return self._stored() or Book(uuid4())
        except StorageError:
            if self._apart is None:
                raise
            return self._apart

    def waiting(self) -> Waiting:
        """Return what the book has to be told, as `read` does; of a book on disk no more than that is decoded."""
        if self._unsaved is None:
            with suppress(OSError, *UNREADABLE):  # `read` tells of it
                found = msgspec.json.decode(whole(self._path, BOOK_BYTES), type=Waiting)
                aware = all(entry.next_try.tzinfo for entry in found.outbox)
                if found.version in READABLE and aware and (found.look_at is None or found.look_at.tzinfo):
                    return found
        book = self.read()
        return Waiting(look_at=book.look_at, digests=book.digests, outbox=book.outbox)

    def is_damaged(self) -> bool:
        """Say whether there is a file that holds no book. Raises `StorageError` if it can't be read."""
        return self._stored() is None and exists(self._path)

    def change(self, now: datetime, function: Callable[[Book], Book]) -> Book:
        """Store what `function` makes of the book, and return it. A damaged book is set aside, and a new one begun.

        Raises `RetriableError` if another process does not let go of the file.
        """
        with self._writing():
            before = self._unsaved or self._load(now)
            if before is None:  # the file may not be overwritten unread
                self._apart = function(self._apart or Book(uuid4()))
                return self._apart
            after = function(before)
            if after != before or self._unsaved is not None:
                self._save(after)
            return after

    def _save(self, book: Book) -> None:
        try:
            with replacing(self._path) as file:
                file.write(msgspec.json.format(msgspec.json.encode(book), indent=1) + b"\n")
            self._keep(None)
        except StorageError as error:
            log.warning("%s Alerts are kept in memory meanwhile.", error.advice)
            self._keep(book)

    def _load(self, now: datetime) -> Book | None:
        """Return the stored book or a new one, what is no book is set aside; None: the disk does not let it be read."""
        with suppress(OSError):  # the book is not written again until something changes
            remove_temporary(self._path)
        try:
            book = self._stored()
            if book is None and exists(self._path):
                place = set_aside(self._path, now)
                log.warning("%s was damaged and set aside as %s; a new one begins", self._path.name, place.name)
        except StorageError as error:
            log.warning("%s Alerts are kept in memory meanwhile.", error.advice)
            return None
        if self._apart is None:
            return book or Book(uuid4())
        together, self._apart = self._apart if book is None else joined(book, self._apart), None
        self._keep(together)  # until it is saved, which it is now even if nothing else changes
        return together

    def _stored(self) -> Book | None:
        """Return the book on disk; None if there is none, or none that this program can read."""
        try:
            return _decoded(whole(self._path, BOOK_BYTES))
        except (FileNotFoundError, *UNREADABLE):  # the latter: it is larger than any book
            return None
        except OSError as error:
            raise storage_error(error, self._path) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the short lock around reading and replacing; on a disk that takes no lock go on without."""
        try:
            descriptor = take_lock(self._folder / ".locks" / "alerts.lock", WRITE_LOCK_SECONDS)
        except BlockingIOError:
            raise RetriableError(
                f"{self._path.name} was locked by another process for {WRITE_LOCK_SECONDS:g} s",
                hint="Look for a process of this program that hangs.",
            ) from None
        except OSError:
            yield
            return
        try:
            yield
        finally:
            let_go(descriptor)

    @contextmanager
    def delivering(self) -> Iterator[bool]:
        """Hold the right to send, and give True; False when another process is about it. Never waits."""
        try:
            descriptor = take_lock(self._folder / ".alerts.lock", 0)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a full or read-only disk: rather told twice than not at all
            yield True
            return
        try:
            yield True
        finally:
            let_go(descriptor)


def _decoded(body: bytes) -> Book | None:
    """Return a book; None if it is none that this program can read, with aware times. Older ones are taken over."""
    try:
        book = msgspec.json.decode(body, type=Book)
    except UNREADABLE:
        return None
    if book.version not in READABLE or not _times_have_zones(book):
        return None
    return msgspec.structs.replace(book, version=VERSION)


def _times_have_zones(book: Book) -> bool:
    """Say whether every time can be compared with now."""
    every = [*book.open.values(), *(over.opened for over in book.over.values())]
    stamps = [
        *(stamp for opened in every for stamp in (opened.began, opened.told_at, opened.condition.since)),
        *(over.ended for over in book.over.values()),
        *(last.at for last in book.told.values()),
        *book.groups.values(),
        book.look_at,
        *(stamp for past in book.past for stamp in (past.began, past.ended)),
        *(
            stamp
            for entry in (*book.outbox, *book.undelivered)
            for stamp in (entry.queued, entry.next_try, entry.notice.began, entry.notice.ended)
        ),
    ]
    return all(stamp is None or stamp.tzinfo is not None for stamp in stamps)
