"""Months of polls under a made-up clock, and backfills in this process: where rows are, and what a poll costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from pydantic import SecretStr

from openaq_pipeline import load
from openaq_pipeline.backfill import backfill
from openaq_pipeline.model import Window
from openaq_pipeline.reports import Gauge, LocationReport, RunPlan, RunReport
from openaq_pipeline.run import Watcher, run_once
from openaq_pipeline.settings import ApiSettings, DataSettings, Settings
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock, to_us
from openaq_pipeline.simulator.control import NewRow
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.stored import StoredRow, StoredWorld
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.sealed import sealed_to
from openaq_pipeline.storage.state import StateFile
from openaq_pipeline.wiring import Stop
from tests.conftest import NO_LIMIT, ROOT, Program, Simulate

BEGIN = datetime(2025, 10, 10, 7, tzinfo=UTC)
STEADY, LATE, SILENT = 2_000_001, 2_000_002, 2_000_003
PLACE = 1_000_001
EVERY = timedelta(hours=6)
FALLS_SILENT = BEGIN + timedelta(days=12)
LATENESS = timedelta(hours=40)
LIVE_DAYS = 35


def rows_of(sensors_id: int) -> list[StoredRow]:
    """Half a year of rows; every fifth of one sensor comes late, another sensor ends early."""
    found = []
    for number in range(4 * 200):
        stamp = BEGIN.replace(hour=0) - timedelta(days=20) + number * EVERY
        if sensors_id == SILENT and stamp > FALLS_SILENT:
            break
        late = LATENESS if sensors_id == LATE and number % 5 == 0 else timedelta(0)
        found.append(StoredRow(to_us(stamp), sensors_id % 10 + number / 1000, to_us(stamp + late)))
    return found


class Time:
    """A clock for the simulator and the program alike."""

    def __init__(self) -> None:
        self.simulated = Clock(BEGIN, speed=0)

    def __call__(self) -> datetime:
        return self.simulated.now().replace(microsecond=0)

    def go_on(self, **span: float) -> None:
        self.simulated.advance(timedelta(**span).total_seconds())


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def months(time: Time) -> Iterator[Running]:
    """One location whose time is made up."""
    world = named.bench(locations=1, sensors=3, days=1)
    rows = {sensor: rows_of(sensor) for sensor in (STEADY, LATE, SILENT)}
    stored = StoredWorld(world.stations, rows, parameters=world.parameters, licenses=world.licenses)
    with running(stored, options=Options(requests_per_minute=0), clock=time.simulated) as simulator:
        yield simulator


def settings_for(simulator: Running, folder: Path, **data: Any) -> Settings:
    api = ApiSettings(
        base_url=simulator.base_url,
        api_key=SecretStr("key"),
        requests_per_minute=NO_LIMIT,
        requests_per_hour=NO_LIMIT,
        max_workers=2,
    )
    return Settings(
        locations=[station.id for station in simulator.world.stations],
        api=api,
        data=DataSettings(**data),
        data_dir=folder,
    )


def stored(folder: Path) -> dict[tuple[int, datetime], float]:
    rows = load(data_dir=folder).to_pylist()
    found = {(row["sensors_id"], row["datetime"]): row["value"] for row in rows}
    assert len(found) == len(rows), "each row once"
    return found


def shown(since: datetime, now: datetime) -> dict[tuple[int, datetime], float | None]:
    """What the simulator has shown of the time since then."""
    return {
        (sensor, datetime.fromtimestamp(row.stamp_us / 1e6, UTC)): row.value
        for sensor in (STEADY, LATE, SILENT)
        for row in rows_of(sensor)
        if row.visible_us <= to_us(now) and row.stamp_us > to_us(since)
    }


def in_file(folder: Path) -> list[datetime]:
    return [
        datetime.fromisoformat(row["datetime"]) for row in json.loads((folder / f"location_{PLACE}.json").read_text())
    ]


def complete(report: RunReport) -> RunReport:
    assert report.complete, [place.error for place in report.locations]
    return report


def test_months_of_polls_keep_the_live_window_in_the_file_and_the_rest_in_the_history(
    months: Running, time: Time, tmp_path: Path
) -> None:
    settings = settings_for(months, tmp_path, initial_days=15, live_days=LIVE_DAYS)
    seals = set()
    while time() < BEGIN + timedelta(days=160):
        complete(run_once(settings, clock=time))
        assert stored(tmp_path) == shown(BEGIN - timedelta(days=15), time())
        live, first = in_file(tmp_path), (time() - timedelta(days=LIVE_DAYS, hours=6))
        first = first.replace(day=1, hour=0, minute=0, second=0)
        assert all(stamp >= first for stamp in live), "no month older than the live window"
        counted = {stamp for _, stamp in stored(tmp_path) if stamp >= time() - timedelta(days=LIVE_DAYS)}
        assert counted <= set(live), "the live window is whole"
        to = sealed_to(tmp_path, PLACE)
        older = {} if to is None else History(tmp_path).latest(PLACE, to)
        assert (to is None) == (min(stored(tmp_path), key=lambda key: key[1])[1] >= first)
        assert to is None or max(older.values()) < to == first <= min(live)
        seals.add(to)
        time.go_on(days=9, hours=5)
    assert len(seals) >= 5, "several months were moved"
    assert not list(tmp_path.rglob("*.tmp"))


def watermarks(folder: Path) -> dict[int, datetime | None]:
    state = StateFile(folder)
    state.load(BEGIN)
    return {sensors_id: known.watermark for sensors_id, known in state.get(PLACE).sensors.items()}


def test_a_lost_state_finds_a_sensor_that_fell_silent_before_the_seal_in_the_history(
    months: Running, time: Time, tmp_path: Path
) -> None:
    settings = settings_for(months, tmp_path, initial_days=15, live_days=LIVE_DAYS)
    for _ in range(12):
        complete(run_once(settings, clock=time))
        time.go_on(days=12)
    complete(run_once(settings, clock=time))
    before = watermarks(tmp_path)
    seal = sealed_to(tmp_path, PLACE)
    assert seal is not None
    silent = before[SILENT]
    assert silent is not None
    assert seal - silent > timedelta(days=60)
    (tmp_path / ".state.json").unlink()
    months.requests.clear()
    report = complete(run_once(settings, clock=time))
    assert watermarks(tmp_path) == before
    (asked,) = [entry.query for entry in months.requests.entries() if f"/sensors/{SILENT}/" in entry.path]
    assert f"datetime_from={silent - timedelta(hours=72):%Y-%m-%dT%H}" in asked.replace("%3A", ":")
    assert report.counts.new == report.counts.revised == 0
    assert report.counts.identical <= 3 * 13, "the look-back of a sweep, and not the history"


def test_a_backfill_beyond_the_live_window_moves_no_watermark_and_polls_go_on(
    months: Running, time: Time, tmp_path: Path
) -> None:
    settings = settings_for(months, tmp_path, initial_days=5)
    time.go_on(days=120)
    complete(run_once(settings, clock=time))
    before, state = watermarks(tmp_path), (tmp_path / ".state.json").read_bytes()
    report = complete(backfill(settings, Window(BEGIN - timedelta(days=30), time()), clock=time))
    assert report.counts.new > 1000
    assert (tmp_path / ".state.json").read_bytes() == state
    assert stored(tmp_path) == shown(BEGIN - timedelta(days=30), time())
    time.go_on(hours=25)  # so that the sweep is due, which finds what comes as late as here
    after = complete(run_once(settings, clock=time))
    assert after.counts.fetched <= 3 * 4 * 5
    later = watermarks(tmp_path)
    assert all(stamp is None or (later[key] or BEGIN) >= stamp for key, stamp in before.items())
    assert stored(tmp_path) == shown(BEGIN - timedelta(days=30), time())


def test_what_comes_late_or_changes_behind_the_end_of_a_silent_sensor_is_found_by_the_next_poll(
    months: Running, time: Time, tmp_path: Path
) -> None:
    settings = settings_for(months, tmp_path, initial_days=15, live_days=LIVE_DAYS)
    for _ in range(12):
        complete(run_once(settings, clock=time))
        time.go_on(days=12)
    *_, read, heard = (complete(run_once(settings, clock=time)).counts for _ in range(4))
    assert heard == read, "what is known is told as if it had been looked up"
    assert heard.fetched == heard.identical > heard.clean
    silent = watermarks(tmp_path)[SILENT]
    assert silent is not None
    late, revised = silent - timedelta(hours=1), silent - timedelta(hours=6)
    months.add_rows(SILENT, NewRow(late, 12.5), NewRow(revised, 99.25))
    found = complete(run_once(settings, clock=time))
    assert (found.counts.new, found.counts.revised) == (1, 1)
    assert stored(tmp_path) == {
        **shown(BEGIN - timedelta(days=15), time()),
        (SILENT, late): 12.5,
        (SILENT, revised): 99.25,
    }
    time.go_on(minutes=20)
    again = complete(run_once(settings, clock=time))
    assert again.counts.identical == again.counts.fetched == heard.fetched + 1


def test_what_was_read_before_does_not_count_as_stored_once_another_has_written(
    months: Running, time: Time, tmp_path: Path
) -> None:
    settings = settings_for(months, tmp_path, initial_days=15, live_days=LIVE_DAYS)
    for _ in range(12):
        complete(run_once(settings, clock=time))
        time.go_on(days=12)
    for _ in range(2):
        complete(run_once(settings, clock=time))
    to = sealed_to(tmp_path, PLACE)
    assert to is not None
    silent = watermarks(tmp_path)[SILENT]
    assert silent is not None
    history, lost = History(tmp_path), silent - timedelta(hours=6)
    there = history.year(PLACE, 2025)
    gone = pc.and_(pc.equal(there.column("sensors_id"), SILENT), pc.equal(there.column("datetime"), lost))
    history.write(PLACE, 2025, there.filter(pc.invert(gone)), None)
    assert (SILENT, lost) not in stored(tmp_path)
    assert complete(run_once(settings, clock=time)).counts.new == 0, "nobody has said that anything changed"
    (tmp_path / f"location_{PLACE}.json").touch()
    assert complete(run_once(settings, clock=time)).counts.new == 1
    assert (SILENT, lost) in stored(tmp_path)


# --- what a run tells while it goes on ---


class Listener(Watcher):
    """Notes the gauge before the first location, after each, and when all is over."""

    def __init__(self) -> None:
        self.plans: list[RunPlan] = []
        self.gauges: list[Gauge] = []
        self.gauge: Callable[[], Gauge] | None = None

    def planned(self, run_plan: RunPlan) -> None:
        self.plans.append(run_plan)

    def begins(self, gauge: Callable[[], Gauge]) -> None:
        self.gauge = gauge
        self.gauges.append(gauge())

    def finished(self, report: LocationReport) -> None:
        del report
        assert self.gauge is not None
        self.gauges.append(self.gauge())


def test_a_backfill_of_unknown_locations_knows_from_the_start_what_is_left(simulate: Simulate, tmp_path: Path) -> None:
    simulator = simulate(named.bench(locations=3, sensors=2, days=200))
    settings = settings_for(simulator, tmp_path)
    settings = settings.model_copy(update={"api": settings.api.model_copy(update={"max_workers": 1})})
    now, listener = datetime.now(UTC).replace(microsecond=0), Listener()
    # Half of the range is empty, and not reckoned: OpenAQ says when a location began.
    complete(backfill(settings, Window(now - timedelta(days=400), now), watcher=listener))
    (planned,) = listener.plans
    assert (planned.unknown_locations, planned.sensors, planned.requests) == (0, 6, 6 * 5)
    assert [gauge.requests_left for gauge in listener.gauges] == [30, 20, 10, 0]
    rows = [gauge.rows for gauge in listener.gauges]
    assert rows == sorted(rows)
    assert rows[-1] == len(stored_all(tmp_path))
    assert listener.gauge is not None
    assert listener.gauge().requests_left == 0, "a bar is drawn once more when the ledger is closed"


def stored_all(folder: Path) -> list[object]:
    found: list[object] = load(data_dir=folder).to_pylist()
    return found


def test_the_minutes_left_are_those_of_what_the_polls_leave(simulate: Simulate, tmp_path: Path) -> None:
    simulator = simulate(named.bench(locations=2, sensors=2, days=400))
    settings = settings_for(simulator, tmp_path, initial_days=1)
    assert complete(run_once(settings)).requests == 7
    api = settings.api.model_copy(update={"requests_per_minute": 10, "requests_per_hour": 1000})
    settings = settings.model_copy(update={"api": api})
    now, stop = datetime.now(UTC).replace(microsecond=0), Stop()

    class Leaver(Listener):
        def begins(self, gauge: Callable[[], Gauge]) -> None:
            super().begins(gauge)
            stop.set()

    listener = Leaver()
    report = backfill(settings, Window(now - timedelta(days=400), now), watcher=listener, stop=stop)
    assert report.error == "the run was stopped"
    assert report.requests == 0
    # A poll asks six, and has half of the ten a minute to itself; five are used up, so that 40 end in the ninth minute.
    assert listener.gauges[0] == Gauge(rows=0, requests_left=40, files_left=0, minutes_left=8.0)


# --- what a poll costs ---

DRIVER = r"""
import json, pathlib, re, sys
from openaq_pipeline.cli import main
code = main(["run", "--config", sys.argv[1], "--json"])
heavy = sorted({"pyarrow", "duckdb", "numpy", "pandas", "psycopg", "rich"} & set(sys.modules))
peak = int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
print(json.dumps([code, heavy, peak]), file=sys.stderr)
"""


def cost_of_a_poll(program: Program) -> tuple[int, list[str], int]:
    """Return the exit code, the heavy modules and the peak memory in KiB of a poll in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(program.config)],
        env=program.env | {"PYTHONPATH": str(ROOT / "dataset")},
        cwd=program.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    code, heavy, peak = json.loads(done.stderr.splitlines()[-1])
    return code, heavy, peak


