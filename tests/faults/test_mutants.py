"""The mutants can still be made: their text stands in the code, and their tests are there. See `make mutants`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.faults import mutants
from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.works import WORKS


def test_there_are_enough_of_them_and_no_two_are_the_same() -> None:
    assert len(MUTANTS) >= 12
    assert len({mutant.name for mutant in MUTANTS}) == len({(each.file, each.new) for each in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_can_be_made_and_is_python_and_its_test_exists(mutant: Mutant, tmp_path: Path) -> None:
    source = mutants.ROOT / mutants.PACKAGE / mutant.file
    path = tmp_path / mutants.PACKAGE / mutant.file
    path.parent.mkdir(parents=True)
    path.write_text(source.read_text())
    mutants.broken(tmp_path, mutant)
    ast.parse(path.read_text())
    module, _, test = mutant.test.partition("::")
    name, _, case = test.rstrip("]").partition("[")
    assert f"def {name}(" in (mutants.ROOT / module).read_text()
    assert case in {"", *WORKS}
