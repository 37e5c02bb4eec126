"""A runner for one job of a workflow: its shell steps are run for real, in order, as GitHub's runner does.

It knows what our workflows use and refuses all else: `${{ a.path }}`, and `if:` made of `always()`, `failure()` and
`steps.ID.outcome == 'success'`. It stands in for the actions of `ACTIONS`: a checkout is a
clone, the cache and the artifacts are folders.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
PATH = re.compile(r"[a-z]+(\.[A-Za-z_-]+)+")
OUTCOME = re.compile(r"steps\.([a-z]+)\.outcome == 'success'")
SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STEP_SUMMARY")


class Step(NamedTuple):
    """What became of a step; `outcome` is GitHub's word."""

    outcome: str
    log: str = ""
    outputs: Mapping[str, str] = {}


class Run(NamedTuple):
    """What became of a job."""

    conclusion: str
    steps: dict[str, Step]
    summary: str
    artifact: Path

    @property
    def log(self) -> str:
        return "".join(step.log for step in self.steps.values())


class Runner:
    """Machines, one for each run, that have an origin and a cache in common."""

    def __init__(self, folder: Path, code: Path, origin: str, python: str) -> None:
        """`code` is what is in the origin, with what Python has compiled of it."""
        self._folder = folder
        self._code = code
        self._origin = origin
        self.cache = folder / "cache"
        self.runs = 0
        self.tools = tools = folder / "bin"
        tools.mkdir(parents=True)
        for name in ("python", "python3"):
            shim = f'#!/bin/sh\n[ "$1 $2" = "-m pip" ] || exec {python} "$@"\n'  # what is locked is installed already
            (tools / name).write_text(shim)
            (tools / name).chmod(0o755)
        self._env = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "PAUSE_SECONDS": "0",
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "somebody/air",
        }

    def run(
        self,
        workflow: Path,
        *,
        event: str = "schedule",
        ref: str = "main",
        before: Mapping[str, Callable[[Path], object]] | None = None,
        **contexts: Mapping[str, object],
    ) -> Run:
        """Run the only job; `contexts` are `secrets`, `vars`, `inputs`, and `before` is what happens before a step."""
        self.runs += 1
        here = self._folder / f"run{self.runs}"
        (here / "home").mkdir(parents=True)
        github = {"run_id": str(self.runs), "run_attempt": "1", "token": "the-token"}
        machine = _Machine(here, self._code, self._origin, self.cache, {"github": github, **contexts})
        machine.env = {
            **self._env,
            "HOME": str(here / "home"),
            "GITHUB_EVENT_NAME": event,
            "GITHUB_REF_NAME": ref,
            "GITHUB_RUN_ID": str(self.runs),
        }
        text = yaml.safe_load(workflow.read_text())
        assert text["defaults"] == {"run": {"shell": "bash"}}
        (job,) = text["jobs"].values()
        return machine.work(job, before or {})


