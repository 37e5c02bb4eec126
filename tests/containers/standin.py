"""A stand-in for `python:3.11-slim-bookworm`, for machines from which no registry of images is reached.

Made of Debian's own packages by `mmdebstrap`, and like the original in what an image can notice: Debian 12 without
manuals and languages, Python 3.11 and pip 24.0 as /usr/local/bin/python and pip, nothing compiled of the standard
library. It also has what this machine reaches its package index by: pip's settings and the certificates.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.containers.engine import BUILD_SECONDS, Engine

NAME = "python:3.11-slim-bookworm"
LABEL = "stand-in"
PACKAGES = ("ca-certificates", "netbase", "python3", "python3-distutils", "tzdata")
HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"
"""Folders of / are links into /usr from the beginning; else a package would come along that needs Perl, 45 MB of it."""

LEFT_OUT = ("doc", "groff", "info", "linda", "lintian", "locale", "man")
"""Of /usr/share, as `debian:bookworm-slim` has it."""

PIP = "pip==24.0"
KEPT_OF_PIP = {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries"}
PULL_SECONDS = 300
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def base(engine: Engine) -> str:
    """Return the image to build on: the original where it can be had, else the stand-in, made if need be.

    Skips, and says so, where neither can be.
    """
    if engine.has(NAME):
        made_from = engine.inspect(NAME)["Config"]["Labels"] or {}
        if made_from.get(LABEL, recipe()) == recipe():
            return NAME
    if engine.call("pull", "--quiet", NAME, timeout=PULL_SECONDS).code:
        _make(engine)
    return NAME


def recipe() -> str:
    """Return what tells a stand-in from one that was made in another way."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def _make(engine: Engine) -> None:
    if shutil.which("mmdebstrap") is None:
        pytest.skip(f"NOT tested: {NAME} can't be pulled here, and mmdebstrap is not installed")
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder) / "root.tar"
        settings = Path(folder) / "pip.conf"
        settings.write_text(pip_settings())
        _run(*bootstrap(tar, settings))
        engine("import", *_changes(), str(tar), NAME, timeout=BUILD_SECONDS)


def bootstrap(tar: Path, settings: Path) -> list[str]:
    """Return the command that makes the file system."""
    excludes = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
    return [
        *("mmdebstrap", "--variant=minbase", f"--hook-dir={HOOKS}", f"--include={','.join(PACKAGES)}"),
        *(*excludes, "--dpkgopt=path-include=/usr/share/doc/*/copyright"),
        *(f"--customize-hook={line}" for line in _finish(settings)),
        *("bookworm", str(tar)),
    ]


def _finish(settings: Path) -> list[str]:
    """Return the lines of shell that make the original's Python of Debian's; `$1` is the file system's root."""
    pip = shlex.join([sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--root-user-action=ignore"])
    return [
        'cd "$1/usr/local/bin" && for name in python python3 python3.11; do ln -s /usr/bin/python3.11 "$name"; done',
        f'{pip} --target "$1/usr/local/lib/python3.11/dist-packages" {PIP}',
        r"""cd "$1/usr/local/bin" && printf '#!/bin/sh\nexec python -m pip "$@"\n' > pip && chmod 755 pip""",
        'rm -rf "$1/usr/local/lib/python3.11/dist-packages/bin" "$1/usr/lib/python3.11/EXTERNALLY-MANAGED"',
        'find "$1/usr/lib/python3" "$1/usr/lib/python3.11" -name __pycache__ -prune -exec rm -rf {} +',
        f'cp {shlex.quote(str(settings))} "$1/etc/pip.conf" && cp {CERTIFICATES} "$1{CERTIFICATES}"',
        'rm -rf "$1"/var/cache/* "$1"/var/log/*',
    ]


def pip_settings() -> str:
    """Return a pip.conf by which pip reaches in a container what it reaches here."""
    lines = _run(sys.executable, "-m", "pip", "config", "list").splitlines()
    given = {name.rpartition(".")[2]: value for name, _, value in (line.partition("=") for line in lines)}
    kept = {name: value.strip("'") for name, value in given.items() if name in KEPT_OF_PIP and "file:" not in value}
    return "\n".join(["[global]", f"cert = {CERTIFICATES}", *(f"{name} = {value}" for name, value in kept.items())])


def _changes() -> list[str]:
    """Return what the engine is to know of the image."""
    said = ("ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "ENV LANG=C.UTF-8")
    return [word for line in (*said, f"LABEL {LABEL}={recipe()}", 'CMD ["python3"]') for word in ("--change", line)]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout
