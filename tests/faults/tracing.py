"""System calls that are killed, refused or slowed: strace attached to a child of this process.

A fresh interpreter takes a third of a second to start, a fork of this one some milliseconds: that is what makes it
possible to visit every system call of every path. The child stops itself before it begins, strace takes hold of it,
and it goes on. strace counts the calls of each name from there.
"""

from __future__ import annotations

import ctypes
import io
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from openaq_pipeline.errors import PipelineError

WATCHED = "%file,%desc,fsync,fdatasync,flock,ftruncate"
"""What touches files, at least; the child does nothing else of that kind meanwhile."""

CHANGING = {
    *("openat", "write", "writev", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink"),
    *("unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "symlink", "ftruncate", "fchmod", "fchown"),
    *("utimensat", "fallocate"),
}
"""Calls in front of which, or behind which, a kill can leave another state on disk."""

DONE, TOLD, BUG = 0, 9, 70
HANGS_AFTER_SECONDS = 90
PR_SET_PTRACER, ANY = 0x59616D61, ctypes.c_ulong(-1)


class Call(NamedTuple):
    """The `number`-th call of a name, from 1; `changes` says whether it may have changed anything on disk.

    `lets_go`: it closes a lock. strace refuses a call by leaving it out, so the lock would be held on, as on no Linux.
    """

    name: str
    number: int
    changes: bool = False
    lets_go: bool = False


class Ended(NamedTuple):
    """How a traced child ended: its exit code or minus the signal; what strace and the child wrote."""

    code: int
    trace: str
    said: str


def needs_strace() -> None:
    """Skip where strace can't be used."""
    if shutil.which("strace") is None:
        pytest.skip("NOT tested: faults at each system call, because strace is not installed (apt install strace)")


def traced(
    act: Callable[[], object], scratch: Path, *options: str, meanwhile: Callable[[], object] | None = None
) -> Ended:
    """Do something in a child under strace, which exits 0, 9 where a `PipelineError` told of the fault, or 70.

    `meanwhile` is called again and again until it has ended.
    """
    log, said = scratch / "trace", scratch / "said"
    said.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _be_child(act, said)
    try:
        os.waitpid(child, os.WUNTRACED)
        code = _traced(child, ["strace", "-f", "-o", str(log), "-p", str(child), *options], meanwhile)
    finally:
        _end(child)
    return Ended(code, log.read_text(errors="replace"), said.read_text() if said.exists() else "")


def _traced(child: int, command: list[str], meanwhile: Callable[[], object] | None) -> int:
    """Let a child that has stopped go on under strace, and return how it ended."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stderr is not None
            line = tracer.stderr.readline().strip()
            if "attached" not in line:
                pytest.skip(f"NOT tested: faults at each system call, because strace may not trace here ({line})")
            os.kill(child, signal.SIGCONT)
            return _wait(child, meanwhile)
        finally:
            _end(child)  # or strace would wait for it


def _end(child: int) -> None:
    """See to it that a child is gone."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _wait(child: int, meanwhile: Callable[[], object] | None) -> int:
    """Wait for a child and return how it ended; `meanwhile` is called again and again until then."""
    while meanwhile is not None:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        meanwhile()
    descriptor = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([descriptor], [], [], HANGS_AFTER_SECONDS)
    finally:
        os.close(descriptor)
    assert ready, f"it hangs, {HANGS_AFTER_SECONDS} seconds by now"
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _be_child(act: Callable[[], object], said: Path) -> None:
    """Stop, go on when told to, act, and exit."""
    code = BUG
    try:
        logging.disable()
        sys.stderr = io.StringIO()
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        act()
        code = DONE
    except PipelineError as error:
        code = TOLD
        said.write_text(str(error))
    except BaseException:  # noqa: BLE001 - nothing may come back into the test from here
        said.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def calls_of(act: Callable[[], object], scratch: Path) -> list[Call]:
    """Return the calls that something undisturbed makes, in their order."""
    ended = traced(act, scratch, "-y", "-e", f"trace={WATCHED}")
    assert ended.code == DONE, ended.said
    return list(_calls(ended.trace))


def _calls(trace: str) -> Iterator[Call]:
    counts = Counter[str]()
    for line in trace.splitlines():
        if match := re.match(r"\d+ +(\w+)\(", line):
            counts[match[1]] += 1
            looked = match[1] == "openat" and "O_CREAT" not in line
            nothing = looked or " = -1 " in line
            lets_go = match[1] == "close" and ".lock>" in line
            yield Call(match[1], counts[match[1]], match[1] in CHANGING and not nothing, lets_go)


def slowed(act: Callable[[], object], scratch: Path, microseconds: int, meanwhile: Callable[[], object]) -> Ended:
    """Do something each of whose changes of files begins late."""
    names = ",".join(sorted(CHANGING))
    inject = f"inject={names}:delay_enter={microseconds}"
    return traced(act, scratch, "-e", f"trace={names}", "-e", inject, meanwhile=meanwhile)


def injected(act: Callable[[], object], scratch: Path, call: Call, what: str) -> Ended:
    """Do something whose call is disturbed: `signal=KILL`, `error=EIO`; `error=EIO+`: all of its name from there."""
    when = f"{call.number}+" if what.endswith("+") else f"{call.number}"
    inject = f"inject={call.name}:{what.removesuffix('+')}:when={when}"
    return traced(act, scratch, "-e", f"trace={call.name}", "-e", inject)
