"""Who may read what the program writes: its user and the group; of what a user asks for by name, as his umask says."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openaq_pipeline.model import Reject
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.storage.rejects import Rejects
from tests.conftest import Program, Simulate


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """The laxest there is: all that is taken from others is taken by the program."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    found = [folder, *folder.rglob("*")]
    return [f"{path}: {mode:o}" for path in found if (mode := stat.S_IMODE(path.lstat().st_mode)) & 0o027]


def test_nothing_in_the_data_folder_or_the_ledger_s_is_open_to_others(program: Program, simulate: Simulate) -> None:
    simulator = simulate(named.demo())
    program.configure(simulator.base_url, [3459], initial_days=80)
    for script, *arguments in (
        ("incremental_loader.py",),
        ("incremental_loader.py", "--date-from", "2025-01-01", "--date-to", "2025-01-03"),
        ("scheduler.py", "--mode", "once"),
    ):
        program.run(script, *arguments)
    Rejects(program.data).add(3459, [Reject(3459, 34591, "no reason", "{}", datetime(2026, 11, 23, tzinfo=UTC))])
    made = {path.relative_to(program.data).parts[0] for path in program.data.rglob("*")}
    assert {"history", "rejects", ".sealed", ".backfill", ".locks", ".state.json", "pipeline.log", ".lock"} <= made
    assert not open_to_others(program.data)
    assert not open_to_others(program.folder / "state" / "openaq-pipeline")


def test_what_a_user_asks_for_by_name_has_the_permissions_of_his_umask(program: Program, simulate: Simulate) -> None:
    simulator = simulate(named.demo())
    program.configure(simulator.base_url, [3459], initial_days=1)
    assert program.load().code == 0
    os.umask(0o022)
    assert program.run("validator.py", "--output", "report.txt").code == 0
    assert stat.S_IMODE((program.folder / "report.txt").stat().st_mode) == 0o644
