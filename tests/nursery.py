"""Starts of the program that do not load its libraries anew, which is more than half of what a start costs.

A process loads the libraries once and forks at each order; what it forks runs a script of `dataset/` from its first
line, or the package as `-m` does, with arguments, environment, folder, umask and outputs of its own, and ends as Python
does. The program itself is loaded by each. Each script is also started by an interpreter of its own:
`tests/cli/test_starts.py` and whatever takes `Program.start`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MAX_ORDER_BYTES = 100_000

LIBRARIES = (
    *("apscheduler.schedulers.background", "asyncio", "duckdb", "msgspec", "numpy", "psycopg", "pyarrow.compute"),
    *("pyarrow.csv", "pyarrow.parquet", "pydantic", "requests", "rich.live", "rich.table", "sqlite3", "yaml.cyaml"),
    *("argparse", "concurrent.futures.thread", "email.parser", "importlib.metadata", "numpy.typing"),
    *("pydantic.main", "pydantic.plugin._loader", "pydantic.types"),
)

AT_IMPORT = {"ARROW_DEFAULT_MEMORY_POOL": "system", "PYDANTIC_DISABLE_PLUGINS": "1"} | {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "OPENBLAS_NUM_THREADS": "1",
}
"""What the libraries read when they are loaded: what the program sets, and that they start no thread."""

INTERPRETER = ("PYTHON", "LC_", "LANG", "LD_", "TZ", "MALLOC_", "OPENBLAS_", "OMP_")
"""Variables with such names are read by Python or a library when it starts: a start with others is one of its own."""


class Ended(NamedTuple):
    """A program that has ended."""

    code: int
    out: bytes
    err: bytes


class Nursery:
    """Where programs of one interpreter's environment start."""

    def __init__(self, env: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders = ours
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env={**env, **AT_IMPORT},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # of the kind that those have who are forked
            stderr=subprocess.PIPE,
        )
        theirs.close()
        atexit.register(self.close)

    def run(self, words: Sequence[str], env: Mapping[str, str], folder: Path, seconds: float) -> Ended:
        """Run to its end what `python WORDS` would; raises `TimeoutExpired` if it is not over in time, and ends it."""
        umask = os.umask(0)
        os.umask(umask)
        order = {"words": list(words), "env": dict(env), "folder": str(folder), "umask": umask}
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            try:
                socket.send_fds(self._orders, [json.dumps(order).encode()], [out_end, err_end, theirs.fileno()])
            except BrokenPipeError:
                raise RuntimeError(f"there is no nursery: {self._process.communicate()[1].decode()}") from None
            for descriptor in (out_end, err_end):
                os.close(descriptor)
            theirs.close()
            return _followed(words[0], ours, out, err, seconds)

    def close(self) -> None:
        """Let it end; what runs in it goes on."""
        self._orders.close()
        self._process.communicate()


def _followed(script: str, told: socket.socket, out: int, err: int, seconds: float) -> Ended:
    """Read what a program says until it has ended; `told` tells its number and then its end."""
    told.settimeout(seconds)
    pid, until = int(told.recv(100)), time.monotonic() + seconds
    said: dict[int, list[bytes]] = {out: [], err: []}
    with selectors.DefaultSelector() as watched:
        for descriptor in said:
            watched.register(descriptor, selectors.EVENT_READ)
        while watched.get_map():
            ready = watched.select(max(0.0, until - time.monotonic()))
            if not ready and time.monotonic() >= until:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(script, seconds)
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                said[key.fd].append(chunk)
                if not chunk:
                    watched.unregister(key.fd)
                    os.close(key.fd)
    return Ended(int(told.recv(100)), b"".join(said[out]), b"".join(said[err]))


@cache
def nursery(env: tuple[tuple[str, str], ...]) -> Nursery:
    """Return the one of this process for such an environment."""
    return Nursery(dict(env))


def fits(env: Mapping[str, str], usual: Mapping[str, str]) -> bool:
    """Say whether an interpreter that was started with the one would be as one that was started with the other."""
    return sys.platform == "linux" and of_interpreter(env) == of_interpreter(usual)


def of_interpreter(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are read when an interpreter starts."""
    return {name: value for name, value in env.items() if name.startswith(INTERPRETER)}


# --- the process that forks ---


def _serve(orders: socket.socket) -> tuple[dict[str, object], list[int]] | None:
    """Fork at each order; return it in the child. Return None when there are no more."""
    woken, wake = os.pipe()
    for descriptor in (woken, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as watched:
        watched.register(orders, selectors.EVENT_READ)
        watched.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in watched.select()}
            if woken in ready:
                with suppress(BlockingIOError):
                    os.read(woken, 100)
                _bury(running)
            if orders not in ready:
                continue
            body, ends, *_ = socket.recv_fds(orders, MAX_ORDER_BYTES, 3)
            if not body:
                return None
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (orders, *running.values()):
                    each.close()
                os.close(woken)
                os.close(wake)
                return json.loads(body), ends
            for descriptor in ends[:2]:
                os.close(descriptor)
            running[pid] = socket.socket(fileno=ends[2])
            running[pid].send(str(pid).encode())


def _bury(running: dict[int, socket.socket]) -> None:
    """Tell of each program that has ended how it did."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as told, suppress(OSError):  # who gave it up does not listen
            told.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(env: Mapping[str, str], folder: str, umask: int, ends: Sequence[int]) -> None:
    """Be as a process that was started with all this."""
    for number, descriptor in enumerate(ends[:2], start=1):
        os.dup2(descriptor, number)
    for descriptor in ends:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    os.umask(umask)


def _main() -> None:
    for name in LIBRARIES:
        with suppress(ModuleNotFoundError):  # a plain installation has not all of them
            importlib.import_module(name)
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    assert threads == 1, f"{threads} threads: what is forked has only one"
    gc.freeze()
    found = _serve(socket.socket(fileno=int(sys.argv[1])))
    if found is not None:
        order, ends = found
        words: list[str] = order.pop("words")  # type: ignore[assignment]
        _become(**order, ends=ends)  # type: ignore[arg-type]
        _end(_result_of(words))


def _started(words: Sequence[str]) -> None:
    """Run a script, or a module of `dataset/` after `-m`."""
    first, *_ = words
    if first == "-m":
        sys.path[:1] = [str(Path.cwd()), str(ROOT / "dataset")]
        sys.argv[:] = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(first).parent)
        sys.argv[:] = words
        runpy.run_path(first, run_name="__main__")


def _result_of(words: Sequence[str]) -> int:
    """Run what the words say; return the exit code that Python has for its end."""
    try:
        _started(words)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 - Python shows whatever comes
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> None:
    """End as Python does, but take no module down: that would copy all that is shared."""
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does first
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _main()
