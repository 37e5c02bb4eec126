"""Several processes, one log file: no line is lost and none torn, however often it rotates."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from openaq_pipeline.monitoring.log_file import SharedLogFile
from tests.conftest import ROOT

WRITER = """
import sys
from pathlib import Path
from openaq_pipeline.monitoring.log_file import SharedLogFile
import logging
name, path, lines = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
log = logging.getLogger("writer")
log.propagate = False
def complain(text): sys.exit(text)
log.addHandler(SharedLogFile(path, complain, max_bytes=20_000, backups=60))
sys.stdin.readline()
for number in range(lines):
    log.error("%s-%d-%s", name, number, "x" * (number % 90))
"""


def test_four_processes_rotate_one_file_and_every_line_is_there_once_and_whole(tmp_path: Path) -> None:
    path, lines = tmp_path / "pipeline.log", 2000
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, name, str(path), str(lines)],
            env={"PYTHONPATH": str(ROOT / "dataset"), "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            text=True,
        )
        for name in "abcd"
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    files = [path, *tmp_path.glob("pipeline.log.*")]
    assert len(files) > 10, "it rotated"
    assert all(file.stat().st_size <= 20_000 for file in files)
    found = [line for file in files for line in file.read_text().splitlines()]
    expected = [f"{name}-{number}-{'x' * (number % 90)}" for name in "abcd" for number in range(lines)]
    assert sorted(found) == sorted(expected)


def logger(path: Path, **limits: int) -> tuple[logging.Logger, list[str]]:
    complaints: list[str] = []
    log = logging.Logger("test")  # noqa: LOG001 - one of its own for each test
    log.addHandler(SharedLogFile(path, complaints.append, **limits))
    return log, complaints


def test_the_oldest_file_goes_when_there_are_enough(tmp_path: Path) -> None:
    log, complaints = logger(tmp_path / "log", max_bytes=10, backups=2)
    for number in range(6):
        log.error("line %d", number)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "log": "line 5\n",
        "log.1": "line 4\n",
        "log.2": "line 3\n",
    }
    assert complaints == []


def test_a_line_longer_than_a_file_is_written_all_the_same(tmp_path: Path) -> None:
    log, complaints = logger(tmp_path / "log", max_bytes=10, backups=2)
    log.error("x" * 50)
    log.error("short")
    assert (tmp_path / "log.1").read_text() == "x" * 50 + "\n"
    assert (tmp_path / "log").read_text() == "short\n"
    assert complaints == []


def test_a_file_moved_away_by_others_is_made_anew(tmp_path: Path) -> None:
    log, complaints = logger(tmp_path / "log")
    log.error("one")
    (tmp_path / "log").rename(tmp_path / "elsewhere")
    log.error("two")
    assert (tmp_path / "elsewhere").read_text() == "one\n"
    assert (tmp_path / "log").read_text() == "two\n"
    assert complaints == []


def test_who_waited_while_another_rotated_writes_to_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log, complaints = logger(path)
    log.error("one")
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=log.error, args=("two",))
        waiting.start()
        time.sleep(0.2)  # until it waits for the lock; were it not waiting, the line would be in the old file below
        path.rename(tmp_path / "log.1")
    waiting.join(10)
    assert (path.read_text(), (tmp_path / "log.1").read_text()) == ("two\n", "one\n")
    assert complaints == []


def test_a_link_stays_a_link_when_its_file_rotates(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "log").symlink_to(tmp_path / "real" / "log")
    log, _ = logger(tmp_path / "log", max_bytes=10)
    log.error("line 1")
    log.error("line 2")
    assert (tmp_path / "log").is_symlink()
    assert (tmp_path / "real" / "log.1").read_text() == "line 1\n"


def test_a_record_that_cannot_be_rendered_ends_nothing_and_is_told(tmp_path: Path) -> None:
    log, complaints = logger(tmp_path / "log")
    log.error("%d", "no number")
    log.error("next")
    assert len(complaints) == 1
    assert (tmp_path / "log").read_text() == "next\n"
