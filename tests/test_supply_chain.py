"""What is built on: the lock file against what is asked for, and that nobody takes silence for a clean bill."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.scripts import script

PLAIN = ROOT / "deploy/container"
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ;.*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def locked(lock: Path) -> dict[str, str]:
    return {name: version for name, version, _ in PIN.findall(lock.read_text())}


PINNED = locked(ROOT / "requirements.lock")
LOCKS = pytest.mark.parametrize(
    ("asked", "lock"),
    [(ROOT / "requirements.txt", ROOT / "requirements.lock"), (PLAIN / "loader.txt", PLAIN / "loader.lock")],
    ids=["all", "plain"],
)


def lines_of(asked: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in asked.read_text().splitlines())
    return [line for line in lines if line]


def asked_for(asked: Path) -> Iterator[Requirement]:
    """Each line of such a file, and what those of them that are here as locked need in turn."""
    waiting, seen = [Requirement(line) for line in lines_of(asked)], set[str]()
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


@LOCKS
def test_a_lock_file_is_nothing_but_versions_with_their_hashes(asked: Path, lock: Path) -> None:
    rest = PIN.sub("", lock.read_text())
    assert not [line for line in rest.splitlines() if line and not line.startswith("#")]
    assert len(locked(lock)) >= len(lines_of(asked))


@LOCKS
def test_a_lock_file_fulfils_all_that_is_asked_for_and_holds_no_more(asked: Path, lock: Path) -> None:
    needed, pinned = set(), locked(lock)
    for wanted in asked_for(asked):
        name = canonicalize_name(wanted.name)
        assert name in pinned, f"{name} is not in {lock.name}: `make lock`"
        assert wanted.specifier.contains(pinned[name]), f"{wanted} is asked for, {pinned[name]} is locked: `make lock`"
        needed.add(name)
    if all(map(is_here, pinned)):
        assert set(pinned) == needed, f"{lock.name} holds what nothing asks for: `make lock`"


def test_a_change_of_what_is_asked_for_is_noticed(tmp_path: Path) -> None:
    asked = tmp_path / "requirements.txt"
    asked.write_text("urllib3>=99\n")
    with pytest.raises(AssertionError, match="is locked"):
        test_a_lock_file_fulfils_all_that_is_asked_for_and_holds_no_more(asked, ROOT / "requirements.lock")


def test_the_plain_installation_is_a_part_of_the_whole_in_the_same_versions() -> None:
    assert set(lines_of(PLAIN / "loader.txt")) < set(lines_of(ROOT / "requirements.txt"))
    assert locked(PLAIN / "loader.lock").items() < PINNED.items(), "`make lock`"


# --- bandit and pip-audit ---


@pytest.fixture(scope="module")
def security() -> ModuleType:
    return script(".ci/security.py")


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
