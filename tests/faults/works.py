"""Every path on which something is published, as a deed that can be disturbed at each of its system calls.

A deed is prepared in a folder, done, looked at as a reader would, and done again after the fault. Rows are judged by
the oracle; of a small file a reader sees the old or the new version, nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pyarrow.parquet as pq

from openaq_pipeline import load
from openaq_pipeline.backup.names import place_of
from openaq_pipeline.backup.output import new_file
from openaq_pipeline.backup.restoring import restore
from openaq_pipeline.backup.writing import back_up
from openaq_pipeline.cli.restore_command import opened
from openaq_pipeline.columns import HISTORY, to_table
from openaq_pipeline.commit.across import commit_across
from openaq_pipeline.commit.seal import open_history
from openaq_pipeline.errors import PipelineError, RetriableError
from openaq_pipeline.files import exists
from openaq_pipeline.locks import finish_restore, make_folder
from openaq_pipeline.model import ArchiveStamp, LicenseTerms, Window
from openaq_pipeline.monitoring import history as runs
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Book, OpenCondition
from openaq_pipeline.monitoring.telling import release, with_digest
from openaq_pipeline.monitoring.weekly import Weekly
from openaq_pipeline.openaq.budget import Budget
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.reading.export import export
from openaq_pipeline.reading.moments import EARLIEST, LATEST
from openaq_pipeline.repair.local import Local
from openaq_pipeline.settings import Settings, ValidationSettings
from openaq_pipeline.storage import licenses, selections
from openaq_pipeline.storage.history import LICENSES_KEY, SCHEMA_VERSION, VERSION_KEY, WRITING, History
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.owed import Owed
from openaq_pipeline.storage.progress import Progress
from openaq_pipeline.storage.selections import Resolved
from openaq_pipeline.wiring import Stores
from tests.alerts.parts import condition, policy
from tests.alerts.samples import DIGEST, SAID
from tests.backup.archives import Found
from tests.faults import light, oracle
from tests.monitoring.runs import location, run
from tests.reading.folders import CC_BY, describe, series, store, write_terms
from tests.reading.folders import location as described
from tests.reading.folders import terms as terms_of

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HERE = 7
YEAR_END, NEW_YEAR = datetime(2025, 12, 25, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
JUDGE = Judge(ValidationSettings())


def nothing(_line: str) -> None:
    """Acknowledge nothing."""


class Work:
    """A deed. `old` and `new` are what `seen` returns before it and after it, undisturbed.

    `forgiving`: while the disk refuses it, it goes on in memory and says that it is done.
    """

    def __init__(
        self,
        name: str,
        prepare: Callable[[Path], object],
        act: Callable[[Path], object],
        seen: Callable[[Path], object],
        *,
        forgiving: bool = False,
    ) -> None:
        self.name = name
        self.prepare = prepare
        self.seen = seen
        self.forgiving = forgiving
        self._act = act

    def __repr__(self) -> str:
        return self.name

    def act(self, folder: Path, acknowledge: light.Acknowledge = nothing) -> None:
        """Do it, and say line by line what is durable."""
        del acknowledge
        self._act(folder)

    def after_fault(self, folder: Path, old: object, new: object, *, done: bool, told: str = "") -> None:
        """Raise `AssertionError` unless a reader sees what it may.

        `done`: the deed said that it was done; `told` are the lines that it acknowledged before.
        """
        del told
        seen = self.seen(folder)
        assert seen in ([new] if done else [old, new]), f"{self.name}: {seen} is neither {old} nor {new}"

    def look(self, folder: Path, old: object, new: object) -> None:
        """Raise `AssertionError` unless a reader beside the writer sees the one or the other version."""
        self.after_fault(folder, old, new, done=False)

    def after_restart(self, folder: Path, new: object) -> None:
        """Raise `AssertionError` unless all is as if nothing had happened."""
        seen = self.seen(folder)
        assert seen == new, f"{self.name}: {seen} is not {new}"
        left = oracle.temporaries(folder)
        assert not left, f"{self.name}: I6: left behind: {left}"


class Rows(Work):
    """A deed on rows: in between any part of it may be done, as long as the oracle agrees."""

    def __init__(self, name: str, prepare: Callable[[Path], object], act: Callable[[Path], object]) -> None:
        super().__init__(name, prepare, act, oracle.content)

    def after_fault(self, folder: Path, old: object, new: object, *, done: bool, told: str = "") -> None:
        """Let the oracle judge: what was there and what was acknowledged is there."""
        if done:
            oracle.check(folder, expected=_content(new))
        else:
            places = (oracle.Place(*place) for place in light.acknowledged(told))
            oracle.check(folder, held=[*_content(old), *places])

    def look(self, folder: Path, old: object, new: object) -> None:
        """Read as a user reads, who knows nothing of moves."""
        if old:
            rows = load(data_dir=folder).num_rows
            assert len(_content(old)) <= rows <= len(_content(new))

    def after_restart(self, folder: Path, new: object) -> None:
        """Let the oracle judge: the content is that of a run without the fault."""
        oracle.check(folder, expected=_content(new), restarted=True)


class Poll(Rows):
    """A poll of two locations that have been polled up to a round before; -1: never."""

    def __init__(self, name: str, before: int) -> None:
        prepare = rounds(0, before) if before >= 0 else nothing_there
        super().__init__(name, prepare, rounds(before + 1, before + 1))
        self._round = before + 1

    def act(self, folder: Path, acknowledge: light.Acknowledge = nothing) -> None:
        """Do it."""
        _do(folder, self._round, self._round, acknowledge)


class Mending(Work):
    """Bringing damaged files into form. What is to be fetched again stays noted, however often it was interrupted."""

    def __init__(
        self, name: str, prepare: Callable[[Path], object], act: Callable[[Path], object], *, owes: bool
    ) -> None:
        super().__init__(name, prepare, act, _readable)
        self._owes = owes

    def after_fault(self, folder: Path, old: object, new: object, *, done: bool, told: str = "") -> None:
        """A file may still be damaged, but none of what could be read is gone for good: see `after_restart`."""

    def look(self, folder: Path, old: object, new: object) -> None:
        """Nobody is promised to read a damaged file."""

    def after_restart(self, folder: Path, new: object) -> None:
        """Let the oracle judge: every row that could be read is there, and the rest is noted."""
        assert isinstance(new, tuple)
        oracle.check(folder, expected=new[0], restarted=True, owed=True)
        assert Owed(folder).spans(HERE) == new[1]
        assert bool(new[1]) == self._owes


def _readable(folder: Path) -> tuple[oracle.Content, object]:
    """Return the content of a folder, none where it is damaged so far, and what is to be fetched again."""
    try:
        return oracle.content(folder), Owed(folder).spans(HERE)
    except (ValueError, OSError):
        return {}, ()


def _content(new: object) -> oracle.Content:
    assert isinstance(new, dict)
    return new


# --- polls ---


def rounds(first: int, last: int) -> Callable[[Path], None]:
    """Return what does the rounds of `light`; raises `PipelineError` if they can't be done."""

    def act(folder: Path) -> None:
        _do(folder, first, last, nothing)

    return act


