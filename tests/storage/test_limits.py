"""Files that are none of ours: far too large, nested without end, pipes. Nobody hangs, and memory has a bound."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from openaq_pipeline import bounded
from openaq_pipeline.audit.rows import rejected
from openaq_pipeline.daemon.last_run import last_start
from openaq_pipeline.errors import PipelineError
from openaq_pipeline.model import UNREADABLE, Reject
from openaq_pipeline.monitoring import history as metrics
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.reading.load import load
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.storage import licenses, rejects, salvage, sealed, selections
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.ledgers import Ledgers
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.owed import Owed
from openaq_pipeline.storage.progress import Progress
from openaq_pipeline.storage.rejects import Rejects
from openaq_pipeline.storage.state import StateFile
from openaq_pipeline.verify import verify
from tests.conftest import ROOT, Program, Simulate

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PACKAGE = ROOT / "dataset/openaq_pipeline"

HANGS_AFTER_SECONDS = 30


@pytest.fixture(autouse=True)
def _no_hanging() -> Iterator[None]:
    """Whoever opens a pipe that nobody writes to waits for ever: that is a failure, and not the end of all tests."""

    def wake(*_: object) -> None:
        raise AssertionError(f"hangs for {HANGS_AFTER_SECONDS} s")

    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(HANGS_AFTER_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


READERS: dict[str, Callable[[Path], object]] = {
    ".state.json": lambda folder: StateFile(folder).load(NOW),
    "locations.json": lambda folder: Metadata(folder).load(NOW),
    "licenses.json": licenses.read,
    ".selections.json": lambda folder: selections.read(folder, NOW),
    "metrics.json": metrics.read,
    "metrics.json, by the daemon": last_start,
    ".alerts.json": lambda folder: AlertFile(folder).change(NOW, lambda book: book),
    ".sealed/location_7.json": lambda folder: sealed.sealed_to(folder, 7),
    ".repair/location_7.json": lambda folder: Owed(folder).spans(7),
    ".backfill/location_7.json": lambda folder: Progress(folder).stored_files(7),
    ".audit/location_7.json": lambda folder: Ledgers(folder).get(7),
    "rejects/location_7.jsonl, by an audit": lambda folder: rejected(folder, 7),
    "rejects/location_7.jsonl": lambda folder: Rejects(folder).add(7, [Reject(7, 70, "odd", "{}", NOW)]),
    "location_7.json": lambda folder: LocationFiles(folder).inspect(7, None, NOW),
    ".location_7.loss": lambda folder: LocationFiles(folder).inspect(7, None, NOW),
    "location_7.json, by readers": lambda folder: load(locations=[7], data_dir=folder),
    "location_7.json, to be mended": lambda folder: salvage.read(folder / "location_7.json"),
    "history/location_id=7/year=2026/measurements.parquet": lambda folder: History(folder).year(7, 2026),
}


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    """Eight gigabytes without a block on the disk."""
    with path.open("wb") as file:
        os.truncate(file.fileno(), 8 << 30)


def deep(path: Path) -> None:
    path.write_bytes(b'{"version": 1, "locations": ' + b"[" * 1_000_000)


def deep_objects(path: Path) -> None:
    path.write_bytes(b'{"a":' * 200_000)


@pytest.mark.parametrize("make", [a_pipe, a_folder, endless, huge, deep, deep_objects])
@pytest.mark.parametrize("name", READERS)
def test_what_stands_in_the_place_of_a_file_is_a_sentence_or_set_aside(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    path = tmp_path / name.partition(",")[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(PipelineError):
        READERS[name](tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64_000, "of 8 GB nothing may be in memory"


@pytest.mark.parametrize("make", [a_pipe, a_folder, endless, huge, deep])
def test_verify_names_what_is_none_of_ours_and_comes_to_its_end(tmp_path: Path, make: Callable[[Path], None]) -> None:
    for name in READERS:
        if "," not in name:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
    assert {found.severity for found in verify(tmp_path).findings} >= {"error"}


def test_pipes_in_the_place_of_all_that_is_remembered_end_in_a_sentence(program: Program, simulate: Simulate) -> None:
    simulator = simulate(named.demo())
    program.configure(simulator.base_url, [3459], initial_days=1)
    program.data.mkdir()
    os.mkfifo(program.data / ".state.json")
    done = program.load()
    assert (done.code, "it is a pipe or a device, and no file" in done.err) == (1, True)


# --- the one place where files are read ---


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.json"


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_a_file_of_the_size_that_is_allowed_is_read(path: Path, size: int) -> None:
    path.write_bytes(b"x" * size)
    assert bounded.whole(path, 10) == b"x" * size


@pytest.mark.parametrize("size", [11, 1000])
def test_a_larger_one_is_not_what_it_should_be(path: Path, size: int) -> None:
    path.write_bytes(b"x" * size)
    with pytest.raises(UNREADABLE, match="larger than 10 bytes"):
        bounded.whole(path, 10)


def test_a_file_that_holds_more_than_it_says_is_read_whole_or_not_at_all() -> None:
    path = Path("/proc/version")  # as one that grows while it is read
    assert path.stat().st_size == 0
    assert bounded.whole(path, 10_000) == path.read_bytes()
    with pytest.raises(UNREADABLE, match="larger than 10 bytes"):
        bounded.whole(path, 10)


def test_what_is_no_file_says_so(path: Path, tmp_path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(OSError, match="pipe or a device"):
        bounded.whole(path, 10)
    with pytest.raises(IsADirectoryError) as caught:
        bounded.whole(tmp_path, 10)
    assert caught.value.errno == errno.EISDIR
    with pytest.raises(FileNotFoundError):
        bounded.whole(tmp_path / "none", 10)


def test_no_other_place_reads_a_file_without_a_limit() -> None:
    of_its_own = {
        "daemon/child.py",  # a number of the kernel's
        "preflight/machine.py",
        "preflight/folder.py",
        "storage/postgres/migrate.py",
    }
    for source in PACKAGE.rglob("*.py"):
        name = source.relative_to(PACKAGE).as_posix()
        if not name.startswith("simulator/") and name not in of_its_own:
            assert not re.search(r"\.read_(bytes|text)\(|for \w+ in file:|\.readlines?\(\)", code(source)), name


def code(source: Path) -> str:
    """The source without the one reading of lines that are in memory already."""
    return source.read_text().replace('io.StringIO(text, newline="\\n").readlines()', "")


def test_nonsense_without_end_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rejects, "FULL_BYTES", 2000)
    store = Rejects(tmp_path)
    for number in range(100):
        store.add(7, [Reject(7, 70, "odd", msgspec.json.encode(number).decode(), NOW)])
    assert store.path(7).stat().st_size < 2500
    assert "is full" in caplog.text
