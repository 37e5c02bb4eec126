"""Environments of Python with just some packages: made of links to those that are here, so that no network is asked."""

from __future__ import annotations

import re
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

PINNED = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)


def locked(lock: Path) -> list[str]:
    """The packages of a lock file."""
    return PINNED.findall(lock.read_text())


def made(folder: Path, packages: Iterable[str]) -> Path:
    """Make an environment that has these packages and no other, without pip; return its Python."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in packages:
        for path in _parts(metadata.distribution(name)):
            if not (site / path.name).exists():
                (site / path.name).symlink_to(path)
    return folder / "bin/python"


def _parts(package: metadata.Distribution) -> Iterable[Path]:
    """What a package has in its site-packages: folders and modules, its metadata too."""
    names = {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}
    return [Path(str(package.locate_file(name))) for name in sorted(names)]