def _do(folder: Path, first: int, last: int, acknowledge: light.Acknowledge) -> None:
    if code := light.store(folder, first, last, acknowledge):
        raise PipelineError(f"light exited {code}")


def nothing_there(folder: Path) -> None:
    """Make an empty folder."""
    folder.mkdir(exist_ok=True)


# --- rows of the past ---


def old_rows(folder: Path) -> None:
    """Prepare a location whose rows of two years are partly in its history."""
    files = LocationFiles(folder)
    with files.lock(HERE):
        open_history(HERE, NEW_YEAR - timedelta(days=31), files=files, licenses=None)
        rows = to_table(series(HERE, YEAR_END, 24 * 12, step=6))
        commit_across(HERE, rows, files=files, judge=JUDGE, licenses=(CC_BY,))


def archive_portion(folder: Path) -> None:
    """Store rows of two years as a backfill from the archive does."""
    rows, files = series(HERE, YEAR_END - timedelta(days=3), 24 * 9, step=5), LocationFiles(folder)
    with files.lock(HERE):
        open_history(HERE, NEW_YEAR, files=files, licenses=None)
        commit_across(HERE, to_table(rows), files=files, judge=JUDGE, licenses=(CC_BY,))
        Progress(folder).stored(HERE, [("2025-12-25", ArchiveStamp(1000, NOW))])


def cut_short(folder: Path) -> None:
    """Prepare a location file that ends in the middle of a row."""
    store(folder, HERE, series(HERE, YEAR_END, 24, step=6), None)
    path = folder / f"location_{HERE}.json"
    path.write_bytes(path.read_bytes()[:-40])


def mend_live(folder: Path) -> None:
    """Do what a poll does first with a location file."""
    files = LocationFiles(folder)
    with files.lock(HERE):
        files.inspect(HERE, None, NOW)


