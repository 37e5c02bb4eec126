"""The README against the code: nothing shown that does not exist or does not work."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from openaq_pipeline.cli.arguments import make_parser
from openaq_pipeline.model import Measurement
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Program, Simulate
from tests.faults.catalogue import SCENARIOS

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "PIPELINE_README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks/README.md",
]
COMMANDS = re.findall(r"^\| `((?:python|openaq-pipeline) [^`]+)` \|", README, re.MULTILINE)
DOORS = {
    "incremental_loader.py": "run",
    "scheduler.py": "schedule",
    "validator.py": "validate",
    "monitor.py": "monitor",
    "test_pipeline.py": "preflight",
}


def block(language: str) -> str:
    """The first code block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, language
    return found[1]


def test_the_two_commands_are_targets_of_the_makefile_and_the_test_line_is_what_ci_calls() -> None:
    assert block("console").splitlines() == ["$ make run", "$ make test"]
    for target in set(re.findall(r"make ([a-z]+)`", README)):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shown_is_one_the_program_understands(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "python":
        script = Path(arguments.pop(0))
        assert (ROOT / script).is_file()
        arguments.insert(0, DOORS[script.name])
    make_parser("openaq-pipeline", arguments).parse_args(arguments)


def test_every_flag_of_the_scripts_is_shown() -> None:
    for script in DOORS:
        command = [sys.executable, str(ROOT / "dataset" / script), "--help"]
        shown = subprocess.run(
            command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
        ).stdout
        for flag in set(re.findall(r"--[a-z][a-z-]+", shown)) - {"--help"}:
            assert f"{flag} " in README or f"{flag}`" in README, flag


def test_the_sample_row_has_the_fields_of_a_measurement_and_reads_as_one() -> None:
    sample = block("json")
    assert list(json.loads(sample)) == list(Measurement.__struct_fields__)
    assert msgspec.json.encode(msgspec.json.decode(sample, type=Measurement)).decode() == sample.strip()


def test_the_structure_shown_is_the_structure_there_is() -> None:
    shown = block("text")
    package = ROOT / "dataset/openaq_pipeline"
    rooms = {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    for name in rooms:
        assert f"    {name}/ " in shown, name
    for name in modules | set(DOORS):
        assert name in shown, name
    assert {path.name for path in (ROOT / "dataset").glob("*.py")} == set(DOORS)
    for name in re.findall(r"[\w/]+\.(?:py|yaml)|^[a-z]+(?:/[a-z]+)?/", shown, re.MULTILINE):
        assert (ROOT / name).exists() or (ROOT / "dataset" / name).exists() or (package / name).exists(), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_decision_record_is_in_the_index_under_its_title() -> None:
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text()
    for path in folder.glob("0*.md"):
        assert f"[{path.name[:4]}]({path.name})" in index
        assert path.read_text().startswith(f"# {path.name[:4]} ")


def test_the_ways_of_reading_the_files_work_as_shown(
    program: Program, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator = simulate(named.demo())
    program.configure(simulator.base_url, [3459, 5506835], initial_days=5)
    assert program.load().code == 0
    monkeypatch.setenv("DATA_DIR", str(program.data))
    exec(block("python"), {})  # noqa: S102 - it is our own README
    means = capsys.readouterr().out
    assert re.search(r"\d{4}-\d\d-\d\d 00:00:00\+05:45 +\d+\.\d", means)
    asked = subprocess.run(
        [sys.executable, "-m", "openaq_pipeline", "query", block("sql"), "--format", "csv"],
        cwd=ROOT / "dataset",
        capture_output=True,
        text=True,
        check=True,
    )
    table = pd.read_csv(io.StringIO(asked.stdout), parse_dates=["day"])
    assert set(table.columns) == {"location_id", "parameter", "units", "day", "mean", "rows"}
    assert set(table.location_id) == {3459, 5506835}
    assert pd.api.types.is_datetime64_any_dtype(table.day)


def test_the_changelog_names_the_version_of_the_project_or_what_is_unreleased() -> None:
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()


def test_what_security_md_is_shown_by_exists() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    named = set(re.findall(r"`((?:tests|\.ci)/[\w./-]+)`", text))
    assert len(named) > 15
    for path in named:
        assert (ROOT / path).exists(), path


def test_every_test_that_the_documents_name_exists() -> None:
    named = {found for path in DOCUMENTS for found in re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", path.read_text())}
    for module, test in named:
        assert f"def {test}(" in (ROOT / module).read_text(), f"{module}::{test}"


def test_the_track_record_has_every_scenario_of_the_catalogue() -> None:
    record = (ROOT / "docs/RELIABILITY.md").read_text()
    for number, scenario in SCENARIOS.items():
        fault = scenario.fault.replace("|", "\\|")
        assert f"| {number} {fault} |" in record, f"scenario {number}"