def test_a_poll_that_moves_nothing_loads_nothing_heavy_and_takes_no_more_memory_than_before(
    programs: Callable[[str], Program], simulate: Simulate
) -> None:
    simulator = simulate(named.bench(locations=3, sensors=5, days=400))
    ids = [station.id for station in simulator.world.stations]
    plain, sealed = (programs(name).configure(simulator.base_url, ids, initial_days=20) for name in ("plain", "sealed"))
    for program in (plain, sealed):
        assert program.load().code == 0
    assert sealed.load("--date-from", f"{datetime.now(UTC) - timedelta(days=300):%Y-%m-%d}").code == 0
    assert len(list((sealed.data / "history").rglob("*.parquet"))) >= 3
    cost_of_a_poll(sealed)  # this one heals its state, as the files have changed under it
    before, after = cost_of_a_poll(plain), cost_of_a_poll(sealed)
    assert before[:2] == after[:2] == (0, [])
    assert after[2] < before[2] + 4 * 1024, "KiB"


def test_a_poll_of_a_sensor_that_fell_silent_before_the_seal_loads_nothing_heavy(
    program: Program, simulate: Simulate
) -> None:
    world = named.bench(locations=1, sensors=2, days=1)
    now, hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0), timedelta(hours=1)
    rows = {
        sensor.id: [
            StoredRow(to_us(now - hours * hour), hours / 10, to_us(now - hours * hour)) for hours in range(end, 2880)
        ]
        for sensor, end in zip(world.stations[0].sensors, (0, 2400), strict=True)
    }
    simulator = simulate(StoredWorld(world.stations, rows, parameters=world.parameters, licenses=world.licenses))
    program.configure(simulator.base_url, [PLACE], initial_days=119)
    for _ in range(2):  # the sweep and the look-back, each read once
        assert program.load().code == 0
    assert cost_of_a_poll(program)[:2] == (0, [])


def test_a_poll_of_a_location_that_has_nothing_but_a_history_loads_nothing_heavy(
    program: Program, shared_data: Path, simulate: Simulate
) -> None:
    simulator = simulate(named.replay(shared_data / "guadalajara"))
    ids = [station.id for station in simulator.world.stations]
    program.configure(simulator.base_url, ids, initial_days=10)
    assert program.load("--date-from", "2025-09-19", "--date-to", "2025-10-12").code == 0
    assert program.load().code == 0
    assert cost_of_a_poll(program)[:2] == (0, [])
    assert not list(program.data.glob(".location_*.loss"))
