"""What a command loads when it starts: every user waits for it, and a daemon keeps it for months."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from openaq_pipeline.cli.arguments import COMMANDS, make_parser
from tests.conftest import ROOT

HEAVY = ("duckdb", "fastapi", "numpy", "pyarrow", "uvicorn")


@pytest.mark.parametrize(
    ("command", "spared"),
    [
        ("schedule", (*HEAVY, "requests", "rich")),  # a run, which asks OpenAQ, is a process of its own
        ("monitor", (*HEAVY, "asyncio", "requests")),
        ("run", (*HEAVY, "asyncio", "rich")),
    ],
)
def test_a_command_loads_nothing_heavy_that_it_does_without(command: str, spared: tuple[str, ...]) -> None:
    module = {"monitor": "openaq_pipeline.cli.monitor_show"}.get(command, f"openaq_pipeline.cli.{command}_command")
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {set(spared)}))"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "dataset")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_without_a_command_tells_of_all_commands() -> None:
    shown = make_parser("openaq-pipeline", ["--help"]).format_help()
    assert {name for name, *_ in COMMANDS} <= {line.split()[0] for line in shown.splitlines() if line.strip()}
