"""Every command in the images: what was left out of the packages to make them small is missed by none."""
# ruff: noqa: S108 - /tmp is the container's own

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from tests.containers.engine import Container
from tests.containers.harbour import OFTEN, Harbour

OLD = f"{datetime.now(UTC) - timedelta(days=200):%Y-%m-%d}"
"""A day that no longer stays in the location files: it moves to the history."""

TWO = ("--locations", "3459", "5506835")


class Said(NamedTuple):
    """A command, the exit code it has in a sound image, and words of what it prints."""

    command: tuple[str, ...]
    code: int
    words: str


COMMANDS = (
    Said(("init",), 2, "config.yaml: is there already"),
    Said(("preflight",), 0, "ok"),
    Said(("run", *TWO), 0, "2 locations: 2 ok"),
    Said(("backfill", *TWO, "--date-from", OLD, "--date-to", f"{OLD}T12:00"), 0, "2 locations"),
    Said(("schedule", "--mode", "once"), 0, "10 locations: 10 ok"),
    Said(("monitor",), 0, "3459"),
    Said(("monitor", "--check"), 0, "healthy"),
    Said(("validate", "--all"), 0, "passed: "),
    Said(("verify",), 0, "all well"),
    Said(("audit", "--offline", *TWO), 1, "2 locations"),
    Said(("query", "SELECT count(*) > 1000 FROM measurements"), 0, "True"),
    *(
        Said(("export", "--format", form, "--output", f"/tmp/export.{form}"), 0, "rows")
        for form in ("csv", "parquet", "json", "xlsx")
    ),
    Said(("backup", "--output", "/tmp/backup.tar.gz"), 0, "backup.tar.gz"),
    Said(("restore", "/tmp/backup.tar.gz", "--data-dir", "/tmp/restored"), 0, "/tmp/restored"),
    Said(("deliver",), 0, ""),
    Said(("sync-postgres",), 2, "storage.postgres.enabled"),
    Said(("first-run", "--data-dir", "/tmp/first"), 0, "MADE-UP"),
)
"""In this order, on one volume. `page` and `simulator` are what the other tests' containers run."""

IMPORTS = """
import importlib, pkgutil
import openaq_pipeline
for found in pkgutil.walk_packages(openaq_pipeline.__path__, "openaq_pipeline."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
import pyarrow, pyarrow.compute, pyarrow.csv, pyarrow.dataset, pyarrow.fs, pyarrow.json, pyarrow.parquet
pyarrow.fs.S3FileSystem(anonymous=True, region="us-east-1")
import numpy.linalg, numpy.random, duckdb, psycopg, xlsxwriter
psycopg.pq.version()
import apprise
assert apprise.Apprise().add("json://localhost")
import io
from PIL import Image, ImageDraw, ImageFont
picture = Image.new("RGB", (90, 30))
ImageDraw.Draw(picture).text((2, 2), "PM2.5 \\u00b5g/m\\u00b3", font=ImageFont.load_default(16))
picture.save(io.BytesIO(), "PNG")
print("all there")
"""
"""Loads every module of the program, and of what it builds on what it uses."""


@pytest.fixture(scope="module")
def workshop(port: Harbour, tmp_path_factory: pytest.TempPathFactory) -> Container:
    """A container in which nothing runs yet."""
    wide = port.wide(tmp_path_factory.mktemp("config"))
    return port.start(["sleep", "infinity"], volume=port.volume(), options=[*wide, "--no-healthcheck"])


def test_all_that_the_program_may_load_is_there(workshop: Container) -> None:
    done = workshop.execute("python", "-c", IMPORTS)
    assert done.out == "all there\n", done.said


def test_every_command_works(workshop: Container) -> None:
    for each in COMMANDS:
        unknown = ["--env", "OPENAQ_API_KEY="] if each.command[0] == "first-run" else []
        done = workshop.execute("openaq-pipeline", *each.command, options=["--workdir", "/tmp", *unknown])
        assert done.code == each.code, (each.command, done.said)
        assert each.words in done.said, (each.command, done.said)
    assert workshop.execute("ls", "/data/history").out.split() == ["location_id=3459", "location_id=5506835"]


def test_no_command_is_forgotten_here(workshop: Container) -> None:
    shown = workshop.execute("openaq-pipeline", "--help").out
    there = set(re.findall(r"^    ([a-z][a-z-]+)(?: |$)", shown, re.MULTILINE))
    assert there == {each.command[0] for each in COMMANDS} | {"page", "simulator"}


@pytest.mark.parametrize("script", ["incremental_loader", "scheduler", "validator", "monitor", "test_pipeline"])
def test_every_script_is_there_too(workshop: Container, script: str) -> None:
    assert workshop.execute("python", f"dataset/{script}.py", "--help").out.startswith(f"usage: {script}.py")


def test_the_small_image_polls_checks_and_watches_and_says_what_it_does_not_have(
    port: Harbour, loader_image: str
) -> None:
    container = port.start(volume=port.volume(), image=loader_image, options=OFTEN)
    container.becomes("healthy")
    container.logs("The next run is due")
    for script, flags in (("validator", ["--all"]), ("monitor", []), ("test_pipeline", [])):
        done = container.execute("python", f"dataset/{script}.py", *flags)
        assert done.code == 0, done.said
    for command, missing in (
        (("query", "SELECT 1"), "duckdb"),
        (("export", "--format", "csv", "--output", "/tmp/x.csv"), "pyarrow"),
        (("simulator",), "fastapi"),
    ):
        done = container.execute("openaq-pipeline", *command)
        assert (done.code, missing in done.err) == (2, True), done.said
    assert container.stop() == 0
