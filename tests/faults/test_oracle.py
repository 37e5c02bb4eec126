"""The oracle and the light entry point: an undisturbed run holds all that is acknowledged, and each breach is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults import light, oracle
from tests.faults.catalogue import SCENARIOS
from tests.faults.table import told

BEFORE_MOVE = 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data folder after two rounds, without history."""
    found = tmp_path / "data"
    assert light.store(found, 0, BEFORE_MOVE, lambda _line: None) == 0
    return found


def places(round_number: int) -> set[oracle.Place]:
    return {oracle.Place(*place) for key in light.LOCATIONS for place in light.held(key, round_number)}


def test_the_catalogue_is_complete_and_its_rows_print() -> None:
    assert list(SCENARIOS) == list(range(1, 30))
    assert told((1, "fork", 1000, 0, "")) == "| 1 kill -9 at random time | fork | 1,000 | 0 |"


def test_rounds_hold_what_the_source_shows_on_both_sides_of_the_move(tmp_path: Path) -> None:
    lines: list[str] = []
    assert light.store(tmp_path, 0, light.FIRST_MOVE - 1, lines.append) == 0
    assert not (tmp_path / "history").exists()
    assert oracle.check(tmp_path, restarted=True).keys() == places(light.FIRST_MOVE - 1)
    assert light.store(tmp_path, light.FIRST_MOVE, light.FIRST_MOVE + 1, lines.append) == 0
    assert (tmp_path / "history").exists()
    assert light.acknowledged("\n".join([*lines, ""])) == places(light.FIRST_MOVE + 1)
    found = oracle.check(tmp_path, held=places(light.FIRST_MOVE + 1), restarted=True)
    assert found.keys() == places(light.FIRST_MOVE + 1)
    assert (tmp_path / "rejects" / "location_7.jsonl").exists()


def test_a_line_cut_short_acknowledges_nothing() -> None:
    assert light.acknowledged("stored 0 7") == set()
    assert light.acknowledged("stored 0 7\nstored 0 8") == light.held(7, 0)


def test_the_light_program_prints_what_it_acknowledges(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.light", str(tmp_path), "0", "0"]
    path = os.pathsep.join(map(str, (ROOT / "dataset", ROOT)))
    done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "stored 0 7\nstored 0 8\ndone 0\n"


def test_a_forked_child_does_the_same(folder: Path) -> None:
    reading, writing = os.pipe()
    child = light.forked(folder, BEFORE_MOVE + 1, BEFORE_MOVE + 1, writing)
    os.close(writing)
    with os.fdopen(reading) as file:
        assert file.read() == "stored 3 7\nstored 3 8\ndone 3\n"
    assert os.waitpid(child, 0) == (child, 0)
    oracle.check(folder, held=places(BEFORE_MOVE + 1), restarted=True)


def cut(folder: Path) -> None:
    path = folder / "location_7.json"
    path.write_bytes(path.read_bytes()[:-20])


def lose_a_row(folder: Path) -> None:
    path = folder / "location_7.json"
    path.write_bytes(b"[\n" + b"".join(path.read_bytes().splitlines(keepends=True)[2:]))


def change_a_row(folder: Path) -> None:
    path = folder / "location_7.json"
    path.write_bytes(path.read_bytes().replace(b'"units":"ppm"', b'"units":"ppb"', 1))


def run_ahead(folder: Path) -> None:
    path = folder / ".state.json"
    state = json.loads(path.read_bytes())
    state["locations"]["7"]["sensors"]["71"]["watermark"] = "2027-01-01T00:00:00Z"
    path.write_text(json.dumps(state))


def leave_a_temporary(folder: Path) -> None:
    (folder / "rejects" / ".location_7.jsonl.tmp").touch()


@pytest.mark.parametrize(
    ("spoil", "invariant"),
    [(cut, "I1"), (run_ahead, "I1"), (lose_a_row, "I3"), (change_a_row, "I5"), (leave_a_temporary, "I6")],
)
def test_the_oracle_names_what_does_not_hold(folder: Path, spoil: Callable[[Path], None], invariant: str) -> None:
    expected = oracle.content(folder)
    oracle.check(folder, held=expected, expected=expected, restarted=True)
    spoil(folder)
    with pytest.raises(AssertionError, match=f"^{invariant}:"):
        oracle.check(folder, held=expected, expected=expected, restarted=True)


def test_the_oracle_looks_at_watermarks_itself(folder: Path) -> None:
    run_ahead(folder)
    with pytest.raises(AssertionError, match=r"^I2:"):
        oracle.check_watermarks(folder, oracle.content(folder))


def test_the_oracle_finds_a_row_that_is_there_twice(folder: Path) -> None:
    path = folder / "location_7.json"
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*rows[:2], rows[1], *rows[2:]]))
    with pytest.raises(AssertionError, match=r"^I4:"):
        oracle.content(folder)
