"""What the workflow's scripts do where a whole run would show little: the ledger's clocks, rows of two sides, words."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.openaq.budget import Budget
from tests.conftest import ROOT
from tests.scripts import script

ledger, rows, report, slack = (script(f".github/scripts/{name}.py") for name in ("ledger", "rows", "report", "slack"))

# --- the ledger ---


@contextmanager
def budget(kept: Path, now: float) -> Iterator[Budget]:
    """The ledger on a machine whose monotonic clock says `now`."""
    path = kept / "state/openaq-pipeline/budget-0.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(Budget(path, per_minute=60, per_hour=2000, clock=lambda: now)) as opened:
        yield opened


def carry(kept: Path, minutes: float, *, uptime_before: float, uptime_now: float) -> None:
    ledger.remember(kept, monotonic=lambda: uptime_before, wall=lambda: 1e9)
    ledger.take(kept, monotonic=lambda: uptime_now, wall=lambda: 1e9 + 60 * minutes)


@pytest.mark.parametrize("uptime_now", [5.0, 100_000.0], ids=["a younger machine", "an older machine"])
@pytest.mark.parametrize(("minutes", "minute", "hour"), [(0.5, 3, 3), (30, 0, 3), (70, 0, 0)])
def test_a_request_of_another_machine_is_as_old_here_as_it_is(
    tmp_path: Path, uptime_now: float, minutes: float, minute: int, hour: int
) -> None:
    with budget(tmp_path, 900.0) as before:
        for _ in range(3):
            before.acquire()
    carry(tmp_path, minutes, uptime_before=900.0, uptime_now=uptime_now)
    with budget(tmp_path, uptime_now) as after:
        use = after.use()
    assert (use.minute, use.hour) == (minute, hour)


def test_a_block_of_the_server_holds_on_the_next_machine_for_what_is_left_of_it(tmp_path: Path) -> None:
    with budget(tmp_path, 900.0) as before:
        before.observe({"x-ratelimit-reset": "1800"}, refused=True)
    carry(tmp_path, 10, uptime_before=900.0, uptime_now=7.0)
    for passed, free in ((1199, False), (1201, True)):
        with budget(tmp_path, 7.0 + passed) as after:
            assert after.is_free() is free


def test_a_wall_clock_that_went_back_makes_no_request_younger_or_older_than_it_was(tmp_path: Path) -> None:
    with budget(tmp_path, 900.0) as before:
        before.acquire()
    carry(tmp_path, -600, uptime_before=930.0, uptime_now=7.0)
    with budget(tmp_path, 7.0) as after:
        assert after.use().minute == 1


def test_a_first_run_has_nothing_to_carry(tmp_path: Path) -> None:
    ledger.take(tmp_path)
    assert not list(tmp_path.iterdir())


# --- rows ---

VERSIONS = st.dictionaries(st.tuples(st.sampled_from("abcd"), st.integers(1, 2)), st.sampled_from("xyz"))


@given(VERSIONS, VERSIONS, VERSIONS)
def test_a_change_of_either_side_is_in_the_outcome_and_ours_where_both_changed(
    base: dict[Any, str], theirs: dict[Any, str], ours: dict[Any, str]
) -> None:
    found = rows.merged(base, theirs, ours)
    assert list(found) == sorted(found)
    for key in base.keys() | theirs.keys() | ours.keys():
        before, there, here = base.get(key), theirs.get(key), ours.get(key)
        assert found.get(key) == (here if here != before else there)


@pytest.mark.parametrize("content", ["", "[]\n"])
def test_two_files_become_one_that_the_program_writes_the_same(tmp_path: Path, content: str) -> None:
    base, theirs, ours = (tmp_path / name for name in ("base", "theirs", "ours"))
    base.write_text(content)
    lines = [f'{{"datetime":"2026-01-0{day}T00:00:00Z","sensors_id":{day}}}' for day in (1, 2)]
    theirs.write_text(f"[\n{lines[1]}\n]\n")
    ours.write_text(f"[\n{lines[0]}\n]\n")
    rows.main(base, theirs, ours)
    assert theirs.read_text() == f"[\n{lines[0]},\n{lines[1]}\n]\n"
    ours.write_text("[]\n")
    rows.main(theirs, theirs, ours)
    assert theirs.read_text() == "[]\n"


@pytest.mark.parametrize("content", ["what is this?", '[{"datetime":"a","sensors_id":1}]', "<<<<<<< HEAD\n[\n]\n"])
def test_what_is_no_location_file_is_left_to_a_person(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    with pytest.raises(ValueError):  # noqa: PT011 - json's own or ours
        rows.main(*[tmp_path / "file"] * 3)
    assert (tmp_path / "file").read_text() == content


# --- words ---


def place(location_id: int, name: str, outcome: str = "ok", new: int = 0) -> dict[str, Any]:
    counts = {"new": new, "revised": 0, "identical": 0, "rejected": 0}
    return {"location_id": location_id, "name": name, "outcome": outcome, "error": None, **counts}


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a report of these locations, and return the page that is made of it."""

    def tell(*places: dict[str, Any], **environment: str) -> str:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "report").mkdir(exist_ok=True)
        figures = {"started": "2026-11-28T22:00:00Z", "duration_seconds": 7.0, "requests": 9, "quality_score": 99.9}
        (tmp_path / "report/run.json").write_text(json.dumps({**figures, "error": None, "locations": places}))
        for name, value in {"GITHUB_STEP_SUMMARY": str(tmp_path / "page.md"), **environment}.items():
            monkeypatch.setenv(name, value)
        report.main("summary")
        return (tmp_path / "page.md").read_text()

    return tell


