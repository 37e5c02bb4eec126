"""`incremental_loader.py` as users and their scripts meet it: whole processes, real HTTP, real signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.control import NewRow
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Program, Simulate

REPORT_NAMES = {
    "total_records_fetched",
    "total_records_deduplicated",
    "total_locations_processed",
    "successful_locations",
    "failed_locations",
    "duration_seconds",
    "consecutive_failures",
    "requests",
    "requests_planned",
    "quality_score",
    "locations",
}
LOCATION_NAMES = {"location_id", "outcome", "new", "revised", "identical", "rejected", "error"}


@pytest.fixture
def bench(simulate: Simulate) -> Running:
    return simulate(named.bench(locations=2, sensors=2, days=60))


def ids(simulator: Running) -> list[int]:
    return [station.id for station in simulator.world.stations]


def test_a_first_run_stores_every_row_of_the_last_days_and_reports_it(program: Program, bench: Running) -> None:
    done = program.configure(bench.base_url, ids(bench), initial_days=2).load("--json")
    assert done.code == 0, done.err
    report = done.json
    assert report.keys() >= REPORT_NAMES
    assert all(location.keys() >= LOCATION_NAMES for location in report["locations"])
    assert report["total_records_fetched"] == 2 * 2 * 48
    assert report["requests"] == bench.requests.total == report["requests_planned"] == 7
    assert [location["new"] for location in report["locations"]] == [96, 96]
    rows = program.rows(ids(bench)[0])
    assert [(row["datetime"], row["sensors_id"]) for row in rows] == sorted(
        (row["datetime"], row["sensors_id"]) for row in rows
    )


def test_a_file_holds_one_measurement_a_line_with_the_names_of_the_contract(program: Program, bench: Running) -> None:
    program.configure(bench.base_url, ids(bench)[:1], initial_days=1).load()
    lines = (program.data / f"location_{ids(bench)[0]}.json").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("[", "]")
    assert list(json.loads(lines[1].rstrip(","))) == [
        *("location_id", "sensors_id", "parameters_id", "parameter", "units", "value", "datetime"),
        *("datetime_local", "interval_seconds", "has_flags", "issues", "source", "first_seen"),
    ]


def test_a_late_row_within_the_look_back_is_found_and_a_revised_one_kept_as_an_update(
    program: Program, bench: Running
) -> None:
    program.configure(bench.base_url, ids(bench)[:1], initial_days=2).load()
    sensor = bench.world.stations[0].sensors[0]
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    late, revised = last - timedelta(hours=5, minutes=30), last - timedelta(hours=6)
    bench.add_rows(sensor.id, NewRow(late, 12.5), NewRow(revised, 99.25))
    report = program.load("--json").json["locations"][0]
    assert (report["new"], report["revised"]) == (1, 1)
    values = {(row["sensors_id"], row["datetime"]): row["value"] for row in program.rows(ids(bench)[0])}
    assert values[sensor.id, f"{late:%Y-%m-%dT%H:%M:%SZ}"] == 12.5
    assert values[sensor.id, f"{revised:%Y-%m-%dT%H:%M:%SZ}"] == 99.25


def test_two_starts_on_one_data_folder_give_one_run_and_one_exit_3(program: Program, bench: Running) -> None:
    bench.faults.inject("delay", "/measurements", seconds=0.5)
    program.configure(bench.base_url, ids(bench), initial_days=2)
    with program.start("incremental_loader.py") as first:
        while bench.requests.total < 3:
            time.sleep(0.01)
        second = program.load()
        assert second.code == 3
        assert "Another process is working on" in second.err
        assert second.out == ""
        assert first.wait(timeout=30) == 0


def test_two_processes_on_different_folders_stay_together_within_the_budget_of_one_key(
    programs: Callable[[str], Program], simulate: Simulate
) -> None:
    limit = 20
    simulator = simulate(named.bench(locations=3, sensors=5, days=60), Options(requests_per_minute=0))
    both = []
    for name in ("one", "two"):
        program = programs(name).configure(simulator.base_url, ids(simulator), initial_days=1)
        settings = json.loads(program.config.read_text())
        settings["api"]["requests_per_minute"] = limit
        program.config.write_text(json.dumps(settings))
        program.env["XDG_STATE_HOME"] = str(program.folder.parent)
        both.append(program.start("incremental_loader.py"))
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline and simulator.requests.total <= limit:
        time.sleep(0.05)
    assert simulator.requests.total == limit, "together they stop at the limit, though 36 requests are wanted"
    for process in both:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert 1 in {process.returncode for process in both}, "at least one was still waiting for the budget"


def test_a_signal_ends_a_run_in_order_with_what_it_has_read(program: Program, bench: Running) -> None:
    bench.faults.inject("delay", f"/sensors/{bench.world.stations[0].sensors[1].id}/", seconds=1.5)
    program.configure(bench.base_url, ids(bench)[:1], initial_days=2)
    with program.start("incremental_loader.py", "--json") as process:
        while bench.requests.total < 3:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert process.returncode in {0, 1}
    report = json.loads(out)
    assert report["total_records_fetched"] == len(program.rows(ids(bench)[0])) >= 48


def test_a_signal_ends_a_run_within_ten_seconds_though_an_answer_does_not_come(
    program: Program, bench: Running
) -> None:
    bench.faults.inject("delay", "/measurements", seconds=50)
    program.configure(bench.base_url, ids(bench)[:1], initial_days=2)
    with program.start("incremental_loader.py") as process:
        while bench.requests.total < 2:
            time.sleep(0.01)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == 1
    assert "did not end in order" in said


def test_a_dry_run_shows_the_cost_and_writes_nothing(program: Program, bench: Running) -> None:
    program.configure(bench.base_url, ids(bench), initial_days=30)
    done = program.load("--dry-run")
    assert done.code == 0
    assert "2 locations, 4 sensors to read" in done.out
    assert not program.data.exists()
    planned = program.load("--dry-run", "--json").json
    assert planned["sensors"] == 4
    assert planned["requests"] >= 4


def test_a_range_of_the_past_is_filled_without_moving_a_watermark(program: Program, bench: Running) -> None:
    program.configure(bench.base_url, ids(bench)[:1], initial_days=2).load()
    state = (program.data / ".state.json").read_bytes()
    day = (datetime.now(UTC) - timedelta(days=20)).strftime("%Y-%m-%d")
    report = program.load("--json", "--date-from", day, "--date-to", day).json
    assert report["total_records_fetched"] == 2 * 24, "a date as the end of a range means its whole day"
    assert (program.data / ".state.json").read_bytes() == state
    stamps = {row["datetime"] for row in program.rows(ids(bench)[0])}
    assert sum(stamp.startswith(day) for stamp in stamps) == 23, "the 24th period of the day ends at midnight"
    again = program.load("--json").json["locations"][0]
    assert again["new"] + again["revised"] <= 2, "the next poll goes on where it was"


def test_a_backfill_may_work_beside_a_poller(program: Program, bench: Running) -> None:
    bench.faults.inject("delay", "/measurements", seconds=0.3)
    program.configure(bench.base_url, ids(bench), initial_days=1)
    with program.start("incremental_loader.py") as poller:
        while bench.requests.total < 3:
            time.sleep(0.01)
        past = datetime.now(UTC) - timedelta(days=40)
        filled = program.load("--date-from", f"{past:%Y-%m-%d}", "--date-to", f"{past:%Y-%m-%d}", "--json")
        assert filled.code == 0, filled.err
        assert poller.wait(timeout=30) == 0


def test_reset_state_reads_anew_and_keeps_the_data(program: Program, bench: Running) -> None:
    program.configure(bench.base_url, ids(bench)[:1], initial_days=2).load()
    before = program.rows(ids(bench)[0])
    report = program.load("--json", "--reset-state").json["locations"][0]
    assert report["identical"] >= len(before) - 2
    after = {(row["sensors_id"], row["datetime"]): row for row in program.rows(ids(bench)[0])}
    assert all(after[row["sensors_id"], row["datetime"]] == row for row in before)


def test_a_lost_state_is_rebuilt_from_the_data_and_history_is_not_fetched_again(
    program: Program, bench: Running
) -> None:
    program.configure(bench.base_url, ids(bench)[:1], initial_days=40).load()
    (program.data / ".state.json").unlink()
    report = program.load("--json").json
    assert report["total_records_fetched"] <= 2 * (72 + 2), "the look-back of a sweep, not forty days"
    assert report["locations"][0]["new"] <= 2


def test_a_corrupt_state_is_set_aside_and_rebuilt(program: Program, bench: Running) -> None:
    program.configure(bench.base_url, ids(bench)[:1], initial_days=2).load()
    (program.data / ".state.json").write_text('{"version": 1, "locations": {')
    done = program.load()
    assert done.code == 0
    assert "was damaged and set aside" in done.err
    assert len(list(program.data.glob(".state.json.damaged-*"))) == 1


def test_a_data_file_that_is_not_json_is_set_aside_and_its_readable_rows_stay(program: Program, bench: Running) -> None:
    program.configure(bench.base_url, ids(bench)[:1], initial_days=2).load()
    path = program.data / f"location_{ids(bench)[0]}.json"
    before, damaged = program.rows(ids(bench)[0]), path.read_bytes()[:-400]
    path.write_bytes(damaged)
    done = program.load()
    assert done.code == 0
    assert "set aside" in done.out
    (aside,) = program.data.glob("location_*.json.damaged-*")
    assert aside.read_bytes() == damaged
    after = {(row["sensors_id"], row["datetime"]): row["value"] for row in program.rows(ids(bench)[0])}
    assert all(after[row["sensors_id"], row["datetime"]] == row["value"] for row in before)


def test_an_unknown_location_fails_alone_and_the_others_are_stored(program: Program, bench: Running) -> None:
    done = program.configure(bench.base_url, [ids(bench)[0], 999_999], initial_days=1).load("--json")
    assert done.code == 1
    outcomes = {location["location_id"]: location["outcome"] for location in done.json["locations"]}
    assert outcomes == {ids(bench)[0]: "ok", 999_999: "failed"}
    assert "Location not found" in done.json["locations"][1]["error"]


def test_a_sensor_that_always_fails_is_parked_and_the_others_go_on(program: Program, simulate: Simulate) -> None:
    simulator = simulate(named.quirks())
    public = [station.id for station in simulator.world.stations if not station.is_private]
    program.configure(simulator.base_url, public, initial_days=3)
    first = program.load("--json")
    assert first.code == 1
    outcomes = {
        sensor["sensors_id"]: sensor["outcome"]
        for location in first.json["locations"]
        for sensor in location["sensors"]
    }
    broken = {sensors_id for sensors_id, outcome in outcomes.items() if outcome == "failed"}
    assert broken
    assert len(broken) < len(outcomes)
    second = program.load("--json")
    assert second.code == 0, "a parked sensor that was not probed is no failure"
    parked = {
        sensor["sensors_id"]
        for location in second.json["locations"]
        for sensor in location["sensors"]
        if sensor["outcome"] == "parked"
    }
    assert parked == broken


def test_a_wrong_key_stops_the_run_with_what_to_do_and_exits_1(program: Program, simulate: Simulate) -> None:
    simulator = simulate(named.bench(locations=6, sensors=2), Options(requests_per_minute=0, keys=frozenset({"right"})))
    done = program.configure(simulator.base_url, ids(simulator), initial_days=1).load()
    assert done.code == 1
    assert "Invalid credentials" in done.err
    assert "OPENAQ_API_KEY" in done.err
    assert "Traceback" not in done.err
    assert simulator.requests.total <= 4, "one refused request a worker, and no more"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--locations", "abc"], "is not a location id"),
        (["--locations", "0"], "is not a location id"),
        (["--date-from", "yesterday"], "is not a time"),
        (["--date-from", "2025-02-01", "--date-to", "2025-01-01"], "upside down"),
        (["--date-to", "2025-01-01"], "--date-to needs --date-from"),
        (["--base-url", "http://127.0.0.1:9/v2"], "must be an http or https address that ends in /v3"),
        (["--no-such-flag"], "unrecognized arguments"),
    ],
)
def test_bad_usage_is_told_in_a_sentence_and_exits_2(program: Program, arguments: list[str], said: str) -> None:
    done = program.configure("http://127.0.0.1:9/v3", [1]).load(*arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_no_key_exits_2_and_names_where_to_get_one(program: Program) -> None:
    done = program.configure("http://127.0.0.1:9/v3", [1]).load(OPENAQ_API_KEY="")
    assert done.code == 2
    assert "OPENAQ_API_KEY is not set" in done.err
    assert "https://explore.openaq.org/register" in done.err


def test_an_empty_selection_exits_2(program: Program) -> None:
    done = program.configure("http://127.0.0.1:9/v3", []).load()
    assert done.code == 2
    assert "No location is selected" in done.err


def test_a_misspelt_setting_exits_2_with_its_line_and_the_nearest_name(program: Program) -> None:
    program.config.write_text("locations: [1]\napi:\n  max_workrs: 3\ndata:\n  initial_days: soon\n")
    done = program.load()
    assert done.code == 2
    assert "line 3: unknown key `api.max_workrs`; did you mean `max_workers`?" in done.err
    assert "line 5: `data.initial_days` is 'soon'" in done.err


def test_without_a_network_the_run_fails_with_what_to_do(program: Program) -> None:
    done = program.configure("http://127.0.0.1:9/v3", [1], initial_days=1).load()
    assert done.code == 1
    assert "Connection refused" in done.out
    assert "Check the network connection" in done.out


def test_a_data_folder_that_cannot_be_written_exits_2(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", [1])
    (program.folder / "file").write_text("")
    done = program.load("--data-dir", str(program.folder / "file" / "data"))
    assert done.code == 2
    assert "can't be used" in done.err


def test_a_full_disk_fails_the_location_and_loses_nothing(program: Program, bench: Running) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    program.data.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", program.data], check=False)
    if mount.returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        program.configure(bench.base_url, ids(bench), initial_days=20)
        full = program.load()
        assert full.code == 1
        assert "No space left on device" in full.out
        assert "Free some disk space" in full.out
        subprocess.run(["mount", "-o", "remount,size=64m", program.data], check=True)
        again = program.load("--json")
        assert again.code == 0
        assert sum(len(program.rows(location_id)) for location_id in ids(bench)) == 2 * 2 * 20 * 24
    finally:
        subprocess.run(["umount", program.data], check=True)


def test_a_terminal_without_unicode_shows_what_it_can(program: Program, simulate: Simulate) -> None:
    simulator = simulate(named.demo())
    done = program.configure(simulator.base_url, [3459], initial_days=1).load(PYTHONIOENCODING="ascii")
    assert done.code == 0, done.err
    assert "Kathman\\u2026" in done.out


def test_every_way_of_starting_works(program: Program) -> None:
    interpreter = sys.executable
    for command, cwd in (
        ([interpreter, "incremental_loader.py"], ROOT / "dataset"),
        ([interpreter, "dataset/incremental_loader.py"], ROOT),
        ([interpreter, str(ROOT / "dataset/validator.py")], program.folder),
        ([interpreter, "-m", "openaq_pipeline", "run"], ROOT / "dataset"),
    ):
        command += ["--help"]
        done = subprocess.run(command, cwd=cwd, env=program.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "usage: " in done.stdout
        assert "--data-dir" in done.stdout


def test_a_run_without_a_key_works_on_made_up_data_apart_from_real_ones(program: Program) -> None:
    shutil.copy(ROOT / "config.yaml", program.config)
    environment = {name: value for name, value in program.env.items() if name != "OPENAQ_API_KEY"}
    command = [sys.executable, "-m", "openaq_pipeline", "first-run", "--config", str(program.config)]
    command += ["--data-dir", str(program.folder / "demo-data")]
    done = subprocess.run(command, cwd=ROOT / "dataset", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "MADE-UP data" in done.stdout
    assert len(list((program.folder / "demo-data").glob("location_*.json"))) >= 9
    assert not program.data.exists()


def test_a_backfill_before_the_first_poll_leaves_the_first_load_as_it_is(program: Program, bench: Running) -> None:
    program.configure(bench.base_url, ids(bench)[:1], initial_days=10)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert program.load("--date-from", f"{yesterday:%Y-%m-%d}").code == 0
    report = program.load("--json").json
    assert len(program.rows(ids(bench)[0])) == 2 * 24 * 10
    assert report["total_records_fetched"] == 2 * 24 * 10
    long_ago = datetime.now(UTC) - timedelta(days=50)
    assert program.load("--date-from", f"{long_ago:%Y-%m-%d}", "--date-to", f"{long_ago:%Y-%m-%d}").code == 0
    assert program.load("--json").json["total_records_fetched"] <= 2 * (24 + 2), "the look-back, not fifty days"


def test_a_reset_leaves_no_hole_behind_a_long_pause(program: Program, bench: Running) -> None:
    program.configure(bench.base_url, ids(bench)[:1], initial_days=20).load()
    path = program.data / f"location_{ids(bench)[0]}.json"
    cut = f"{datetime.now(UTC) - timedelta(days=10):%Y-%m-%dT%H}"
    rows = [row for row in program.rows(ids(bench)[0]) if row["datetime"] < cut]
    path.write_text("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")
    program.configure(bench.base_url, ids(bench)[:1], initial_days=5)
    assert program.load("--reset-state").code == 0
    assert len(program.rows(ids(bench)[0])) == 2 * 24 * 20


def test_one_sensor_with_broken_answers_starves_nobody(program: Program, bench: Running) -> None:
    broken = bench.world.stations[0].sensors[0].id
    bench.faults.inject("truncate", f"/sensors/{broken}/")
    report = program.configure(bench.base_url, ids(bench), initial_days=1).load("--json").json
    outcomes = {sensor["sensors_id"]: sensor["outcome"] for place in report["locations"] for sensor in place["sensors"]}
    assert outcomes.pop(broken) == "failed"
    assert set(outcomes.values()) == {"ok"}
