"""`docker-compose.yml` on a real engine, by the manual's own lines: what it starts, what holds, and what it outlives.

The installations are shared between the tests of this module, which go in their order: each leaves its own running.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import yaml

from tests.containers import others
from tests.containers.engine import Container, Engine, until
from tests.containers.project import Project, edit, project, require_compose
from tests.documents import blocks
from tests.prometheus.live import answers

CHAPTER = "Docker Compose"
START, LOOK, CHANGE, MOUNTED, DEMO, MONITORING, DATABASE, END = blocks(CHAPTER)
KEY = "made-up-key-of-a-test"
SIMULATOR = "http://simulator:8900/v3"
MB = 1 << 20


@pytest.fixture(scope="module")
def installation(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One with a key, in a folder whose name Compose can make nothing of, which asks a simulator instead of OpenAQ."""
    require_compose()
    assert image  # what takes long to build is in the engine's cache by now
    folder = tmp_path_factory.mktemp("compose") / "空气 (1)"
    with project(engine, folder, OPENAQ_API_KEY=KEY, OPENAQ_BASE_URL=SIMULATOR) as made:
        made.run("docker compose up -d simulator")
        made.run(START)
        made.has_read_all()
        yield made


@pytest.fixture(scope="module")
def keyless(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One of somebody who has no key."""
    require_compose()
    assert image
    with project(engine, tmp_path_factory.mktemp("compose") / "keyless") as made:
        yield made


@pytest.fixture
def daemon(installation: Project) -> Container:
    return installation.container("data-pipeline")


# --- what is started, and by whom it can be reached ---


def test_data_arrive_in_the_volume(installation: Project, daemon: Container) -> None:
    assert len(installation.rows()) > 1000
    (mount,) = installation.settings("data-pipeline")["Mounts"]
    assert (mount["Type"], mount["Name"], mount["Destination"]) == ("volume", installation.volume, "/data")
    assert "location_3459.json" in daemon.execute("ls", "/data").out


def test_the_page_answers_on_this_machine_alone(installation: Project) -> None:
    port = installation.ports["PAGE_PORT"]
    until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "a page that has seen the first run")
    bound = installation.settings("data-pipeline")["HostConfig"]["PortBindings"]
    assert bound == {"8765/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}


def test_the_lines_that_look_at_it_do(installation: Project) -> None:
    shown = installation.run(LOOK)
    assert "3459" in shown
    assert (installation.folder / "pm25.csv").read_text().count("\n") > 100


# --- what it puts up with ---


def test_the_engine_was_told_all_limits(installation: Project) -> None:
    told = installation.settings("data-pipeline")["HostConfig"]
    assert told["Memory"] == 1024 * MB
    assert told["NanoCpus"] == 1_000_000_000
    assert told["PidsLimit"] == 256
    assert told["ReadonlyRootfs"]
    assert told["CapDrop"] == ["ALL"]
    assert not told["CapAdd"]
    assert not told["Privileged"]
    assert told["SecurityOpt"] == ["no-new-privileges:true"]
    assert told["RestartPolicy"]["Name"] == "unless-stopped"
    assert told["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "5", "max-size": "10m"}}


def test_the_limits_hold_inside(daemon: Container) -> None:
    status = dict(line.split(":\t", 1) for line in daemon.execute("cat", "/proc/1/status").out.splitlines())
    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert _in_the_kernel(daemon, "memory/memory.limit_in_bytes", "memory.max") == str(1024 * MB)
    assert _in_the_kernel(daemon, "pids/pids.max", "pids.max") == "256"
    assert _in_the_kernel(daemon, "cpu/cpu.cfs_quota_us", "cpu.max").split()[0] == "100000"


def test_it_can_write_to_its_volume_and_to_tmp_and_nowhere_else(daemon: Container) -> None:
    for place in ("/app", "/opt/venv", "/etc", "/usr/local/bin", "/"):
        refused = daemon.execute("touch", f"{place}/probe")
        assert refused.code, place
        assert "Read-only file system" in refused.err, place
    assert daemon.execute("sh", "-c", "touch /tmp/probe").code == 0
    assert daemon.execute("sh", "-c", "touch /data/.probe && rm /data/.probe").code == 0
    assert " /tmp tmpfs " in daemon.execute("cat", "/proc/mounts").out


def test_nothing_ended_is_left_unburied(daemon: Container) -> None:
    states = daemon.execute("sh", "-c", "cat /proc/[0-9]*/stat").out.splitlines()
    assert len(states) > 1
    assert not [line for line in states if line.rpartition(") ")[2].startswith("Z")]


def test_it_becomes_healthy(daemon: Container) -> None:
    daemon.becomes("healthy")


def test_only_what_is_named_gets_in_and_no_more_of_env(installation: Project) -> None:
    told = dict(line.split("=", 1) for line in installation.settings("data-pipeline")["Config"]["Env"] if "=" in line)
    assert told["OPENAQ_API_KEY"] == KEY
    assert told["DATA_DIR"] == "/data"
    assert not told.keys() & {"PAGE_PORT", "DATA_VOLUME", "POSTGRES_PASSWORD", "DOCKER_HOST"}
    assert "SMTP_HOST" not in told  # of what is not given not even an empty value


# --- what else can be had ---


def test_another_installation_on_the_same_volume_is_refused(installation: Project, daemon: Container) -> None:
    with installation.twin() as other:
        other.run("docker compose up -d data-pipeline")
        second = other.container("data-pipeline")
        second.logs("Another process is working on /data")
        until(lambda: second.state["ExitCode"] == 3, "the second one ends with 3", lambda: str(second.state))
    assert daemon.state["Status"] == "running"
    assert installation.settings("data-pipeline")["RestartCount"] == 0


def test_prometheus_scrapes_the_page_by_the_rules_that_are_shipped(installation: Project, engine: Engine) -> None:
    others.prometheus(engine, _image(installation, "prometheus"))
    others.grafana(engine, _image(installation, "grafana"))
    path = installation.folder / "deploy/prometheus/compose.yml"
    path.write_text(path.read_text().replace("interval: 30s", "interval: 1s"))
    installation.run(MONITORING)
    asked = f"http://127.0.0.1:{installation.ports['PROMETHEUS_PORT']}/api/v1"
    until(lambda: _of(asked, "query?query=openaq_pipeline_locations")["result"], "a scrape of the page")
    (target,) = _of(asked, "targets?state=active")["activeTargets"]
    assert (target["labels"]["instance"], target["health"]) == ("data-pipeline:8765", "up")
    (group,) = _of(asked, "rules")["groups"]
    shipped = yaml.safe_load((installation.folder / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    assert [rule["name"] for rule in group["rules"]] == [rule["alert"] for rule in shipped]
    assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}  # unknown: not asked yet
    told = installation.settings("prometheus")["HostConfig"]
    assert told["ReadonlyRootfs"]
    assert told["CapDrop"] == ["ALL"]


def test_grafana_finds_its_data_source_and_its_dashboards_where_it_looks(
    installation: Project, daemon: Container, engine: Engine
) -> None:
    if not engine.inspect(_image(installation, "grafana"))["Config"]["Labels"].get(others.LABEL):
        pytest.skip("NOT tested: the real Grafana is here, and this test knows the stand-in alone")
    grafana = installation.container("grafana")
    provisioning = "/etc/grafana/provisioning"  # GF_PATHS_PROVISIONING of the image
    (source,) = yaml.safe_load(grafana.execute("cat", f"{provisioning}/datasources/prometheus.yml").out)["datasources"]
    opened = f"import urllib.request; print(urllib.request.urlopen('{source['url']}/-/ready').status)"
    assert daemon.execute("python", "-c", opened).out == "200\n"
    (provider,) = yaml.safe_load(grafana.execute("cat", f"{provisioning}/dashboards/openaq.yml").out)["providers"]
    for name in ("overview", "location"):
        assert '"schemaVersion"' in grafana.execute("cat", f"{provider['options']['path']}/{name}.json").out
    assert grafana.execute("sh", "-c", "echo > /var/lib/grafana/probe").code == 0
    assert grafana.execute("sh", "-c", f"echo > {provisioning}/dashboards/probe").code


def test_rows_get_into_the_database(installation: Project, engine: Engine) -> None:
    others.postgresql(engine, _image(installation, "timescale"))
    before = installation.rows()
    counted = installation.run(DATABASE)
    assert f" {len(before)}\n" in counted
    installation.container("timescale").becomes("healthy")


# --- what it outlives ---


def test_an_upgrade_keeps_the_data(installation: Project) -> None:
    before, images = installation.rows(), _images(installation)
    edit(installation.folder, "lookback_hours: 24 ", "lookback_hours: 25 ")
    installation.run(CHANGE)
    until(lambda: _answers(installation), "the page again")
    assert _images(installation) != images
    assert "lookback_hours: 25" in installation.container("data-pipeline").execute("cat", "config.yaml").out
    _holds(installation, before)


def test_settings_in_a_mounted_folder_are_read_anew_without_a_build(installation: Project) -> None:
    (override,) = blocks(CHAPTER, "yaml")
    (installation.folder / "docker-compose.override.yml").write_text(override)
    start, restart = MOUNTED.rstrip().rsplit("\n", 1)
    images = _images(installation)
    installation.run(start)
    path = installation.folder / "settings/config.yaml"
    right = path.read_text()
    path.write_text(right.replace("lookback_hours:", "lookback_hour:"))
    installation.run(restart)
    container = installation.container("data-pipeline")
    container.logs("The settings in /settings/config.yaml have 1 problem", "did you mean `lookback_hours`?")
    path.write_text(right)
    installation.run(restart)
    until(lambda: _answers(installation), "the page again", lambda: container.log[-3000:])
    assert _images(installation) == images


@pytest.mark.skipif(os.getuid() != 0, reason="NOT tested: only root may kill a container's process from outside")
def test_kill_9_restarts_it_and_loses_nothing(installation: Project, daemon: Container) -> None:
    before, killed = installation.rows(), daemon.state["Pid"]
    restarts = installation.settings("data-pipeline")["RestartCount"]
    os.kill(killed, signal.SIGKILL)
    until(lambda: daemon.state["Running"] and daemon.state["Pid"] != killed, "a restart", lambda: str(daemon.state))
    assert installation.settings("data-pipeline")["RestartCount"] == restarts + 1
    _holds(installation, before)
    until(lambda: _answers(installation), "the page again")


def test_stop_ends_it_in_order_and_down_leaves_the_volume(installation: Project, engine: Engine) -> None:
    daemon, (stop, down) = installation.container("data-pipeline"), END.splitlines()
    installation.run(stop)
    assert (daemon.state["Status"], daemon.state["ExitCode"]) == ("exited", 0)  # 137: it had to be killed
    assert installation.container("simulator").state["ExitCode"] == 0
    assert installation.container("timescale").state["ExitCode"] == 0
    assert not installation.services()
    installation.run(down)
    assert not installation.services()
    assert engine.inspect(installation.volume)["Name"] == installation.volume


# --- without a key ---


def test_the_demo_works_without_a_key_and_alone(keyless: Project) -> None:
    keyless.run(DEMO)
    assert keyless.services() == {"simulator", "demo"}
    keyless.has_read_all("demo")
    assert len(keyless.rows("demo")) > 1000
    page = f"http://127.0.0.1:{keyless.ports['DEMO_PORT']}"
    assert len(requests.get(f"{page}/api/v1/locations", timeout=10).json()["results"]) == 10


def test_who_starts_all_without_a_key_reads_what_to_set_and_has_the_demo(keyless: Project) -> None:
    keyless.run("docker compose --profile demo up -d")
    daemon = keyless.container("data-pipeline")
    daemon.logs("OPENAQ_API_KEY is not set", "Set OPENAQ_API_KEY to a valid key")
    until(lambda: keyless.settings("data-pipeline")["RestartCount"] > 0, "another try")
    until(lambda: daemon.state["ExitCode"] == 2, "it ends with 2", lambda: str(daemon.state))
    assert keyless.services() >= {"simulator", "demo"}


def _holds(installation: Project, before: dict[tuple[int, str], float | None]) -> None:
    """See that every row of before is there, each once, and none has another value."""
    after = installation.rows()
    assert {key: after.get(key) for key in before} == before


def _answers(installation: Project) -> bool:
    """Say whether the page answers."""
    return answers(f"http://127.0.0.1:{installation.ports['PAGE_PORT']}/healthz")


def _images(installation: Project) -> str:
    return str(installation.settings("data-pipeline")["Image"])


def _image(installation: Project, service: str) -> str:
    """Return the image of others that a service is made of."""
    services = yaml.safe_load((installation.folder / "docker-compose.yml").read_text())["services"]
    return str(services[service]["image"])


def _of(api: str, question: str) -> dict[str, Any]:
    """Ask Prometheus, which may not be there yet."""
    try:
        found: dict[str, Any] = requests.get(f"{api}/{question}", timeout=10).json()["data"]
    except requests.RequestException:
        return {"result": []}
    return found


def _in_the_kernel(container: Container, old: str, new: str) -> str:
    """Return what the kernel holds a container to, by the control groups' first version or their second."""
    found = container.execute("sh", "-c", f"cat /sys/fs/cgroup/{old} 2>/dev/null || cat /sys/fs/cgroup/{new}")
    return found.out.strip()
