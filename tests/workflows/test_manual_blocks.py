"""The manual's chapter on GitHub Actions: its commands are executed as they stand, its tables name what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import ROOT
from tests.documents import blocks, section
from tests.workflows.conftest import WORKFLOW, Fork, git

CHAPTER = section("GitHub Actions")


def test_whoever_does_as_the_manual_says_has_the_data_and_sees_what_came(fork: Fork, tmp_path: Path) -> None:
    fork.run()
    (block,) = blocks("GitHub Actions")
    place = tmp_path / "checkout"
    place.mkdir()
    (place / "dataset").symlink_to(ROOT / "dataset")
    settings = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{fork.url}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/YOU/openaq-pipeline.git",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-e", "-c", block],
        cwd=place,
        env={**os.environ, **settings},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '+{"location_id":' in done.stdout
    assert "96" in done.stdout
    assert git(place / "air", "rev-parse", "HEAD") == git(fork.origin, "rev-parse", "data")


def test_the_chapter_names_the_secrets_variables_and_inputs_that_the_workflow_reads() -> None:
    text = WORKFLOW.read_text()
    for kind in ("secrets", "vars"):
        for name in set(re.findall(rf"\$\{{\{{ {kind}\.(\w+) \}}\}}", text)):
            assert f"`{name}`" in CHAPTER, name
            assert name in text.partition("\non:")[0], f"{name} is not explained at the workflow's head"
    for name in yaml.safe_load(text)[True]["workflow_dispatch"]["inputs"]:
        assert name in CHAPTER, name


def test_the_minutes_and_requests_shown_are_those_of_the_workflow() -> None:
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    assert f"after {job['env']['RUN_MINUTES']} minutes" in CHAPTER
    assert f"ends after {job['timeout-minutes']}" in CHAPTER
    most = yaml.safe_load(WORKFLOW.read_text())[True]["workflow_dispatch"]["inputs"]["max-requests"]["default"]
    assert f"plans {int(most):,} requests at most" in CHAPTER
    assert f"MAX_REQUESTS:-{most}" in (ROOT / ".github/scripts/run.sh").read_text()