def test_the_page_shows_the_worst_locations_first_and_counts_all(told: Any) -> None:
    page = told(*(place(n, f"Station {n}", new=n) for n in range(1, 100)), place(7000, "Broken", "failed"))
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    assert lines[2].startswith("| 7000 | Broken | failed |")
    assert lines[3].startswith("| 99 | Station 99 | ok | 99 |")
    assert lines[-2] == "| | and 50 more | | | | | | |"
    assert lines[-1] == "| | **all** | | **4,950** | **0** | **0** | **0** | |"


HOSTILE = "a|b <img src=x> [click](https://evil.example) ![](https://evil.example)\n| 1 | `x` **now** @everybody"


def test_a_name_is_letters_alone_on_the_page(told: Any) -> None:
    (line,) = [line for line in told(place(1, HOSTILE)).splitlines() if line.startswith("| 1 |")]
    for mark in ("<", "[", "]", "(", "!", "`", "*", "@", "|"):
        assert f" {mark}" not in line.removeprefix("| 1 |").partition(" | ok |")[0].replace(f"\\{mark}", "")


def test_the_same_failure_is_told_in_the_same_words_and_another_one_in_others() -> None:
    assert slack.news("failure", "It fell short", "") == "It fell short"
    assert slack.news("failure", "It fell short", "It fell short") is None
    assert slack.news("failure", "The key is missing", "It fell short") == "The key is missing"
    assert slack.news("cancelled", "The workflow has failed", "") is None
    assert slack.news("success", "All is well", "") is None


# --- the log ---


def shielded(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    text = f". {ROOT}/.github/scripts/common.sh\nshielded report/log bash -c '{program}'\n"
    return subprocess.run(["bash", "-c", text], cwd=tmp_path, text=True, capture_output=True, check=False)


def test_the_runner_obeys_nothing_that_a_program_prints(tmp_path: Path) -> None:
    said = [shielded(tmp_path, 'echo "::add-mask::a"; echo "::error::b" >&2; exit 3') for _ in range(2)]
    tokens = set()
    for done in said:
        assert done.returncode == 3
        first, *between, last = done.stdout.splitlines()
        token = first.removeprefix("::stop-commands::")
        assert last == f"::{token}::"
        assert sorted(between) == ["::add-mask::a", "::error::b"]
        tokens.add(token)
    assert len(tokens) == 2, "a token that can be guessed ends the shield"
    assert (tmp_path / "report/log").read_text().count("\n") == 2
