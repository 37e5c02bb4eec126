"""Debian's Prometheus and its tool, where they are installed; a test that needs one and has none says so."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def program(name: str) -> str:
    """The path of a program of Prometheus; skips without it."""
    found = shutil.which(name)
    if found is None:
        package = name if name == "prometheus-node-exporter" else "prometheus"
        pytest.skip(f"{name} is not installed: `apt-get install --no-install-recommends {package}` brings it")
    return found


def promtool(*arguments: str, stdin: bytes | None = None) -> tuple[int, str]:
    """Run promtool; return its exit code and what it says."""
    command = [program("promtool"), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)
    return done.returncode, (done.stdout + done.stderr).decode()
