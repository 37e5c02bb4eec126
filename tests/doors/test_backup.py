"""`backup` and `restore` as users call them: files and pipes, what is said, exit codes; and no secret in an archive."""

from __future__ import annotations

import gzip
import os
import pty
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from openaq_pipeline.locks import hold_folder
from openaq_pipeline.simulator.worlds import named
from tests.backup.archives import content, files
from tests.conftest import ROOT, Program, Simulate
from tests.daemon.conftest import change

SECRETS = {
    "OPENAQ_API_KEY": "canary-of-the-key-4711",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/canary-of-slack",
    "WEBHOOK_URL": "https://example.org/canary-of-the-webhook",
    "WEBHOOK_SECRET": "canary-of-the-signature",
    "SMTP_PASSWORD": "canary-of-the-mail",
    "DATABASE_URL": "postgresql://user:canary-of-the-database@127.0.0.1:9/x",
    "HEARTBEAT_URL": "http://127.0.0.1:9/canary-of-the-heartbeat",
}


class Done(NamedTuple):
    code: int
    out: bytes
    err: str


class Shell:
    """Calls commands of the program on its folder, or on another."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.folder = program.folder

    def __call__(
        self, *arguments: object, stdin: bytes | None = None, stdout: IO[bytes] | int = subprocess.PIPE
    ) -> Done:
        command = [sys.executable, "-m", "openaq_pipeline", *map(str, arguments), "--config", str(self.program.config)]
        done = subprocess.run(
            command,
            env=self.program.env | {"PYTHONPATH": str(ROOT / "dataset")},
            cwd=self.folder,
            input=stdin if stdin is not None else b"",
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
        return Done(done.returncode, done.stdout or b"", done.stderr.decode())


@pytest.fixture
def shell(program: Program, simulate: Simulate) -> Shell:
    simulator = simulate(named.demo())
    program.configure(simulator.base_url, [3459, 5506835], initial_days=3)
    program.env |= SECRETS
    change(program, notifications={"enabled": True, "slack": {"enabled": True}})
    assert program.load().code == 0
    return Shell(program)


def test_a_backup_is_made_checked_and_restored_and_a_run_goes_on(shell: Shell) -> None:
    made = shell("backup", "--output", "b.tar.gz")
    assert (made.code, made.out) == (0, b"")
    archive = shell.folder / "b.tar.gz"
    assert "of 2 locations" in made.err
    assert sha256(archive.read_bytes()).hexdigest() in made.err
    assert shell("restore", "--check", archive).out.startswith(f"{archive} is whole: ".encode())
    restored = shell("restore", archive, "--data-dir", "new")
    assert restored.code == 0
    assert b"Restored " in restored.out
    assert files(shell.folder / "new") == files(shell.program.data)
    assert b"all well" in shell("verify", "--data-dir", "new").out
    assert shell.program.load("--data-dir", "new").code == 0


def test_it_goes_through_pipes(shell: Shell) -> None:
    made = shell("backup", "--output", "-")
    assert made.code == 0
    assert content(made.out) == files(shell.program.data)
    assert sha256(made.out).hexdigest() in made.err
    assert shell("restore", "--check", "-", stdin=made.out).code == 0
    assert shell("restore", "-", "--data-dir", "new", stdin=made.out).code == 0
    assert files(shell.folder / "new") == files(shell.program.data)


def test_no_secret_is_in_it_nor_the_settings(shell: Shell) -> None:
    (shell.program.data / ".env").write_text(f"OPENAQ_API_KEY={SECRETS['OPENAQ_API_KEY']}\n")
    (shell.program.data / "config.yaml").write_text(f"key: {SECRETS['OPENAQ_API_KEY']}\n")
    made = shell("backup", "--output", "-")
    assert b"canary" not in made.out
    assert b"canary" not in gzip.decompress(made.out)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("backup", "--output", "data/b.tar.gz"), 2, "in the data folder"),
        (("backup", "--output", "nowhere/b.tar.gz"), 2, "There is no folder"),
        (("backup", "--output", "config.yaml"), 2, "is there already"),
        (("backup", "--output", "b.tar.gz", "--data-dir", "absent"), 2, "no data"),
        (("backup",), 2, "--output"),
        (("restore", "absent.tar.gz"), 2, "There is no file"),
        (("restore", "data"), 2, "There is no file"),
        (("restore", "config.yaml", "--data-dir", "new"), 2, "no backup of this program"),
        (("restore", "-", "--data-dir", "new"), 1, "was cut off"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_and_changes_nothing(
    shell: Shell, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = shell(*arguments)
    assert done.code == code
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (shell.folder / "new").exists()
    assert not (shell.folder / "b.tar.gz").exists()


def test_a_folder_with_data_and_one_at_work_are_refused(shell: Shell) -> None:
    assert shell("backup", "--output", "b.tar.gz").code == 0
    taken = shell("restore", "b.tar.gz")
    assert taken.code == 2
    assert "is not empty" in taken.err
    (shell.folder / "new").mkdir()
    with hold_folder(shell.folder / "new"):
        busy = shell("restore", "b.tar.gz", "--data-dir", "new")
    assert busy.code == 3


def test_a_reader_that_goes_away_and_a_full_disk_are_no_bugs(shell: Shell) -> None:
    with Path("/dev/full").open("wb") as full:
        done = shell("backup", "--output", "-", stdout=full)
    assert (done.code, "No space left" in done.err) == (1, True)
    reader, writer = os.pipe()
    os.close(reader)
    done = shell("backup", "--output", "-", stdout=writer)
    os.close(writer)
    assert done.code == 1
    assert "bug" not in done.err


def test_nothing_is_written_to_a_terminal(shell: Shell) -> None:
    leader, terminal = pty.openpty()
    done = shell("backup", "--output", "-", stdout=terminal)
    assert done.code == 2
    assert "nothing for a terminal" in done.err
    os.close(leader)
    os.close(terminal)
