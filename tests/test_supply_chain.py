"""What is built on: the lock file against what is asked for, and that nobody takes silence for a clean bill."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

LOCK = ROOT / "requirements.lock"
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ;.*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
PINNED = {name: version for name, version, _ in PIN.findall(LOCK.read_text())}


def asked_for() -> Iterator[Requirement]:
    """Each line of requirements.txt, and what those of them that are here as locked need in turn."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    waiting, seen = [Requirement(line) for line in lines if line], set[str]()
    while waiting:
        wanted = waiting.pop()
        yield wanted
        if str(wanted) in seen or not is_here(canonicalize_name(wanted.name)):
            continue
        seen.add(str(wanted))
        for text in metadata.requires(wanted.name) or []:
            needed = Requirement(text)
            extras = wanted.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)


def is_here(name: str) -> bool:
    """Say whether a package is installed as it is locked; a newer one may need others."""
    try:
        return metadata.version(name) == PINNED.get(name)
    except metadata.PackageNotFoundError:
        return False


def test_the_lock_file_is_nothing_but_versions_with_their_hashes() -> None:
    rest = PIN.sub("", LOCK.read_text())
    assert not [line for line in rest.splitlines() if line and not line.startswith("#")]
    assert len(PINNED) >= 30


def test_the_lock_file_fulfils_all_that_is_asked_for_and_holds_no_more() -> None:
    needed = set()
    for wanted in asked_for():
        name = canonicalize_name(wanted.name)
        assert name in PINNED, f"{name} is not in requirements.lock: `make lock`"
        assert wanted.specifier.contains(PINNED[name]), f"{wanted} is asked for, {PINNED[name]} is locked: `make lock`"
        needed.add(name)
    if all(map(is_here, PINNED)):
        assert set(PINNED) == needed, "requirements.lock holds what nothing asks for: `make lock`"


def test_a_change_of_what_is_asked_for_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("urllib3>=99\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    with pytest.raises(AssertionError, match="is locked"):
        test_the_lock_file_fulfils_all_that_is_asked_for_and_holds_no_more()


# --- bandit and pip-audit ---


@pytest.fixture(scope="module")
def security() -> ModuleType:
    spec = importlib.util.spec_from_file_location("security", ROOT / ".ci/security.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["security"] = module  # for the types of its named tuples
    spec.loader.exec_module(module)
    return module


def results(security: ModuleType) -> list[tuple[str, str, str]]:
    return [
        (file, rule, f"{file}: {rule}") for (file, rule), (times, _) in security.EXPLAINED.items() for _ in range(times)
    ]


def test_what_is_explained_is_no_finding_and_one_more_of_it_is(security: ModuleType) -> None:
    known = results(security)
    assert not list(security.unexplained(known))
    assert [each.what for each in security.unexplained([*known, ("run.py", "B307", "run.py:1: eval")])] == [
        "run.py:1: eval"
    ]
    assert list(security.unexplained([*known, known[-1]])), "once more than was looked at"


def test_an_explanation_without_its_finding_is_one(security: ModuleType) -> None:
    assert len(list(security.unexplained(results(security)[1:]))) == 1


AUDITED = {
    "clean": {"name": "a", "version": "1", "vulns": []},
    "unknown": {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"},
    "flawed": {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]},
}


@pytest.mark.parametrize(
    ("packages", "must_reach", "code", "said"),
    [
        (["clean"], True, 0, "1 packages checked, 0 known"),
        (["clean", "unknown"], False, 0, "NOT CHECKED for known vulnerabilities: 1 of 2"),
        (["unknown"], True, 1, "NOT CHECKED for known vulnerabilities: 1 of 1"),
        (["clean", "flawed"], False, 1, "FOUND: c 2: PYSEC-1, mended in 3"),
        (["unknown", "flawed"], False, 1, "FOUND: c 2: PYSEC-1"),
    ],
)
def test_a_vulnerability_fails_and_what_could_not_be_asked_is_said_to_be_unchecked(
    security: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    packages: list[str],
    must_reach: bool,
    code: int,
    said: str,
) -> None:
    report: dict[str, Any] = {"dependencies": [AUDITED[name] for name in packages]}
    monkeypatch.setattr(security, "bandit", lambda: results(security))
    monkeypatch.setattr(security, "_asked", lambda _lock, _service: json.loads(json.dumps(report)))
    assert security.main(["--must-reach"] if must_reach else []) == code
    assert said in capsys.readouterr().out