class _Machine:
    def __init__(
        self, folder: Path, code: Path, origin: str, cache: Path, contexts: dict[str, Mapping[str, object]]
    ) -> None:
        self.workspace, self.artifact = folder / "workspace", folder / "artifact"
        self.env: dict[str, str] = {}
        self._folder, self._code, self._origin, self._cache = folder, code, origin, cache
        self._contexts = contexts
        self._steps: dict[str, Step] = {}
        self._failed = False

    def work(self, job: dict[str, Any], before: Mapping[str, Callable[[Path], object]]) -> Run:
        done: dict[str, Step] = {}
        for name in FILES:
            (self._folder / name).touch()
        self.env |= self._filled(job.get("env", {}))
        for step in job["steps"]:
            if step["name"] in before:
                before[step["name"]](self.workspace)
            made = self._step(step) if self._is_due(step.get("if", "success()")) else Step("skipped")
            done[step["name"]] = made
            self._steps[step.get("id", step["name"])] = made
            self._failed |= made.outcome == "failure"
        conclusion = "failure" if self._failed else "success"
        return Run(conclusion, done, (self._folder / "GITHUB_STEP_SUMMARY").read_text(), self.artifact)

    def _is_due(self, condition: str) -> bool:
        """Say whether a step runs; without a status function it does only after no failure."""
        known = {"always()": True, "failure()": self._failed, "success()": not self._failed}
        atoms = [atom.strip() for atom in condition.split("&&")]
        assert any(atom in known for atom in atoms), condition
        for atom in atoms:
            if found := OUTCOME.fullmatch(atom):
                known[atom] = self._steps[found[1]].outcome == "success"
        return all(known[atom] for atom in atoms)

    def _step(self, step: dict[str, Any]) -> Step:
        if "uses" in step:
            name = step["uses"].partition("@")[0]
            ACTIONS[name](self, {key: self._text(value) for key, value in step.get("with", {}).items()})
            return Step("success")
        assert not EXPRESSION.search(step["run"]), "an expression in a script's text is an injection"
        (self._folder / "GITHUB_OUTPUT").write_text("")
        files = {name: str(self._folder / name) for name in FILES}
        script = self._folder / "step.sh"
        script.write_text(step["run"])
        env = {**self.env, **self._filled(step.get("env", {})), **files}
        done = subprocess.run(
            [*SHELL, str(script)], cwd=self.workspace, env=env, check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        outputs = dict(line.split("=", 1) for line in (self._folder / "GITHUB_OUTPUT").read_text().splitlines())
        return Step("failure" if done.returncode else "success", done.stdout, outputs)

    def _filled(self, env: Mapping[str, object]) -> dict[str, str]:
        return {key: self._text(value) for key, value in env.items()}

    def _text(self, value: object) -> str:
        """Return a value of the workflow with its expressions looked up."""
        return EXPRESSION.sub(lambda found: self._look_up(found[1]), _said(value))

    def _look_up(self, path: str) -> str:
        assert PATH.fullmatch(path), (
            f"{path} is more than a look-up: such logic belongs in a script, where it is tested"
        )
        if path == "job.status":
            return "failure" if self._failed else "success"
        context, *rest = path.split(".")
        if context == "steps":
            step = self._steps.get(rest[0], Step(""))
            return step.outcome if rest[1] == "outcome" else step.outputs.get(rest[2], "")
        (name,) = rest
        return _said(self._contexts.get(context, {}).get(name))

    def check_out(self, given: Mapping[str, str]) -> None:
        assert given == {"persist-credentials": "false"}
        command = ["git", "clone", "--quiet", "--depth", "1", "--branch", "main", self._origin, str(self.workspace)]
        subprocess.run(command, check=True, env=self.env)
        self._hand_over_the_compiled()

    def _hand_over_the_compiled(self) -> None:
        """To compile the program anew on each machine is half of what a run costs, and no part of what is tested."""
        for compiled in self._code.rglob("__pycache__"):
            here = self.workspace / compiled.relative_to(self._code)
            shutil.copytree(compiled, here)
            for source in here.parent.glob("*.py"):  # compiled of a file of this time
                shutil.copystat(compiled.parent / source.name, source)

    def restore(self, given: Mapping[str, str]) -> None:
        found = sorted(self._cache.glob(f"{given['restore-keys']}*"), key=lambda path: path.stat().st_mtime_ns)
        if found:
            shutil.copytree(found[-1], self.workspace / given["path"], copy_function=shutil.copy2)

    def save(self, given: Mapping[str, str]) -> None:
        if (self.workspace / given["path"]).exists():
            shutil.copytree(self.workspace / given["path"], self._cache / given["key"])
            (self._cache / given["key"]).touch()

    def upload(self, given: Mapping[str, str]) -> None:
        assert given["if-no-files-found"] == "ignore"
        assert 1 <= int(given["retention-days"]) <= 30
        if (self.workspace / given["path"]).exists():
            shutil.copytree(self.workspace / given["path"], self.artifact)


def _said(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


ACTIONS: dict[str, Callable[[_Machine, Mapping[str, str]], None]] = {
    "actions/checkout": _Machine.check_out,
    "actions/setup-python": lambda _machine, _given: None,
    "actions/cache/restore": _Machine.restore,
    "actions/cache/save": _Machine.save,
    "actions/upload-artifact": _Machine.upload,
}
