"""A command in a process of its own, so that the daemon stays small and outlives whatever a run does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from openaq_pipeline import pulse
from openaq_pipeline.config import FROM_FILE, MAX_CONFIG_BYTES
from openaq_pipeline.files import storage_error
from openaq_pipeline.locks import LOCK_VARIABLE
from openaq_pipeline.monitoring.spare import VARIABLE as ALERTS
from openaq_pipeline.monitoring.spare import Spare
from openaq_pipeline.pulse import Pulse

SCORE = 500
"""Of 1,000: more than the daemon can come to, however large it is."""

SOURCE_ROOT = Path(__file__).resolve().parents[2]

PAGE = "page"
PAGE_SCORE = 800
"""Of all children this one can be missed most easily."""

NO_USE_FOR = {
    "run": {"HEARTBEAT_URL"},
    "deliver": {"HEARTBEAT_URL", "OPENAQ_API_KEY", "DATABASE_URL"},
}
"""Secrets by the command that does not need them; what it never had it can't give away."""

PLAIN_VARIABLES = frozenset({"PATH", "HOME", "USER", "TZ", "TZDIR", "TMPDIR", "LANG", "LANGUAGE", "NO_COLOR"})
PLAIN_BEGINNINGS = ("LC_", "PYTHON", "LD_LIBRARY_", "LD_PRELOAD", "DYLD_", "MALLOC_")
"""All that the page is given, who answers anybody: there may be secrets in the environment that are not ours."""


class Snapshot:
    """The configuration as it was when it was checked: later edits hold from the next SIGHUP on, and not before.

    A file without a name in the data folder: it leaves no trace, and is there in a read-only container too.
    """

    def __init__(self, config: Path | None, folder: Path) -> None:
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as its settings
            if config:
                with config.open("rb") as file:
                    self._file.write(file.read(MAX_CONFIG_BYTES))
            self._file.flush()
        except OSError as error:
            raise storage_error(error, config or folder) from error

    def descriptor(self) -> int:
        """Return the open file, set to its beginning."""
        self._file.seek(0)
        return self._file.fileno()

    def close(self) -> None:
        """Forget it; a run that has it open keeps it."""
        self._file.close()


class Memo:
    """A file in memory, or a nameless one where there are none such, for a child to read. Raises `OSError`."""

    def __init__(self, body: bytes) -> None:
        try:
            self._file: IO[bytes] = os.fdopen(os.memfd_create("settings"), "w+b")
        except AttributeError:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as its reader
        self._file.write(body)
        self._file.flush()

    def descriptor(self) -> int:
        """Return the open file, set to its beginning."""
        self._file.seek(0)
        return self._file.fileno()

    def close(self) -> None:
        """Forget it; who has it open keeps it."""
        self._file.close()


class Child:
    """One command (`run`, `deliver` or `page`, and its flags), started on the snapshot's settings.

    `lock` is the open lock of the data folder for it to hold on to, `life` hears its signs of life, and `spare` is
    where alerts are while the disk takes nothing; None for a command that needs none. `more` are further open files
    that its flags name. `ended` is called from another
    thread, once, with the exit code: negative for a signal. Raises `OSError`.
    """

    def __init__(
        self,
        command: Sequence[str],
        snapshot: Snapshot | Memo,
        *,
        folder: Path,
        ended: Callable[[int], None],
        lock: int | None = None,
        life: Pulse | None = None,
        spare: Spare | None = None,
        more: Sequence[int] = (),
    ) -> None:
        config = snapshot.descriptor()
        inherited = [each.descriptor for each in (life, spare) if each] + ([] if lock is None else [lock])
        # -P: a types.py in the current folder must not stand in for Python's own.
        program = [sys.executable, "-P", "-m", "openaq_pipeline"]
        self._process = subprocess.Popen(  # noqa: S603 - our own program, with flags that were checked
            [*program, *command, "--config", f"/dev/fd/{config}", "--data-dir", str(folder)],
            env=_environment(command[0], lock, life, spare),
            stdin=subprocess.DEVNULL,
            stdout=2,  # a daemon has no use for stdout; the report belongs to its log
            pass_fds=[config, *inherited, *more],
            process_group=0,  # Ctrl-C reaches the daemon alone, which then stops the run in order
        )
        _give_way(self._process.pid, PAGE_SCORE if command[0] == PAGE else SCORE)
        self._waiter = threading.Thread(target=lambda: ended(self._process.wait()), name=command[0], daemon=True)
        self._waiter.start()

    def stop(self) -> None:
        """Ask it to end in order."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, a stopped one too."""
        self._process.kill()

    def join(self, seconds: float) -> bool:
        """Wait for the end, so long at most; return whether it came."""
        self._waiter.join(seconds)
        return not self._waiter.is_alive()


def _give_way(pid: int, score: int) -> None:
    """Let a kernel that is short of memory end this child and not the daemon, which outlives it and starts the next."""
    path = Path(f"/proc/{pid}/oom_score_adj")
    with suppress(OSError):  # not Linux, or it has ended already
        path.write_text(str(max(score, int(path.read_text()))))


def _environment(
    command: str, lock: int | None, life: Pulse | None = None, spare: Spare | None = None
) -> dict[str, str]:
    """Return the daemon's environment, with what is handed on, and the package where this one was found.

    Secrets that the command has no use for are left out; for the page all is, but what is known to be none.
    """
    paths = [str(SOURCE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    held = {} if lock is None else {LOCK_VARIABLE: str(lock)}
    heard = {} if life is None else {pulse.VARIABLE: life.name}
    kept = {} if spare is None else {ALERTS: spare.name}
    ours = {name: value for name, value in os.environ.items() if _may_have(command, name)}
    return {**ours, **held, **heard, **kept, "PYTHONPATH": os.pathsep.join(paths)}


def _may_have(command: str, name: str) -> bool:
    """Say whether a command is given a variable."""
    if command == PAGE:
        return name in PLAIN_VARIABLES or name.startswith(PLAIN_BEGINNINGS)
    return name.removesuffix(FROM_FILE) not in NO_USE_FOR.get(command, set())
