"""`/metrics` of the page, and the file for node_exporter, of a folder that real runs have filled."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from openaq_pipeline.config import load
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.web.server import running
from tests.conftest import Program, Simulate
from tests.prometheus.live import answers, free_port, until
from tests.prometheus.promtool import program as installed
from tests.prometheus.test_exposition import OPENMETRICS, Series, read, value


@pytest.fixture
def bench(simulate: Simulate) -> Running:
    return simulate(named.bench(locations=2, sensors=2, days=5))


def change(program: Program, **monitoring: Any) -> None:
    settings = json.loads(program.config.read_text())
    program.config.write_text(json.dumps(settings | {"monitoring": settings.get("monitoring", {}) | monitoring}))


@pytest.fixture
def filled(program: Program, bench: Running, tmp_path: Path) -> Program:
    """A program with a file for node_exporter, and one run behind it."""
    program.configure(bench.base_url, [station.id for station in bench.world.stations], initial_days=1)
    (tmp_path / "collected").mkdir()
    change(program, textfile=str(tmp_path / "collected" / "openaq.prom"))
    done = program.load()
    assert done.code == 0, done.err
    return program


def written(program: Program) -> Series:
    return read((program.folder / "collected" / "openaq.prom").read_bytes())


def test_a_scrape_says_what_the_run_has_left(filled: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    report = json.loads((filled.data / "metrics.json").read_text())["runs"][-1]
    for name in ("XDG_STATE_HOME", "OPENAQ_API_KEY"):
        monkeypatch.setenv(name, filled.env[name])
    with running(load(config=filled.config)) as address:
        answer = requests.get(f"{address}/metrics", headers={"Accept": OPENMETRICS}, timeout=10)
        plain = read(requests.get(f"{address}/metrics", timeout=10).content)
        document = requests.get(f"{address}/openapi.json", timeout=10).json()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert value(plain, "last_run_duration_seconds") == report["duration_seconds"]
    assert value(plain, "last_run_requests", status="200") == report["requests"] > 0
    assert value(plain, "requests_total", status="200") == report["requests"]
    assert value(plain, "rows_total", outcome="new") == sum(place["new"] for place in report["locations"]) > 0
    assert value(plain, "budget_used_requests", window="hour") == report["requests"]
    assert value(plain, "locations", status="current") == 2
    assert "/metrics" not in document["paths"], "it is no JSON"


def test_a_run_leaves_a_file_for_node_exporter_that_it_may_read(filled: Program) -> None:
    path = filled.folder / "collected" / "openaq.prom"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644, "node_exporter is another user"
    assert [each.name for each in path.parent.iterdir()] == ["openaq.prom"]
    before = written(filled)
    assert value(before, "runs_total", outcome="complete") == 1
    assert not [name for name, _ in before if name.startswith("budget")], "it is not true any more when it is read"
    path.chmod(0o600)
    assert filled.load().code == 0
    assert value(written(filled), "runs_total", outcome="complete") == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_run_of_the_daemon_leaves_it_too_and_one_that_could_not_begin_tells_of_itself(filled: Program) -> None:
    assert filled.run("scheduler.py", "--mode", "once").code == 0
    assert value(written(filled), "runs_total", outcome="complete") == 2
    (filled.data / ".state.json").write_text('{"version": 99}')
    assert filled.load().code == 1
    assert value(written(filled), "open_alerts", severity="critical") == 1


def test_node_exporter_hands_on_what_it_reads_as_a_user_of_its_own(filled: Program) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a program as another user")
    folder = Path(tempfile.mkdtemp(prefix="openaq-textfile-"))
    try:
        folder.chmod(0o755)
        change(filled, textfile=str(folder / "openaq.prom"))
        assert filled.load().code == 0
        with node_exporter(folder) as address:
            found = requests.get(f"{address}/metrics", timeout=10).content
        ours = read((folder / "openaq.prom").read_bytes())
    finally:
        shutil.rmtree(folder)
    assert b"node_textfile_scrape_error 0" in found
    assert ours.items() <= read(found).items()
    assert value(ours, "runs_total", outcome="complete") == 2


@contextmanager
def node_exporter(folder: Path) -> Iterator[str]:
    """Run node_exporter's textfile collector alone, as nobody."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        installed("prometheus-node-exporter"),
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={folder}",
        "--web.disable-exporter-metrics",
        f"--web.listen-address={address}",
    ]
    with subprocess.Popen(command, user="nobody", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(f"http://{address}/"), "node_exporter", process)
            yield f"http://{address}"
        finally:
            process.terminate()


def test_a_backfill_leaves_it_alone(filled: Program) -> None:
    path = filled.folder / "collected" / "openaq.prom"
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert filled.load("--date-from", "2026-01-01", "--date-to", "2026-01-01").code == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("target", ["absent/x.prom", "taken.prom"])
def test_a_file_that_cannot_be_written_is_a_warning_and_no_failed_run(filled: Program, target: str) -> None:
    (filled.folder / "taken.prom").mkdir()
    change(filled, textfile=str(filled.folder / target))
    done = filled.load()
    assert done.code == 0, done.err
    assert "The metrics for node_exporter could not be written" in done.err
    assert not list(filled.folder.glob(".*.tmp"))


def test_a_name_that_node_exporter_does_not_read_is_a_mistake_in_the_settings(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", [1])
    change(program, textfile="metrics.txt")
    with pytest.raises(ConfigError) as caught:
        load(config=program.config)
    assert "must end in .prom" in str(caught.value.problems)
