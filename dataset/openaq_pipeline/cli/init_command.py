"""`init`: a commented config.yaml and a .env to begin with, in the folder where they are looked for."""

from __future__ import annotations

import argparse
import os
from importlib import metadata
from pathlib import Path

from openaq_pipeline.bounded import whole
from openaq_pipeline.config import CHECKOUT, MAX_CONFIG_BYTES, home
from openaq_pipeline.errors import ConfigError, StorageError

DISTRIBUTION = "openaq-pipeline"

FILES = (("config.yaml", "config.yaml", 0o666), (".env", ".env.example", 0o600))
"""The file, what it is a copy of, and who may read it: `.env` is there for secrets."""

NEXT = """
List your stations in config.yaml under `locations:`, put your key into .env, then:

  openaq-pipeline preflight
  openaq-pipeline run"""


def main(namespace: argparse.Namespace) -> int:
    """Write what is not there yet; return 0. No file is ever overwritten."""
    del namespace
    for name, original, mode in FILES:
        path = home() / name
        print(f"{path}: {'written' if _written(path, original, mode) else 'is there already and stays as it is'}")
    print(NEXT)
    return 0


def _written(path: Path, original: str, mode: int) -> bool:
    """Write a file unless there is one, a dangling link included; return whether it was written."""
    body = shipped(original)
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    except OSError as error:
        hint = "Change to a folder that you may write to."
        raise ConfigError(f"{path} can't be written: {error.strerror}", hint=hint) from error
    try:
        with os.fdopen(number, "wb") as file:
            file.write(body)
    except OSError as error:
        path.unlink()  # half of it would be taken for the whole the next time
        raise StorageError(f"{path} can't be written: {error.strerror}", hint="Free some space, then again.") from error
    return True


def shipped(name: str) -> bytes:
    """Return a file that comes with the program: from the checkout, else from where the wheel put it."""
    places = [CHECKOUT / name]
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        files = []
    places += [Path(str(file.locate())) for file in files if file.parts[-2:] == (DISTRIBUTION, name)]
    for place in places:
        if place.is_file():
            return whole(place, MAX_CONFIG_BYTES)
    raise ConfigError(f"This installation has no {name} to begin with", hint="Take it from the source distribution.")
