"""`validate`: check the location files on disk, without a key and without a network."""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from openaq_pipeline.cli.show import count, printable
from openaq_pipeline.config import load
from openaq_pipeline.errors import ConfigError, StorageError
from openaq_pipeline.files import USERS_OWN_MODE, replacing
from openaq_pipeline.quality.report import FileReport, check
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage import salvage

LOCATION_FILE = re.compile(r"location_([1-9][0-9]{0,9})\.json", re.ASCII)


class Validated(msgspec.Struct, frozen=True):
    """The check of one file; `report` is None and `error` set when it could not be read."""

    file: str
    report: FileReport | None
    error: str | None = None


class Validation(msgspec.Struct, frozen=True):
    """The checks of all files; `quality_score` is over all rows, None without rows; `passed` decides the exit code."""

    files: tuple[Validated, ...]
    rows: int
    quality_score: float | None
    min_quality: float
    passed: bool


def main(namespace: argparse.Namespace) -> int:
    """Check the files the flags name; return 0 if all are whole and good enough, else 1."""
    settings = load(config=namespace.config, data_dir=namespace.data_dir)
    paths = chosen(namespace.file, settings.data_dir, everything=namespace.all)
    if namespace.output is not None:
        check_output(namespace.output, paths, settings.data_dir)
    draw = random.Random(namespace.seed)  # noqa: S311 - a sample, not a secret
    files = tuple(_validate(path, settings, namespace.sample, draw) for path in paths)
    bar = namespace.min_quality
    result = _summary(files, settings.monitoring.alerts.min_quality_score if bar is None else bar)
    text = _json(result) if namespace.format == "json" else as_text(result)
    if namespace.output is None:
        print(text)
    else:
        with replacing(namespace.output.absolute(), mode=USERS_OWN_MODE) as file:
            file.write(f"{text}\n".encode())
    return 0 if result.passed else 1


def check_output(output: Path, paths: Iterable[Path], folder: Path) -> None:
    """Raise `ConfigError` if the report would take the place of data."""
    target = output.resolve()
    if target in {path.resolve() for path in paths} or target.parent == folder.resolve():
        raise ConfigError(f"--output {output} would overwrite data", hint="Name a file outside the data folder.")


def chosen(names: Iterable[str] | None, folder: Path, *, everything: bool) -> list[Path]:
    """Return the files to check, each once; raises `ConfigError` for a name that matches nothing."""
    found: dict[Path, None] = {}
    for name in names or ():
        matches = matching(name, folder)
        if not matches:
            raise ConfigError(f"No file matches {name}", hint=f"Looked here and in {folder}.")
        found.update(dict.fromkeys(matches))
    if everything or not names:
        mine = sorted(path for path in folder.glob("location_*.json") if LOCATION_FILE.fullmatch(path.name))
        if not mine and not names:
            raise ConfigError(f"There is no location file in {folder}", hint="Run the main job first, or name a file.")
        found.update(dict.fromkeys(mine))
    return list(found)


def matching(name: str, folder: Path) -> list[Path]:
    """Return what a name means: the file or glob as given, else inside the data folder."""
    for base in (Path.cwd(), folder):
        if (base / name).is_file():
            return [base / name]
        if any(mark in name for mark in "*?["):
            path = base / name  # an absolute name stays as it is
            matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
            if matches := [match for match in matches if match.is_file()]:
                return matches
    return []


def _validate(path: Path, settings: Settings, sample: int | None, draw: random.Random) -> Validated:
    try:
        found = salvage.read(path)
    except StorageError as error:
        return Validated(str(path), None, str(error))
    name = LOCATION_FILE.fullmatch(path.name)
    report = check(
        found.rows,
        settings.validation,
        expected_location_id=int(name[1]) if name else None,
        undecodable=found.unreadable,
        only=None if sample is None else draw.sample(range(len(found.rows)), min(sample, len(found.rows))),
    )
    return Validated(str(path), report)


def _summary(files: tuple[Validated, ...], bar: float) -> Validation:
    reports = [file.report for file in files if file.report is not None]
    rows, clean = sum(report.rows for report in reports), sum(report.clean for report in reports)
    quality = round(100.0 * clean / rows, 2) if rows else None
    whole = len(reports) == len(files) and not any(report.broken for report in reports)
    return Validation(files, rows, quality, bar, whole and (quality is None or quality >= bar))


def as_text(result: Validation) -> str:
    """Return the checks for people."""
    lines: list[str] = []
    for file in result.files:
        lines += _file_lines(file)
    quality = "no rows" if result.quality_score is None else f"quality {result.quality_score:.2f} %"
    verdict = "passed" if result.passed else "FAILED"
    lines.append(
        f"{verdict}: {count(len(result.files), 'file')}, {count(result.rows, 'row')}, {quality} "
        f"(at least {result.min_quality:g} % wanted)"
    )
    return "\n".join(lines)


def _file_lines(file: Validated) -> list[str]:
    report = file.report
    if report is None:
        return [f"{file.file}: {file.error}"]
    score = "no rows" if report.quality_score is None else f"{report.quality_score:.2f} % clean"
    lines = [f"{file.file}: {count(report.rows, 'row')} of {count(len(report.sensors), 'sensor')}, {score}"]
    for finding in report.findings:
        lines.append(f"  {finding.severity}: {finding.rule}: {printable(finding.message, 400)}")
        if finding.hint:
            lines.append(f"    {finding.hint}")
    return lines


def _json(result: Validation) -> str:
    return msgspec.json.format(msgspec.json.encode(result), indent=2).decode()
