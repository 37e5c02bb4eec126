"""A deed on its stage: what there is before it and after it, and everything that can be done to it in between."""

from __future__ import annotations

import mmap
import shutil
from pathlib import Path

from tests.faults import light, replay
from tests.faults.tracing import BUG, DONE, Call, Ended, calls_of, injected, slowed
from tests.faults.works import Work

FINISHED = "finished"


class Board:
    """Memory shared with a child, for lines that must not cost it a system call."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1 << 16)

    def clear(self) -> None:
        """Forget what was written."""
        self._memory[:] = bytes(len(self._memory))
        self._memory.seek(0)

    def write(self, line: str) -> None:
        """Add a line."""
        self._memory.write(f"{line}\n".encode())

    def read(self) -> str:
        """Return what was written."""
        return self._memory[:].rstrip(b"\0").decode()


class Stage:
    """A deed with what there is before it and after it, and its system calls."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.work = work
        self._board = Board()
        self._old, self._scratch = folder / "old", folder / "scratch"
        self._old.mkdir()
        self._scratch.mkdir()
        work.prepare(self._old)
        self.before = work.seen(self._old)
        with self.copied() as copy:
            work.act(copy)  # here, so that what is loaded lazily is loaded
            self.after = work.seen(copy)

    def calls(self) -> list[Call]:
        """Return the calls that the deed makes undisturbed."""
        with self.copied() as copy:
            return calls_of(lambda: self.work.act(copy), self._scratch)

    def copied(self) -> _Copy:
        """Give a fresh copy of the folder as it is before the deed."""
        return _Copy(self._old, self._scratch / "copy")

    def disturb(self, call: Call, what: str) -> Ended:
        """Do the deed with one call disturbed, judge what is left, and judge it again when it was done anew."""
        with self.copied() as copy:
            self._board.clear()
            ended = injected(lambda: self.work.act(copy, self._board.write), self._scratch, call, what)
            told = f"{self.work.name}: {what} at {call.name} {call.number} ended with {ended.code}: {ended.said}"
            assert ended.code != BUG, told
            try:
                done = ended.code == DONE and not self.work.forgiving
                self.work.after_fault(copy, self.before, self.after, done=done, told=self._board.read())
                self.work.act(copy)
                self.work.after_restart(copy, self.after)
            except Exception as error:
                raise AssertionError(told) from error
        return ended

    def recorded(self) -> list[replay.Op]:
        """Return the calls by which the deed changes the folder, with what it acknowledges."""

        def act(folder: Path, descriptor: int) -> None:
            acknowledge = light.to_descriptor(descriptor)
            self.work.act(folder, acknowledge)
            acknowledge(FINISHED)

        with self.copied() as copy:
            return replay.recorded(act, copy, self._scratch)

    def cuts(self) -> list[replay.Cut]:
        """Return every state that a power cut can leave."""
        return list(replay.cuts(self._old, self.recorded()))

    def cut(self, cut: replay.Cut) -> None:
        """Judge a state that a power cut can leave, and judge again when the deed was done anew."""
        with self.copied() as copy:
            replay.materialise(cut.tree, copy)
            told = f"{self.work.name}: power cut behind {cut.behind}, acknowledged: {cut.acknowledged!r}"
            try:
                done = f"{FINISHED}\n" in cut.acknowledged
                self.work.after_fault(copy, self.before, self.after, done=done, told=cut.acknowledged)
                self.work.act(copy)
                self.work.after_restart(copy, self.after)
            except Exception as error:
                raise AssertionError(told) from error

    def slow_down(self, microseconds: int) -> None:
        """Do the deed slowly, and read beside it all the time."""
        with self.copied() as copy:
            ended = slowed(
                lambda: self.work.act(copy),
                self._scratch,
                microseconds,
                lambda: self.work.look(copy, self.before, self.after),
            )
            assert ended.code == DONE, ended.said
            self.work.after_restart(copy, self.after)


class _Copy:
    def __init__(self, source: Path, place: Path) -> None:
        self._source, self._place = source, place

    def __enter__(self) -> Path:
        shutil.copytree(self._source, self._place, symlinks=True)
        return self._place

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._place)
