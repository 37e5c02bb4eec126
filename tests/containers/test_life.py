"""A container's life: healthy when data have come, ended in order, killed and back, and never two on one volume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.containers.engine import Container, until
from tests.containers.harbour import OFTEN, Harbour, lasting
from tests.faults import oracle

GRACE_SECONDS = 10
"""What an engine gives by default; then it kills, and the exit code is 137. Who has a run to end gets 30 here."""

FEW = 30
"""So many requests a minute are too few for all ten locations: the run is in its midst when something happens to it."""

AGED = """
import datetime, pathlib, re
def older(found):
    return (datetime.datetime.fromisoformat(found[0]) - datetime.timedelta(days=2)).isoformat()
for name in ("metrics.json", ".state.json"):
    path = pathlib.Path("/data", name)
    path.write_text(re.sub(r"20\\d\\d-\\d\\d-\\d\\dT[\\d:.]+Z", older, path.read_text()))
"""
"""Makes all that a folder tells of its runs two days older."""

ZOMBIES = """
import glob
for path in glob.glob("/proc/[0-9]*/stat"):
    try:
        text = open(path).read()
    except OSError:
        continue
    if text.rpartition(")")[2].split()[0] == "Z":
        print(text.split()[:2])
"""


def test_it_becomes_healthy_when_data_have_come(settled: Container, expected: oracle.Content) -> None:
    assert len(expected) > 10_000
    assert {place.location_id for place in expected} >= {3459, 5506835}
    check = settled.execute("python", "dataset/monitor.py", "--check")
    assert check.code == 0
    assert check.out.startswith("healthy: the last good run was")


def test_the_page_is_reached_through_the_port_that_is_published(port: Harbour, settled: Container) -> None:
    where = port.engine("port", settled.name, "8765")
    assert where.startswith("127.0.0.1:")
    until(lambda: requests.get(f"http://{where}/readyz", timeout=60).ok, "the page has looked at the data")


@pytest.fixture
def wide(port: Harbour, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options with which a run need not wait for the minute in which the one before it was."""
    return [*port.wide(tmp_path_factory.mktemp("config")), *OFTEN]


@pytest.fixture
def once(port: Harbour, wide: list[str]) -> Iterator[Container]:
    """A container that has had its first run, for a test to do with as it likes; its volume is of its own."""
    container = port.start(volume=port.volume(), options=wide)
    container.becomes("healthy")
    container.logs("The next run is due")
    yield container
    port.engine.call("rm", "--force", container.name)


def test_it_is_unhealthy_when_the_last_success_is_too_old_and_healthy_again_after_the_next(once: Container) -> None:
    assert once.execute("python", "-c", AGED).code == 0
    once.becomes("unhealthy")
    assert "no good run within" in once.state["Health"]["Log"][-1]["Output"]
    once.restart()  # the run of two hours ago is overdue now
    once.becomes("healthy")


def test_it_is_stopped_within_the_grace_period_that_engines_give(once: Container) -> None:
    assert once.stop(GRACE_SECONDS) == 0
    assert once.log.count("The next run is due") == 1


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A folder for the settings of one container, which a test may change."""
    (tmp_path / "config").mkdir()
    return tmp_path / "config"


def test_it_is_stopped_in_order_in_the_midst_of_a_run_and_the_next_start_goes_on(
    port: Harbour, config: Path, expected: oracle.Content, tmp_path: Path
) -> None:
    container = port.start(volume=port.volume(), options=[*port.wide(config, FEW), *OFTEN])
    container.logs("[1/10]")
    assert container.stop() == 0
    assert "Stopping the run" in container.log
    held = oracle.check(port.copied(container, tmp_path / "stopped"))
    assert 0 < len(lasting(held)) < len(expected)
    port.wide(config)
    port.engine("start", container.name)
    container.becomes("healthy")
    container.logs("Run of 10 locations complete")
    there = oracle.check(port.copied(container, tmp_path / "data"), held=held, restarted=True)
    oracle.check_same(lasting(there), expected)
    assert container.stop() == 0


def test_killed_in_the_midst_of_a_run_it_comes_back_and_nothing_is_lost(
    port: Harbour, config: Path, expected: oracle.Content, tmp_path: Path
) -> None:
    options = [*port.wide(config, FEW), *OFTEN, "--restart", "unless-stopped"]
    container = port.start(volume=port.volume(), options=options)
    container.logs("[2/10]")
    port.wide(config)
    port.kill_hard(container)
    assert "Run of 10 locations complete" not in container.log
    port.restarted(container, 1)
    container.logs("Run of 10 locations complete")
    container.becomes("healthy")
    oracle.check_same(lasting(oracle.check(port.copied(container, tmp_path / "data"), restarted=True)), expected)
    assert container.stop() == 0


def test_a_second_one_on_the_same_volume_is_refused_at_once(port: Harbour, settled: Container) -> None:
    (volume,) = (mount["Name"] for mount in port.engine.inspect(settled.name)["Mounts"] if mount["Type"] == "volume")
    done = port.run(volume=volume)
    assert done.code == 3
    assert "Another process is working on /data" in done.err
    assert settled.state["Running"]


def test_orphans_are_buried(settled: Container) -> None:
    left = "sleep 0.3 & exit"
    assert settled.execute("sh", "-c", left).code == 0
    settled.execute("sleep", "0.5")
    until(lambda: not settled.execute("python", "-c", ZOMBIES).out, "no zombie is left")


def test_without_a_key_it_says_what_to_set_and_ends(port: Harbour) -> None:
    done = port.run(options=["--env", "OPENAQ_API_KEY="])
    assert done.code == 2
    assert "OPENAQ_API_KEY" in done.err


def test_a_configuration_of_ones_own_is_a_folder_that_is_mounted(port: Harbour, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # for the user that the program is
    (tmp_path / "mine.yaml").write_text("locations: [3459]\n")
    mounted = ["--volume", f"{tmp_path}:/config:ro", "--env", "PIPELINE_CONFIG=/config/mine.yaml"]
    done = port.run(["openaq-pipeline", "run", "--dry-run"], options=mounted)
    assert done.code == 0, done.said
    assert "1 location" in done.said
