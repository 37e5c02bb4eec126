"""What makes the image small, without an engine: what is left out, and what is compiled."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts import script


@pytest.fixture(scope="module")
def slim() -> ModuleType:
    return script("deploy/container/slim.py")


def test_all_that_is_left_out_is_there_to_be_left_out(slim: ModuleType) -> None:
    site = Path(sysconfig.get_path("purelib"))
    assert [pattern for pattern in slim.LEFT_OUT if next(site.glob(pattern), None) is None] == []


def test_files_and_folders_are_taken_out_and_the_rest_stays(slim: ModuleType, tmp_path: Path) -> None:
    for name in ("pyarrow/tests/data/x.py", "pyarrow/lib.pyx", "pyarrow/lib.pyi", "pyarrow/lib.py", "PIL/Image.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(100))
    assert slim.take_out(tmp_path) == 300
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["Image.py", "lib.py"]


def test_what_is_compiled_is_loaded_whatever_its_source_looks_like_later(slim: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("a.py", "tests/b.py"):
        (tmp_path / name).write_text("A = 1\n")
    slim.compiled(tmp_path, re.compile(r"/tests/"))
    (made,) = tmp_path.rglob("*.pyc")
    assert made.name.startswith("a.")
    assert int.from_bytes(made.read_bytes()[4:8], "little") == 0b01  # by the source's hash, which is never looked at


def test_a_file_that_cannot_be_compiled_ends_the_build(slim: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("A = (\n")
    with pytest.raises(SystemExit, match="could not be compiled"):
        slim.compiled(tmp_path)
