"""Wheel and source distribution, built from a copy of the project as a clean checkout has it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

PARTS = (
    *("pyproject.toml", "MANIFEST.in", "requirements.txt", "README.md", "LICENSE", "config.yaml", ".env.example"),
    "dataset",
)
"""All that a build reads."""


class Built(NamedTuple):
    """`wheel` was made from `sdist`, `direct` from the checkout itself."""

    sdist: Path
    wheel: Path
    direct: Path


def built(folder: Path) -> Built:
    """Build everything with what is installed here; asks no network."""
    source = folder / "source"
    source.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, source / name)
    _build(source, folder / "dist")
    _build(source, folder / "direct", "--wheel")
    (sdist,), (wheel,), (direct,) = (
        list(place.glob(pattern))
        for place, pattern in ((folder / "dist", "*.tar.gz"), (folder / "dist", "*.whl"), (folder / "direct", "*.whl"))
    )
    return Built(sdist, wheel, direct)


def _build(source: Path, target: Path, *flags: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *flags, "--outdir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel but for the list of them."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}
