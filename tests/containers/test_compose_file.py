"""What `docker-compose.yml` says, without an engine: valid, complete, and the same for every container in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from openaq_pipeline import config
from tests.conftest import ROOT
from tests.documents import blocks

TEXT = (ROOT / "docker-compose.yml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
DOTENV = (ROOT / ".env.example").read_text()
*_, MOUNTED, _DEMO, _MONITORING, DATABASE, END = blocks("Docker Compose")
OF_THE_IMAGE = {"DATA_DIR", "WEB_HOST"}
"""Variables that the image sets, and on which its layout depends."""


def built() -> list[str]:
    return [name for name, service in SERVICES.items() if "build" in service]


def of_others() -> list[str]:
    return [name for name, service in SERVICES.items() if "image" in service]


def mounted() -> list[tuple[str, str]]:
    """What is mounted from the checkout, by the service that has it."""
    return [(name, each) for name, service in SERVICES.items() for each in service.get("volumes", ()) if each[0] == "."]


def test_it_is_valid_by_the_compose_specification() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_profile_has_its_services_and_the_daemon_has_none() -> None:
    found = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert found == {
        "data-pipeline": None,
        "simulator": ["demo"],
        "demo": ["demo"],
        "timescale": ["timescale"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_contained(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}
    assert service["pids_limit"] == 256
    assert service["mem_limit"]
    assert not {"privileged", "network_mode", "pid", "ipc", "userns_mode", "devices", "init"} & service.keys()


@pytest.mark.parametrize("name", built())
def test_every_container_of_ours_is_read_only_and_may_not_take_all_processors(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cpus"] <= 1  # an engine refuses more than the machine has
    assert not service.keys() & {"cap_add", "user"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_is_open_to_this_machine_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-[0-9]+\}:[0-9]+", port), port


@pytest.mark.parametrize(("name", "volume"), mounted())
def test_what_is_mounted_of_the_checkout_are_folders_that_git_has_and_nobody_writes_to(name: str, volume: str) -> None:
    source, _, mode = volume.split(":")
    assert mode == "ro"
    assert (ROOT / source).is_dir()
    assert any(path.is_file() for path in (ROOT / source).rglob("*")), name  # git keeps no empty folder


@pytest.mark.parametrize("name", of_others())
def test_an_image_of_others_is_of_one_version(name: str) -> None:
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?[0-9]+\.[0-9]+\.[0-9]+(-pg[0-9]+)?", SERVICES[name]["image"])


def test_every_variable_that_the_program_reads_reaches_it() -> None:
    passed = {name for name, value in SERVICES["data-pipeline"]["environment"].items() if value is None}
    proxies = {"HTTPS_PROXY", "NO_PROXY"}
    assert passed == ({*config.ENVIRONMENT_KEYS, "ENVIRONMENT"} | proxies) - OF_THE_IMAGE


def test_every_variable_of_compose_stands_in_the_shipped_dotenv_as_it_is_without_it() -> None:
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", TEXT))
    shown = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.+)$", DOTENV, re.MULTILINE))
    assert {name: shown.get(name) for name in defaults} == defaults
    of_services = {name for each in of_others() for name, value in _environment(each).items() if value is None}
    assert shown.keys() == defaults.keys() | of_services | {"COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"}


def test_no_variable_is_demanded_since_that_would_stop_the_demo_and_down_too() -> None:
    assert not re.search(r"\$\{[A-Z_]+:?\?", TEXT)


def test_what_is_understood_by_both_generations_of_compose_alone_is_used() -> None:
    """1.29 knows no `${A:+b}`, no name of the project in the file, and no `content` of a config."""
    assert not re.search(r"\$\{[A-Z_]+:?\+", TEXT)
    assert FILE.keys() == {"x-contained", "x-pipeline", "services", "volumes"}


def test_the_password_of_the_database_is_nobodys_default() -> None:
    assert SERVICES["timescale"]["environment"]["POSTGRES_PASSWORD"] is None
    assert "ports" not in SERVICES["timescale"]


# --- the same files for a plain machine and for Compose ---


@pytest.mark.parametrize(
    ("plain", "composed"),
    [
        ("prometheus/prometheus.yml", "prometheus/compose.yml"),
        ("grafana/provisioning/datasources/prometheus.yml", "grafana/compose/datasources/prometheus.yml"),
    ],
)
def test_what_compose_mounts_is_what_a_plain_machine_has_but_for_the_address(plain: str, composed: str) -> None:
    theirs = {"127.0.0.1:8765": "data-pipeline:8765", "127.0.0.1:9090": "prometheus:9090"}
    text = (ROOT / "deploy" / plain).read_text()
    for here, there in theirs.items():
        text = text.replace(here, there)
    assert yaml.safe_load(text) == yaml.safe_load((ROOT / "deploy" / composed).read_text())


def test_prometheus_and_grafana_are_mounted_what_their_settings_name() -> None:
    where = {source: place for _, (source, place, _) in ((name, each.split(":")) for name, each in mounted())}
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/openaq.yml").read_text())
    assert where["./deploy/grafana/dashboards"] == provider["providers"][0]["options"]["path"]
    (file,) = [flag for flag in SERVICES["prometheus"]["command"] if flag.startswith("--config.file=")]
    folder = Path(file.partition("=")[2]).parent
    assert where["./deploy/prometheus"] == str(folder)


# --- the manual's lines, as far as they go without an engine; test_compose.py types all of them ---


def test_the_manuals_end_names_all_profiles_since_compose_v2_stops_no_other() -> None:
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    for line in END.splitlines():
        assert set(re.findall(r"--profile (\w+) ", line)) == profiles, line


def test_the_database_set_up_twice_keeps_its_first_password(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(DOTENV)
    settings = DATABASE.partition("docker compose")[0]
    typed(settings, tmp_path)
    first = (tmp_path / ".env").read_text()
    typed(settings, tmp_path)
    assert (tmp_path / ".env").read_text() == first
    assert len(re.findall("^POSTGRES_PASSWORD=", first, re.MULTILINE)) == 1


def test_settings_that_are_mounted_can_be_read_by_the_images_user(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("locations: []\n")
    (tmp_path / "config.yaml").chmod(0o600)
    typed(f"umask 077\n{MOUNTED.partition('docker compose')[0]}", tmp_path)
    assert (tmp_path / "settings").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "settings/config.yaml").stat().st_mode & 0o777 == 0o644


def typed(script: str, folder: Path) -> None:
    done = subprocess.run(["bash", "-euc", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _environment(service: str) -> dict[str, Any]:
    found: dict[str, Any] = SERVICES[service].get("environment", {})
    return found