def broken_year(folder: Path) -> None:
    """Prepare a location whose history can only be read in part, and a broken line among its rejects."""
    old_rows(folder)
    files = LocationFiles(folder)
    with files.lock(HERE):
        open_history(HERE, NEW_YEAR, files=files, licenses=(CC_BY,))
    path, table = History(folder).path(HERE, 2025), History(folder).year(HERE, 2025)
    with pq.ParquetWriter(path, HISTORY, **WRITING) as writer:
        for half in (table.slice(0, table.num_rows // 2), table.slice(table.num_rows // 2)):
            writer.write_table(half)
        writer.add_key_value_metadata({VERSION_KEY: SCHEMA_VERSION, LICENSES_KEY: b"[]"})
    body = bytearray(path.read_bytes())
    body[pq.read_metadata(path).row_group(1).column(HISTORY.names.index("value")).data_page_offset + 20] ^= 0xFF
    path.write_bytes(bytes(body))
    (folder / "rejects").mkdir()
    (folder / "rejects" / f"location_{HERE}.jsonl").write_bytes(b'{"broken":')


def mend_files(folder: Path) -> None:
    """Do what a repair does with a location's files."""
    settings = Settings(locations=[HERE], data_dir=folder)
    stores = Stores(settings)
    stores.load(NOW, repair=False)
    Local(stores, lambda: NOW).mend(HERE)


# --- small files ---


def progress(folder: Path) -> None:
    """Note a file of the archive, and how far the API was read."""
    known = Progress(folder)
    known.stored(HERE, [("2026-01-01", ArchiveStamp(1000, NOW))])


def more_progress(folder: Path) -> None:
    """Note one more."""
    Progress(folder).stored(HERE, [("2026-01-02", ArchiveStamp(2000, NOW))])


def owe(folder: Path, *days: int) -> None:
    """Note ranges of a day to be fetched."""
    for day in days:
        start = NOW - timedelta(days=day)
        Owed(folder).add(HERE, Window(start, start + timedelta(hours=12)))


def settle(folder: Path) -> None:
    """Note that all of them were."""
    for span in Owed(folder).spans(HERE):
        Owed(folder).settle(HERE, span)


def note_run(folder: Path, minute: int) -> None:
    """Add a run to the history of runs."""
    runs.append(folder, run(NOW + timedelta(minutes=minute), location(HERE)), NOW)


def runs_seen(folder: Path) -> object:
    """Return the runs on file, each once."""
    found = runs.read(folder)
    assert found.warning is None
    return frozenset(each.started for each in found.runs)


def begin(folder: Path, *keys: str) -> None:
    """Open conditions in the book of alerts."""

    def opened(book: Book) -> Book:
        known = {**book.open, **{key: OpenCondition(condition(key), NOW) for key in keys}}
        return msgspec.structs.replace(book, id=UUID(int=7), open=known)

    AlertFile(folder).change(NOW, opened)


def tell_together(folder: Path) -> None:
    """Tell in one notice what waits."""
    AlertFile(folder).change(NOW, lambda book: release(book, NOW, policy("slack", "email")))


def tell_week(folder: Path) -> None:
    """Put the digest of the week into the outbox."""
    told = policy("slack", digest=Weekly(0, 8, "UTC"))
    AlertFile(folder).change(NOW, lambda book: with_digest(book, (SAID, DIGEST), NOW, told))


def told_seen(folder: Path) -> object:
    """Return what counts as told, and what is to be sent to whom: the one never without the other."""
    assert not AlertFile(folder).is_damaged()
    book = AlertFile(folder).read()
    told = frozenset(key for key, opened in book.open.items() if opened.told)
    return told, book.digests, frozenset((entry.notice.id, entry.channel, entry.notice.count) for entry in book.outbox)


def book_seen(folder: Path) -> object:
    """Return which conditions are open."""
    assert not AlertFile(folder).is_damaged()
    return frozenset(AlertFile(folder).read().open)


def select(folder: Path, *ids: int) -> None:
    """Remember what a selection came to."""
    selections.write(folder, {"country: NP": Resolved(NOW, ids, len(ids))})


def name_licences(folder: Path, now: datetime, *found: LicenseTerms) -> None:
    """Ask what licences allow."""
    place = msgspec.structs.replace(described(HERE), licenses=(CC_BY,))
    licenses.top_up(folder, [place], lambda: list(found), now)


def ask(folder: Path, times: int) -> None:
    """Count requests in the ledger of the budget."""
    with closing(_budget(folder)) as budget:
        for _ in range(times):
            budget.acquire()


def asked(folder: Path) -> object:
    """Return how many requests are counted, at most three."""
    with closing(_budget(folder)) as budget:
        return min(3, budget.use().minute)


def _budget(folder: Path) -> Budget:
    return Budget(folder / "budget.sqlite", per_minute=60, per_hour=2000, sleep=_refuse, clock=lambda: 1000.0)


def _refuse(seconds: float) -> None:
    raise RetriableError(f"it would wait {seconds} s")


def exportable(folder: Path) -> None:
    """Prepare a location that may be exported, and an old export of it."""
    data = folder / "data"
    store(data, HERE, series(HERE, YEAR_END, 24, step=6), None)
    describe(data, described(HERE))
    write_terms(data, terms_of(CC_BY.id, redistribution=True))
    (folder / "out.csv").write_bytes(b"old\n")


def write_export(folder: Path) -> None:
    """Write the export."""
    export(folder / "data", "csv", folder / "out.csv", NOW, window=Window(EARLIEST, LATEST))


def bytes_of(*names: str) -> Callable[[Path], object]:
    """Return what reads some files; None for one that is not there."""

    def seen(folder: Path) -> object:
        return tuple((folder / name).read_bytes() if (folder / name).exists() else None for name in names)

    return seen


def a_folder(folder: Path) -> None:
    """Prepare a data folder of every kind of file, with a history that counts."""
    data = folder / "data"
    store(data, HERE, series(HERE, YEAR_END, 24 * 14, step=24), NEW_YEAR)
    describe(data, described(HERE))
    for name in (".state.json", "metrics.json"):
        (data / name).write_bytes(b"{}\n")


def make_backup(folder: Path) -> None:
    """Back the folder up, unless that was done."""
    if not exists(folder / "b.tar.gz"):
        with new_file(folder / "b.tar.gz", folder / "data") as file:
            back_up(folder / "data", file.write, NOW)


def backed_up(folder: Path) -> object:
    """Return what is in the backup, which must be whole; None: there is none."""
    if not (folder / "b.tar.gz").exists():
        return None
    found = Found()
    with opened(str(folder / "b.tar.gz")) as archive:
        archive.read(found)
    return found.files


def restorable(folder: Path) -> None:
    """Prepare a backup, and no data."""
    a_folder(folder)
    make_backup(folder)
    shutil.rmtree(folder / "data")


def put_back(folder: Path) -> None:
    """Restore the backup, unless that was done, as every start begins."""
    make_folder(folder / "data")
    if not exists(folder / "data" / "locations.json"):
        with opened(str(folder / "b.tar.gz")) as archive:
            restore(archive, folder / "data")


def restored_files(folder: Path) -> object:
    """Return the data as the next process finds them; None: there are none."""
    data = folder / "data"
    if not data.is_dir():
        return None
    finish_restore(data)
    names = (path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file())
    return {name: (data / name).read_bytes() for name in names if place_of(name)} or None


class Restoring(Work):
    """A restore, whose moves are finished by whoever comes next: a reader beside it may see a part of them."""

    def look(self, folder: Path, old: object, new: object) -> None:
        """Nobody is promised to read a folder that is being restored."""


def works() -> Iterable[Work]:
    """Yield every deed."""
    yield Poll("first load", -1)
    yield Poll("poll", 1)
    yield Poll("move to the history", light.FIRST_MOVE - 1)
    yield Rows("archive portion", old_rows, archive_portion)
    yield Mending("mending a location file", cut_short, mend_live, owes=False)
    yield Mending("mending history and rejects", broken_year, mend_files, owes=True)
    yield Work("progress of a backfill", progress, more_progress, lambda folder: Progress(folder).stored_files(HERE))
    yield Work("owed", lambda folder: owe(folder, 9), lambda folder: owe(folder, 9, 3), _owed)
    yield Work("owed no more", lambda folder: owe(folder, 9), settle, _owed)
    yield Work("metrics", lambda folder: note_run(folder, 0), lambda folder: note_run(folder, 1), runs_seen)
    yield Work(
        "alerts",
        lambda folder: begin(folder, "one"),
        lambda folder: begin(folder, "two"),
        book_seen,
        forgiving=True,
    )
    yield Work(
        "alerts told together", lambda folder: begin(folder, "k:1", "k:2"), tell_together, told_seen, forgiving=True
    )
    yield Work("digest", lambda folder: begin(folder, "k:1"), tell_week, told_seen, forgiving=True)
    yield Work("selections", lambda folder: select(folder, 7), lambda folder: select(folder, 7, 8), _selected)
    yield Work(
        "licences",
        lambda folder: name_licences(folder, NOW - timedelta(days=9), terms_of(1, redistribution=True)),
        lambda folder: name_licences(folder, NOW, terms_of(CC_BY.id, redistribution=True)),
        lambda folder: frozenset(licenses.read(folder)),
    )
    yield Work("budget", lambda folder: ask(folder, 2), lambda folder: ask(folder, 1), asked)
    yield Work("export", exportable, write_export, bytes_of("out.csv"))
    yield Work("backup", a_folder, make_backup, backed_up)
    yield Restoring("restore", restorable, put_back, restored_files)


def _owed(folder: Path) -> object:
    return Owed(folder).spans(HERE)


def _selected(folder: Path) -> object:
    found = selections.read(folder)
    assert found.warning is None
    return found.selections


WORKS = {work.name: work for work in works()}
