"""A plain installation: it polls, checks, watches and tells; whatever else is asked of it, it says what is missing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from openaq_pipeline import installed, load
from openaq_pipeline.monitoring.channels import problems
from openaq_pipeline.settings import NotificationSettings
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Finished, Program
from tests.daemon.conftest import until

DAYS = 80


@pytest.fixture(scope="module")
def bench() -> Iterator[Running]:
    with running(named.bench(locations=1, sensors=2, days=DAYS), options=Options(requests_per_minute=0)) as found:
        yield found


def ids(simulator: Running) -> list[int]:
    return [station.id for station in simulator.world.stations]


@pytest.fixture
def polled(plain: Program, bench: Running) -> Program:
    """A plain installation after a first poll of more months than are kept live elsewhere."""
    done = plain.configure(bench.base_url, ids(bench), initial_days=DAYS).load()
    assert done.code == 0, done.err
    assert "rows older than 35 days stay in the location files" in done.err
    return plain


def whole(program: Program) -> Program:
    """The same files, with everything installed."""
    found = Program(program.folder)
    assert found.python == sys.executable
    return found


def changed(program: Program, **sections: object) -> None:
    program.config.write_text(json.dumps(json.loads(program.config.read_text()) | sections))


def python(program: Program, *arguments: str, **env: str) -> Finished:
    command = [program.python, "-m", "openaq_pipeline", *arguments]
    paths = {"PYTHONPATH": str(ROOT / "dataset")}
    env = program.env | paths | env
    done = subprocess.run(
        command, env=env, cwd=program.folder, capture_output=True, text=True, check=False, timeout=120
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def test_what_can_be_missing_and_what_can_not_make_up_all_that_is_asked_for() -> None:
    asked = {
        line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1] != "#"
    }
    needed = {line for line in (ROOT / "deploy/container/loader.txt").read_text().splitlines() if line[:1] != "#"}
    without = {name for feature in installed.FEATURES for name in feature.packages}
    assert {line.partition(">")[0].partition("[")[0] for line in asked - needed} == without


# --- what works ---


def test_a_poll_keeps_all_rows_in_the_location_files_and_a_whole_installation_moves_them(
    polled: Program, bench: Running
) -> None:
    (location_id,) = ids(bench)
    assert not (polled.data / "history").exists()
    rows = polled.rows(location_id)
    oldest = datetime.fromisoformat(rows[0]["datetime"])
    assert datetime.now(UTC) - oldest > timedelta(days=DAYS - 2)
    done = whole(polled).load()
    assert done.code == 0, done.err
    assert (polled.data / "history").is_dir()
    assert len(polled.rows(location_id)) < len(rows)
    assert load(data_dir=polled.data).num_rows >= len(rows)


def test_a_backfill_from_the_api_goes_to_the_location_file_too(plain: Program, bench: Running) -> None:
    start = f"{datetime.now(UTC) - timedelta(days=DAYS - 10):%Y-%m-%d}"
    plain.configure(bench.base_url, ids(bench), initial_days=2)
    assert plain.load().code == 0
    done = plain.load("--date-from", start)
    assert done.code == 0, done.err
    assert plain.rows(ids(bench)[0])[0]["datetime"][:10] == start
    assert not (plain.data / "history").exists()
    again = plain.load("--json")
    assert again.json["total_records_fetched"] == again.json["total_records_deduplicated"]


def test_the_files_are_checked_and_watched(polled: Program) -> None:
    checked = polled.run("validator.py", "--all")
    assert (checked.code, checked.err) == (0, "")
    assert polled.run("monitor.py", "--check").out.startswith("healthy")
    shown = polled.run("monitor.py")
    assert (shown.code, shown.err) == (0, "")
    assert "Next run" in shown.out
    assert polled.run("monitor.py", "--json").code == 0
    assert python(polled, "deliver", "--config", str(polled.config)).code == 0


def test_a_backup_is_made_and_put_back(polled: Program) -> None:
    archive, back = polled.folder / "backup.tar.gz", polled.folder / "back"
    made = python(polled, "backup", "--config", str(polled.config), "--output", str(archive))
    assert made.code == 0, made.err
    done = python(polled, "restore", "--config", str(polled.config), "--data-dir", str(back), str(archive))
    assert done.code == 0, done.err
    assert [path.name for path in back.glob("location_*.json")]


def test_the_preflight_is_ready_and_says_what_it_goes_without(polled: Program) -> None:
    done = polled.run("test_pipeline.py", "--json")
    assert done.code == 0, done.out
    said = {(each["name"], each["status"]): each["message"] for each in done.json["checks"]}
    assert all(name in said["dependencies", "warning"] for each in installed.FEATURES for name in each.packages)
    assert "12 packages" in said["dependencies", "ok"]
    assert "stay in the location files" in said["data folder", "warning"]
    assert not [name for name, status in said if status == "failed"]


def test_figures_for_prometheus_are_written(polled: Program) -> None:
    target = polled.folder / "openaq.prom"
    changed(polled, monitoring={"textfile": str(target)})
    assert polled.load().code == 0
    assert "openaq_" in target.read_text()


def test_the_daemon_says_that_there_is_no_page_and_goes_on(plain: Program, bench: Running) -> None:
    plain.configure(bench.base_url, ids(bench), initial_days=2)
    changed(plain, web={"enabled": True, "port": 0})
    with plain.start("scheduler.py") as daemon:
        until((plain.data / "metrics.json").exists, "a run")
        daemon.send_signal(signal.SIGTERM)
        _, said = daemon.communicate(timeout=60)
    assert daemon.returncode == 0
    assert said.count("There is no status page") == 1
    assert "The runs go on" in said
    assert json.loads((plain.data / "metrics.json").read_text())["runs"]


# --- what does not ---


@pytest.mark.parametrize(
    ("arguments", "package"),
    [
        (["run", "--date-from", "2026-01-01", "--source", "archive"], "pyarrow"),
        (["backfill", "--date-from", "2026-01-01", "--source", "auto", "--dry-run"], "pyarrow"),
        (["query", "SELECT 1"], "duckdb"),
        (["export", "--format", "csv", "--output", "rows.csv"], "pyarrow"),
        (["verify"], "pyarrow"),
        (["audit", "--offline"], "numpy"),
        (["sync-postgres"], "psycopg"),
        (["monitor", "--serve"], "uvicorn"),
        (["page", "--listening", "0"], "fastapi"),
        (["first-run"], "fastapi"),
        (["simulator"], "fastapi"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_command_says_which_packages_it_takes(
    plain: Program, bench: Running, arguments: list[str], package: str
) -> None:
    plain.configure(bench.base_url, ids(bench))
    plain.data.mkdir()
    (plain.data / "location_1.json").write_text("[]\n")
    changed(plain, storage={"postgres": {"enabled": arguments[0] == "sync-postgres"}})
    key = {"OPENAQ_API_KEY": "" if arguments[0] == "first-run" else "key", "DATABASE_URL": "postgresql:///none"}
    config = [] if arguments[0] == "simulator" else ["--config", str(plain.config)]
    done = python(plain, *arguments, *config, **key)
    assert (done.code, "Traceback" in done.err) == (2, False), done.err
    assert "not installed" in done.err
    assert package in done.err
    assert "requirements.txt" in done.err


@pytest.mark.parametrize(
    "command", [["incremental_loader.py"], ["scheduler.py"], ["incremental_loader.py", "--dry-run"]]
)
def test_a_folder_with_a_history_is_refused_before_anything_is_asked(
    plain: Program, bench: Running, command: list[str]
) -> None:
    plain.configure(bench.base_url, ids(bench), initial_days=DAYS)
    assert whole(plain).load().code == 0
    before = {path: path.stat().st_mtime_ns for path in plain.data.rglob("*.json")}
    asked = len(bench.requests.entries())
    done = plain.run(*command)
    assert done.code == 2, done.err
    assert "has rows in history/: for the history and its readers it takes numpy and pyarrow" in done.err
    assert len(bench.requests.entries()) == asked
    assert {path: path.stat().st_mtime_ns for path in plain.data.rglob("*.json")} == before
    preflight = plain.run("test_pipeline.py")
    assert preflight.code == 1
    assert "has rows in history/" in preflight.out


def test_a_copy_in_a_database_that_nothing_can_reach_is_refused(plain: Program, bench: Running) -> None:
    plain.configure(bench.base_url, ids(bench))
    changed(plain, storage={"postgres": {"enabled": True}})
    done = plain.load(DATABASE_URL="postgresql:///none")
    assert done.code == 2
    assert "storage.postgres is enabled: for the copy in PostgreSQL it takes psycopg" in done.err


def test_a_channel_that_is_not_installed_stops_no_run_and_is_told(plain: Program, bench: Running) -> None:
    plain.configure(bench.base_url, ids(bench), initial_days=2)
    changed(plain, notifications={"enabled": True, "apprise": {"enabled": True}})
    address = {"APPRISE_URLS": "json://localhost"}
    assert plain.load(**address).code == 0
    assert "alerts by Apprise it takes apprise" in plain.run("test_pipeline.py", **address).out


def test_apprise_is_no_problem_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = NotificationSettings.model_validate(
        {"enabled": True, "apprise": {"enabled": True, "urls": "json://localhost"}}
    )
    assert problems(told) == {}
    monkeypatch.setitem(sys.modules, "apprise", None)
    (said,) = problems(told).values()
    assert "apprise, which is not installed" in said


# --- the one place ---


@pytest.mark.parametrize("name", ["openaq_pipeline.gone", "json.gone", None])
def test_a_module_of_our_own_or_of_python_that_is_missing_is_a_bug(name: str | None) -> None:
    assert installed.explained(ModuleNotFoundError("gone", name=name)) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("PIL", "For the picture of the weekly digest it takes pillow, which is not installed"),
        ("pyarrow.lib", "For the history and its readers it takes numpy and pyarrow, which are not installed"),
        ("msgspec", "msgspec is not installed"),
    ],
)
def test_what_is_missing_is_said_with_what_it_is_for(name: str, said: str) -> None:
    assert str(installed.explained(ModuleNotFoundError("gone", name=name))) == said


def test_only_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(installed.NotInstalled, match=r"takes uvicorn, which is not installed$"):
        installed.need(installed.HISTORY, installed.PAGE)


def test_all_of_it_is_here() -> None:
    installed.need(*installed.FEATURES)
