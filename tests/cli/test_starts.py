"""What a command loads when it starts: every user waits for it, and a daemon keeps it for months."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openaq_pipeline.cli.arguments import COMMANDS, make_parser
from openaq_pipeline.simulator.worlds import named
from tests import nursery
from tests.conftest import ROOT, USUAL, Program, Simulate

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


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("incremental_loader.py", ("--json",)),
        ("scheduler.py", ("--mode", "once")),
        ("validator.py", ()),
        ("monitor.py", ()),
        ("test_pipeline.py", ()),
    ],
)
def test_a_script_started_by_an_interpreter_of_its_own_does_as_one_that_is_forked(
    programs: Callable[[str], Program], simulate: Simulate, script: str, arguments: tuple[str, ...]
) -> None:
    simulator = simulate(named.bench(locations=1, sensors=1, days=3))
    anew, forked = programs("anew"), programs("forked")
    for program in (anew, forked):
        program.configure(simulator.base_url, [simulator.world.stations[0].id], initial_days=1).load()
    first, second = anew.run_anew(script, *arguments), forked.run(script, *arguments)
    assert first.code == second.code == 0
    assert shape(first.out) == shape(second.out)
    assert shape(first.err) == shape(second.err)


def shape(said: str) -> str:
    """What was said, without the numbers and names that are another start's."""
    return re.sub(r"\s+", " ", re.sub(r"anew|forked|[\d.,]+", "", said))


def test_what_is_forked_has_arguments_environment_folder_umask_and_end_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
import atexit, os, sys, threading, warnings
print(sys.argv[1:], os.getcwd() == os.environ["HERE"], len(os.environ), oct(os.umask(0)), __name__)
threading.Timer(0.1, print, ["a thread"]).start()
atexit.register(print, "at exit")
warnings.warn("told")
""")
    ended = nursery.nursery(tuple(USUAL.items()))
    done = ended.run([str(script), "a", "b"], {"HERE": str(tmp_path)}, tmp_path, 60)
    before = os.umask(0)
    os.umask(before)
    assert done.out.decode().splitlines() == [f"['a', 'b'] True 1 {oct(before)} __main__", "a thread", "at exit"]
    assert (done.code, done.err.decode().splitlines()[-1]) == (1, "UserWarning: told")
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert ended.run([str(script)], {}, tmp_path, 60) == (-signal.SIGTERM, b"", b"")
    script.write_text("import sys; sys.exit('a sentence')")
    assert ended.run([str(script)], {}, tmp_path, 60) == (1, b"", b"a sentence\n")
    script.write_text("import time; time.sleep(600)")
    with pytest.raises(subprocess.TimeoutExpired):
        ended.run([str(script)], {}, tmp_path, 0.5)


def test_help_without_a_command_tells_of_all_commands() -> None:
    shown = make_parser("openaq-pipeline", ["--help"]).format_help()
    assert {name for name, *_ in COMMANDS} <= {line.split()[0] for line in shown.splitlines() if line.strip()}


def test_pandas_is_loaded_by_no_command_and_stays_there_for_whoever_loads_the_package() -> None:
    pytest.importorskip("pandas", reason="NOT tested: pandas is not installed")
    asks = "import pyarrow, sys; pyarrow.array([1]); print('pandas' in sys.modules)"
    command = f"from openaq_pipeline import cli\ntry: cli.main(['--version'])\nexcept SystemExit: pass\n{asks}"
    library = f"from openaq_pipeline import load\n{asks}"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "dataset")}
    said = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for code in (command, library)
    ]
    assert [text.splitlines()[-1] for text in said] == ["False", "True"]
