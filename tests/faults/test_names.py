"""A resolver that takes every question and answers none, in a mount namespace of its own: the whole program ends."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Program
from tests.faults.conftest import Tally, Times

RESOLVER = "127.0.0.99"


@pytest.fixture
def silent_resolver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        try:
            resolver.bind((RESOLVER, 53))
        except OSError as error:
            pytest.skip(f"NOT tested: no resolver of our own ({error.strerror}): it takes root and port 53 of loopback")
        yield resolver


def in_its_world(program: Program, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command for which the silent resolver is the only one."""
    names = program.folder / "resolv.conf"
    names.write_text(f"nameserver {RESOLVER}\noptions timeout:30 attempts:5\n")  # glibc would wait for 150 s
    # What is mounted here has a copy there, which must not keep a disk alive that another test cuts off.
    leave = "grep -o ' /[^ ]*disk ext4' /proc/self/mounts | cut -d' ' -f2 | xargs -r umount --lazy"
    script = f'{leave}; mount --bind "{names}" /etc/resolv.conf && exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *command],
        env=program.env,
        cwd=program.folder,
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )


def test_with_a_resolver_that_is_silent_a_run_ends_and_says_so(
    silent_resolver: socket.socket, program: Program, times: Times, tally: Tally
) -> None:
    if not times(0, 1):
        pytest.skip("NOT tested here but by `make faults-long`: its back-offs take half a minute")
    if shutil.which("unshare") is None or in_its_world(program, "true").returncode:
        pytest.skip("NOT tested: no mount namespace of our own (unshare, CAP_SYS_ADMIN)")
    program.configure("http://openaq.example:8000/v3", [1, 2, 3])
    settings = program.config.read_text().replace('"base_url"', '"timeout_seconds": 1, "base_url"')
    program.config.write_text(settings)
    script = str(ROOT / "dataset" / "incremental_loader.py")
    began = time.monotonic()
    done = in_its_world(program, sys.executable, script, "--config", str(Path(program.config)))
    assert done.returncode == 1, done.stderr
    assert "No whole answer from openaq.example: timed out" in done.stderr
    assert time.monotonic() - began < 100, "glibc alone takes 150 s for each of twelve tries"
    silent_resolver.settimeout(1)
    assert silent_resolver.recv(500), "it was asked"
    tally(16, "a resolver that is silent, mount namespace", 1)
