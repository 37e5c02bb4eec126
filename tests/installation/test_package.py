"""The package as users get it: built, installed where no checkout is, and used in an empty folder."""

from __future__ import annotations

import http.client
import json
import re
import signal
import stat
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from contextlib import closing
from email import message_from_bytes
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from openaq_pipeline import __version__
from openaq_pipeline.simulator.server import running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Finished
from tests.installation.building import Built, built, contents
from tests.installation.environments import locked, made
from tests.installation.used import Installed

PACKAGE = ROOT / "dataset/openaq_pipeline"


@pytest.fixture(scope="module")
def package(deployments: None, tmp_path_factory: pytest.TempPathFactory) -> Built:
    del deployments
    return built(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def scripts(package: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment with the wheel and all that it asks for."""
    python = made(tmp_path_factory.mktemp("environment"), locked(ROOT / "requirements.lock"))
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*command, str(package.wheel)], check=True, timeout=120)
    return python.parent


@pytest.fixture
def program(scripts: Path, tmp_path: Path) -> Installed:
    return Installed(scripts, tmp_path / "home")


# --- what is in it ---


def test_a_wheel_from_the_source_distribution_is_the_one_from_the_checkout(package: Built) -> None:
    assert contents(package.wheel) == contents(package.direct)


def test_the_wheel_has_every_file_of_the_package_and_the_two_to_begin_with(package: Built) -> None:
    here = {
        f"openaq_pipeline/{path.relative_to(PACKAGE)}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name: body for name, body in contents(package.wheel).items() if ".dist-info/" not in name}
    assert {name for name in found if name.startswith("openaq_pipeline/")} == here
    shipped = {name.rpartition("/")[2]: body for name, body in found.items() if name not in here}
    assert shipped == {name: (ROOT / name).read_bytes() for name in ("config.yaml", ".env.example")}


def test_the_source_distribution_has_what_a_build_takes_and_no_part_of_the_tests(package: Built) -> None:
    with tarfile.open(package.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "requirements.txt", "LICENSE", "README.md", "config.yaml", ".env.example"} <= names
    assert not [name for name in names if name.startswith("tests")]


def test_the_metadata_say_what_it_is_and_pass_the_check_of_twine(package: Built) -> None:
    files = contents(package.wheel)
    (name,) = (name for name in files if name.endswith("/METADATA"))
    said = message_from_bytes(files[name])
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("openaq-pipeline", __version__, "MIT")
    assert said["Requires-Python"] == ">=3.11"
    versions = {line.rpartition(" ")[2] for line in said.get_all("Classifier", []) if "Python :: 3." in line}
    assert versions == {"3.11", "3.12", "3.13"}
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["description"] == said["Summary"]
    command = [sys.executable, "-m", "twine", "check", "--strict", str(package.sdist), str(package.wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


# --- how it is used ---


def test_it_is_the_wheel_that_is_tried_here(program: Installed) -> None:
    where = program.python("import openaq_pipeline; print(openaq_pipeline.__file__)").out
    assert str(ROOT) not in where
    assert "site-packages" in where


def test_it_says_what_it_can_do_and_which_version_it_is(program: Installed) -> None:
    assert program.run("--version") == Finished(0, f"openaq-pipeline {__version__}\n", "")
    shown = program.run("--help")
    assert shown.code == 0
    assert "sync-postgres" in shown.out


def test_a_newcomer_is_told_what_to_do_at_each_step(program: Installed) -> None:
    first = program.run("run")
    assert (first.code, first.err.splitlines()[0]) == (2, "Error: No location is selected.")
    assert "Run `openaq-pipeline init` to begin with a config.yaml" in first.err
    begun = program.run("init")
    assert begun.code == 0, begun.err
    assert (program.folder / "config.yaml").read_bytes() == (ROOT / "config.yaml").read_bytes()
    second = program.run("run")
    assert (second.code, second.err.splitlines()[0]) == (2, "Error: OPENAQ_API_KEY is not set.")
    with (program.folder / ".env").open("a") as file, running(named.demo()) as simulator:
        file.write(f"OPENAQ_API_KEY=key\nOPENAQ_BASE_URL={simulator.base_url}\n")
        file.flush()
        third = program.run("run", "--locations", "3459")
        assert third.code == 0, third.err
        ready = program.run("preflight")
    assert ready.code == 0, ready.out
    assert (program.folder / "data/location_3459.json").exists()


def test_the_file_for_secrets_is_for_its_owner_alone(program: Installed) -> None:
    assert program.run("init").code == 0
    assert stat.S_IMODE((program.folder / ".env").stat().st_mode) == 0o600
    assert "OPENAQ_API_KEY=" in (program.folder / ".env").read_text()


def test_no_file_is_overwritten(program: Installed) -> None:
    (program.folder / "config.yaml").write_text("locations: [7]\n")
    (program.folder / ".env").symlink_to("secrets-elsewhere")
    done = program.run("init")
    assert done.code == 0
    assert done.out.count("is there already and stays as it is") == 2
    assert (program.folder / "config.yaml").read_text() == "locations: [7]\n"
    assert not (program.folder / "secrets-elsewhere").exists()


def test_a_folder_that_can_not_be_written_is_a_mistake_of_the_user(program: Installed) -> None:
    program.folder = Path("/proc")  # where root can't write either
    done = program.run("init")
    assert done.code == 2
    assert "/proc/config.yaml can't be written" in done.err


def test_a_first_run_shows_made_up_data(program: Installed) -> None:
    done = program.run("first-run")
    assert done.code == 0, done.err
    assert "MADE-UP data" in done.out
    assert list((program.folder / "demo-data").glob("location_*.json"))


@pytest.fixture
def page(program: Installed) -> Iterator[str]:
    """The address of the status page of the installed program."""
    settings = {"locations": [3459], "web": {"port": 0}}
    (program.folder / "config.yaml").write_text(json.dumps(settings))
    with program.start("monitor", "--serve") as served:
        assert served.stdout
        found = re.search(r"http://\S+", served.stdout.readline())
        try:
            assert found
            yield found[0]
        finally:
            served.send_signal(signal.SIGTERM)
            served.communicate(timeout=60)


def test_the_pages_have_their_templates_and_static_files(page: str) -> None:
    with closing(http.client.HTTPConnection(urlsplit(page).netloc, timeout=60)) as line:
        shown = asked(line, "/").decode()
        files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', shown))
        assert len(files) >= 2
        assert all(asked(line, name) for name in files)


def asked(line: http.client.HTTPConnection, path: str) -> bytes:
    line.request("GET", path)
    answer = line.getresponse()
    assert answer.status == 200, path
    return answer.read()


def test_the_tables_of_the_database_are_there_to_be_made(program: Installed) -> None:
    code = """
from importlib import resources
print(*(file.name for file in resources.files("openaq_pipeline.storage.postgres").joinpath("migrations").iterdir()))
"""
    found = program.python(code)
    assert set(found.out.split()) == {path.name for path in (PACKAGE / "storage/postgres/migrations").iterdir()}
