"""The images as they are built: who the program is in them, what it may write, what they weigh."""

from __future__ import annotations

import re

import pytest

from openaq_pipeline import __version__
from tests.conftest import ROOT
from tests.containers.conftest import EVERYTHING, LOADER
from tests.containers.engine import Container, Engine, clients

WRITABLE = """
import os
for folder, inside, _ in os.walk("/"):
    if folder in {"/proc", "/sys"}:
        inside.clear()
    elif os.access(folder, os.W_OK):
        inside.clear()
        print(folder)
"""
"""Prints the topmost folders that may be written."""

MEMORY = {"/tmp", "/dev/shm", "/dev/mqueue"}  # noqa: S108 - of the container
"""Disks in memory: the first is asked for, the engine gives the others to every container."""

OWN_MB = {"image": 360, "loader_image": 48}
"""What ours may weigh beyond the image they are built on, in MB: a little more than they do (docs/decisions/0030)."""


@pytest.fixture(params=["image", "loader_image"])
def either(request: pytest.FixtureRequest) -> str:
    """Each of the images."""
    return str(request.getfixturevalue(request.param))


def test_the_program_is_a_user_without_rights_that_has_a_name(engine: Engine, either: str) -> None:
    assert engine("run", "--rm", either, "id") == "uid=10001(openaq) gid=10001(openaq) groups=10001(openaq)"


def test_data_lie_in_a_volume_and_nothing_else_on_a_disk_can_be_written(settled: Container) -> None:
    found = settled.execute("python", "-c", WRITABLE)
    assert set(found.out.split()) == MEMORY | {"/data"}


def test_without_a_read_only_root_no_part_of_the_program_can_be_written_either(engine: Engine, either: str) -> None:
    found = set(engine("run", "--rm", either, "python", "-c", WRITABLE).split())
    assert found - MEMORY == {"/data", "/run/lock", "/var/tmp"}  # noqa: S108 - of the container


def test_an_image_says_what_it_is(engine: Engine, either: str) -> None:
    labels = engine.inspect(either)["Config"]["Labels"]
    said = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert said["version"] == __version__
    assert said["revision"] == "unknown"
    assert said["licenses"] == "MIT"
    assert said["title"].startswith("OpenAQ Pipeline")
    assert said["description"]


def test_version_and_revision_can_be_given_to_the_build_and_cost_no_new_layer(engine: Engine, image: str) -> None:
    other = engine.build(f"{EVERYTHING}-other", "--build-arg", "VERSION=9.9", "--build-arg", "REVISION=abc")
    try:
        made, plain = engine.inspect(other), engine.inspect(image)
        assert made["Config"]["Labels"]["org.opencontainers.image.version"] == "9.9"
        assert made["Config"]["Labels"]["org.opencontainers.image.revision"] == "abc"
        assert made["RootFS"]["Layers"] == plain["RootFS"]["Layers"]
    finally:
        engine.call("rmi", other)


def test_the_newer_builder_makes_the_same_of_it(
    engine: Engine, loader_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_BUILDKIT", "1")
    newer = next((each for each in clients() if each.call("build", "--progress", "plain", "--help").code == 0), engine)
    built = f"{LOADER}-buildkit"
    done = newer.call("build", "--network", "host", "--tag", built, "--target", "loader", str(ROOT), timeout=600)
    if done.code and "buildx" in done.said:
        pytest.skip("NOT tested: no Docker here has the newer builder")
    assert done.code == 0, done.said
    try:
        settings = [engine.inspect(each)["Config"] for each in (loader_image, built)]
        for name in ("User", "Cmd", "Env", "Volumes", "WorkingDir", "Healthcheck", "StopSignal", "ExposedPorts"):
            assert settings[0][name] == settings[1][name], name
        assert "usage: openaq-pipeline" in engine("run", "--rm", built, "openaq-pipeline", "--help")
    finally:
        engine.call("rmi", built)


def test_nothing_that_lies_beside_the_program_gets_into_an_image(engine: Engine, image: str) -> None:
    there = engine("run", "--rm", image, "sh", "-c", "ls -A /app /app/dataset").split()
    doors = {path.name for path in (ROOT / "dataset").glob("*.py")}
    assert set(there) - {"/app:", "/app/dataset:"} - doors == {
        *("LICENSE", "config.yaml", "requirements.lock", "dataset"),
        *("__pycache__", "openaq_pipeline"),
    }


def test_no_installer_comes_along_with_the_packages(engine: Engine, either: str) -> None:
    assert "No module named pip" in engine.call("run", "--rm", either, "python", "-m", "pip").err


def test_nothing_is_left_to_compile_at_a_start(engine: Engine, either: str) -> None:
    """Else each of a container's starts and each look at its health would do so anew: it may keep nothing."""
    told = engine.call("run", "--rm", either, "python", "-vv", "-m", "openaq_pipeline", "monitor", "--check").err
    assert "# code object from '/app/dataset/openaq_pipeline/__pycache__" in told
    sources = re.findall(r"^# code object from (/\S+\.py)$", told, re.MULTILINE)
    assert not [each for each in sources if "sitecustomize" not in each]


@pytest.mark.parametrize("name", OWN_MB)
def test_an_image_is_no_larger_than_it_has_to_be(
    engine: Engine, base: str, name: str, request: pytest.FixtureRequest
) -> None:
    image = engine.inspect(str(request.getfixturevalue(name)))
    whole, below = image["Size"] / 1e6, engine.inspect(base)["Size"] / 1e6
    title = image["Config"]["Labels"]["org.opencontainers.image.title"]
    request.node.user_properties.append(("image", f"{title}: {whole:.0f} MB, of which {whole - below:.0f} MB are ours"))
    assert whole - below < OWN_MB[name]
