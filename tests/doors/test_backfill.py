"""Backfills as users meet them: whole processes that are stopped, killed, fed with broken files, run side by side."""

from __future__ import annotations

import gzip
import json
import logging
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline import load
from openaq_pipeline.model import Measurement
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.archive_bucket import Bucket, s3_server
from tests.archive_files import archive_csv, archive_path, local_day, write_archive
from tests.conftest import Finished, Program, Simulate
from tests.measurements import measurement

SEEN = datetime(2026, 11, 1, tzinfo=UTC)
PLACE, SENSORS = 1_000_001, (2_000_001, 2_000_002)
START = datetime(2025, 6, 1, tzinfo=UTC)
UNITS = {"pm25": "µg/m³", "o3": "ppm"}
PAGES_IN_FLIGHT = 20
"""So many a worker may have read and not stored yet."""

Identity = tuple[int, datetime]


def ids(simulator: Running) -> list[int]:
    return [station.id for station in simulator.world.stations]


def configure(program: Program, changes: dict[str, dict[str, Any]]) -> Program:
    """Change settings of a program that is configured."""
    settings = json.loads(program.config.read_text())
    for section, change in changes.items():
        settings[section] = {**settings.get(section, {}), **change}
    program.config.write_text(json.dumps(settings))
    return program


def values(program: Program) -> dict[Identity, float | None]:
    rows = load(data_dir=program.data).to_pylist()
    found = {(row["sensors_id"], row["datetime"]): row["value"] for row in rows}
    assert len(found) == len(rows), "each row once"
    return found


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All files of a data folder but the log and the empty files of locks."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "pipeline.log" and ".lock" not in path.relative_to(folder).as_posix()
    }


# --- the API: stopped, and gone on with ---


@pytest.fixture
def bench(simulate: Simulate) -> Running:
    return simulate(named.bench(locations=2, sensors=4, days=600))


LONG = ["--date-from", f"{datetime.now(UTC) - timedelta(days=560):%Y-%m-%d}"]
LONG += ["--date-to", f"{datetime.now(UTC) - timedelta(days=188):%Y-%m-%d}"]
LONG_DAYS, LONG_REQUESTS = 373, 2 + 2 * 4 * 9


def cut_short(program: Program, simulator: Running, how: signal.Signals, after: int) -> None:
    """Start a long backfill and end it after some requests."""
    wanted = simulator.requests.total + after
    with program.start("incremental_loader.py", *LONG) as process:
        while process.poll() is None and simulator.requests.total < wanted:
            time.sleep(0.002)
        assert process.poll() is None, "ended before it was stopped"
        process.send_signal(how)
        process.communicate(timeout=30)
    assert process.returncode == (1 if how == signal.SIGTERM else -how)


def test_a_backfill_that_is_stopped_again_and_again_asks_only_what_is_left_and_ends_as_one_that_was_not(
    programs: Callable[[str], Program], bench: Running
) -> None:
    whole, stopped = (
        configure(programs(name).configure(bench.base_url, ids(bench)), {"api": {"max_workers": 1}})
        for name in ("whole", "stopped")
    )
    assert whole.load(*LONG).code == 0
    assert bench.requests.total == LONG_REQUESTS
    bench.requests.clear()
    draw = random.Random(3)
    cut_short(stopped, bench, signal.SIGKILL, draw.randrange(21, 25))
    lost = len(bench.requests.entries())
    for _ in range(2):
        cut_short(stopped, bench, signal.SIGTERM, draw.randrange(8, 12))
    kept = len(bench.requests.entries())
    cut_short(stopped, bench, signal.SIGKILL, draw.randrange(21, 25))
    last = stopped.load("--json", *LONG)
    assert last.code == 0, last.err
    questions = [(entry.path, entry.query) for entry in bench.requests.entries()]
    asked = Counter(questions)
    later = Counter(questions[lost:])
    assert sum(later[question] - 1 for question in set(questions[lost:kept])) <= 2 + 2, "in flight, and once more so"
    assert sum(count for (path, _), count in asked.items() if "/locations/" in path) == 2
    assert bench.requests.total <= LONG_REQUESTS + 2 * 1 + 2 * (PAGES_IN_FLIGHT + 1), "in order, and by force"
    assert values(stopped) == values(whole)
    assert len(values(whole)) == 2 * 4 * 24 * LONG_DAYS
    assert not list(stopped.data.rglob("*.tmp"))
    sent = bench.requests.total
    again = stopped.load("--json", *LONG)
    assert bench.requests.total - sent == LONG_REQUESTS - 2, "who asks for it again has it read again"
    assert again.json["total_records_deduplicated"] == again.json["total_records_fetched"] == len(values(whole))


def test_months_older_than_the_live_window_go_to_the_history_and_the_rest_to_the_location_file(
    program: Program, bench: Running
) -> None:
    place = ids(bench)[0]
    program.configure(bench.base_url, [place])
    done = program.load("--date-from", f"{datetime.now(UTC) - timedelta(days=90):%Y-%m-%d}")
    assert done.code == 0, done.err
    edge = (datetime.now(UTC) - timedelta(days=35)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    live = {datetime.fromisoformat(row["datetime"]) for row in program.rows(place)}
    stored = {stamp for _, stamp in values(program)}
    assert live == {stamp for stamp in stored if stamp >= edge}
    assert min(live) == edge
    assert min(stored) < edge
    years = {path.parent.name for path in (program.data / "history").rglob("*.parquet")}
    assert years == {f"year={stamp.year}" for stamp in stored if stamp < edge}
    assert json.loads((program.data / "locations.json").read_text())[0]["id"] == place


# --- costs ---


@pytest.mark.parametrize("source", ["api", "archive", "auto"])
def test_a_dry_run_tells_what_a_backfill_costs_and_writes_nothing(
    program: Program, bench: Running, tmp_path: Path, source: str
) -> None:
    place = ids(bench)[0]
    rows = some_rows(START, 60)
    files = write_archive(tmp_path / "copy", rows)
    program.configure(bench.base_url, [place])
    configure(program, {"archive": {"location": str(tmp_path / "copy")}})
    span = ["--date-from", "2025-06-01", "--date-to", "2025-07-30", "--source", source]
    told = program.load("--dry-run", *span)
    planned = program.load("--dry-run", "--json", *span).json
    assert told.code == 0, told.err
    assert not program.data.exists()
    bench.requests.clear()
    assert program.load("--json", *span).code == 0
    sent = bench.requests.total
    if source == "api":
        assert sent == planned["requests"] == 1 + 4 * 2
        assert f"About {sent} requests, a few seconds or more" in told.out
        assert planned["archive_files"] is None
        assert "archive" not in told.out
    else:
        assert sent == planned["requests"] == 0
        assert "Nothing to ask the API." in told.out
        size = sum(file.stat().st_size for file in files)
        assert (planned["archive_files"], planned["archive_bytes"]) == (60, size)
        assert f"60 files of OpenAQ's archive to fetch, {size / 1e6:.1f} MB, at no request" in told.out
    before = snapshot(program.data)
    after = program.load("--dry-run", "--json", *span).json
    assert snapshot(program.data) == before
    assert after["requests"] == (0 if source != "api" else 4 * 2)
    assert after["archive_files"] == (None if source == "api" else 0), "what is stored costs nothing"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--source", "archive"], "--source needs --date-from"),
        (["--date-from", "2099-01-01"], "The range begins 2099-01-01T00:00Z, which lies in the future: it is 20"),
        (["--date-from", "2099-01-01", "--date-to", "2099-02-01", "--dry-run"], "lies in the future"),
        (
            ["--date-from", "2025-03-02", "--date-to", "2025-03-01"],
            "upside down: it begins 2025-03-02T00:00Z and ends 2025-03-02T00:00Z",
        ),
        (["--date-from", "2025-01-01", "--source", "s3"], "invalid choice: 's3'"),
        (["--date-from", "2025-01-01", "--source", "archive"], "nowhere of archive.location is not there"),
    ],
)
def test_bad_usage_is_told_in_a_sentence_and_exits_2(program: Program, arguments: list[str], said: str) -> None:
    program.configure("http://127.0.0.1:9/v3", [1])
    configure(program, {"archive": {"location": "nowhere"}})
    done = program.load(*arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


# --- the archive ---


def some_rows(start: datetime, days: int, *, place: int = PLACE) -> list[Measurement]:
    """Hourly rows of the bench world's first two sensors, with values of their own."""
    return [
        measurement(
            round(hour / 100 + number, 4),
            start + timedelta(hours=hour),
            first_seen=SEEN,
            location_id=place,
            sensors_id=SENSORS[number],
            parameter=parameter,
            units=UNITS[parameter],
        )
        for number, parameter in enumerate(UNITS)
        for hour in range(1, days * 24 + 1)
    ]


def wanted(rows: list[Measurement]) -> dict[Identity, float | None]:
    return {(row.sensors_id, row.datetime): row.value for row in rows}


class Copy:
    """A copy of the archive in a folder, and a program that reads it and nothing else."""

    def __init__(self, program: Program, root: Path) -> None:
        self.program, self.root = program, root
        program.configure("http://127.0.0.1:9/v3", [PLACE])
        configure(program, {"archive": {"location": str(root)}})

    def write(self, rows: list[Measurement]) -> list[Path]:
        self.root.mkdir(exist_ok=True)
        return write_archive(self.root, rows)

    def fetch(self, *arguments: str, span: str = "2025-06-01 2025-06-30") -> Finished:
        start, end = span.split()
        command = ("--date-from", start, "--date-to", end, "--source", "archive", *arguments)
        return self.program.load("--json", *command, OPENAQ_API_KEY="")


@pytest.fixture
def copy(program: Program, tmp_path: Path) -> Copy:
    return Copy(program, tmp_path / "copy")


def test_the_archive_takes_no_key_and_no_request_and_a_file_is_fetched_again_only_when_it_was_written_anew(
    copy: Copy, bench: Running
) -> None:
    configure(copy.program, {"api": {"base_url": bench.base_url}})
    rows = some_rows(START, 30)
    files = copy.write(rows)
    first = copy.fetch()
    assert first.code == 0, first.err
    assert first.json["total_records_fetched"] == len(rows)
    assert values(copy.program) == wanted(rows)
    for file in files:  # whoever fetches one of them again finds nonsense
        stat = file.stat()
        file.write_bytes(b"x" * stat.st_size)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = copy.fetch()
    assert (again.code, again.json["total_records_fetched"]) == (0, 0), again.err
    late = [
        *rows[:-24],
        measurement(77.5, rows[30].datetime, first_seen=SEEN, location_id=PLACE, sensors_id=SENSORS[0]),
    ]
    day = local_day(rows[30])
    copy.write([row for row in late if local_day(row) == day])
    third = copy.fetch()
    assert third.code == 0, third.err
    assert third.json["locations"][0]["revised"] == 1
    assert third.json["total_records_fetched"] == 2 * 24
    assert values(copy.program) == {**wanted(rows), (SENSORS[0], rows[30].datetime): 77.5}
    assert bench.requests.total == 0


def test_what_lay_outside_of_a_range_is_fetched_by_a_wider_one(copy: Copy) -> None:
    rows = some_rows(START, 10)
    copy.write(rows)
    middle = (START + timedelta(days=3, hours=5), START + timedelta(days=6, hours=7))
    assert copy.fetch(span=" ".join(f"{moment:%Y-%m-%dT%H:%MZ}" for moment in middle)).code == 0
    assert values(copy.program) == wanted([row for row in rows if middle[0] < row.datetime <= middle[1]])
    wider = copy.fetch()
    assert values(copy.program) == wanted(rows)
    assert wider.json["locations"][0]["new"] == len(rows) - 2 * 74


def spoilt(rows: list[Measurement]) -> dict[str, tuple[bytes, str]]:
    """Files that are wrong, with what is to be said of each."""
    good = archive_csv(rows)
    other = archive_csv([measurement(1.0, row.datetime, first_seen=SEEN, location_id=999) for row in rows])
    return {
        "cut": (gzip.compress(good)[:-40], "cut"),
        "empty": (b"", "empty"),
        "garbage": (b"<html>Access denied</html>", "gzip"),
        "of another location": (gzip.compress(other), "another location"),
        "without values": (gzip.compress(good.replace(b'"value"', b'"worth"')), "value"),
    }


def dressed(rows: list[Measurement]) -> dict[str, bytes]:
    """Files that are written in another way, and as good."""
    lines = archive_csv(rows).decode().split("\r\n")
    turned = "\r\n".join(",".join(reversed(line.split(","))) for line in lines[:-1]) + "\r\n"
    return {
        "columns turned round": turned.encode(),
        "LF": "\n".join(lines).encode(),
        "no quotes": "\r\n".join(lines).replace('"', "").encode(),
        "a byte order mark": b"\xef\xbb\xbf" + "\r\n".join(lines).encode(),
    }


def test_each_broken_file_is_named_the_others_are_stored_and_a_mended_one_with_the_next_run(copy: Copy) -> None:
    rows = some_rows(START, 20)
    files = copy.write(rows)
    by_day = {file: [row for row in rows if archive_path(PLACE, local_day(row)) in file.as_posix()] for file in files}
    for file, name in zip(files[10:], dressed(rows), strict=False):
        file.write_bytes(gzip.compress(dressed(by_day[file])[name]))
    broken: dict[Path, str] = {}
    for file, name in zip(files, spoilt(rows), strict=False):
        content, broken[file] = spoilt(by_day[file])[name]
        file.write_bytes(content)
    first = copy.fetch()
    report = first.json["locations"][0]
    assert (first.code, report["outcome"]) == (1, "partial")
    assert values(copy.program) == wanted([row for file in files if file not in broken for row in by_day[file]])
    told = report["error"]
    for file, reason in list(broken.items())[:3]:
        assert re.search(rf"{re.escape(file.name)}[^;]*{reason}", told), (file.name, told)
    assert "and 2 more files" in told
    assert "Traceback" not in first.err
    copy.write(rows[: 4 * 24] + rows[20 * 24 : 24 * 24])
    second = copy.fetch()
    assert second.code == 1
    left, reason = list(broken.items())[4]
    assert re.fullmatch(rf"[^;]*{re.escape(left.name)}[^;]*{reason}[^;]*", second.json["locations"][0]["error"])
    copy.write(rows)
    assert copy.fetch().code == 0
    assert values(copy.program) == wanted(rows)


def test_a_location_that_the_archive_lacks_is_a_warning_and_no_failure(copy: Copy) -> None:
    copy.write(some_rows(START, 2))
    done = copy.fetch("--locations", "4711", str(PLACE))
    assert done.code == 0, done.err
    assert "OpenAQ's archive has no file of this location for these days" in done.err
    assert [place["outcome"] for place in done.json["locations"]] == ["ok", "ok"]
    assert not (copy.program.data / "location_4711.json").exists()


# --- the archive on S3 ---


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


class Gets(logging.Handler):
    """The objects that a server on this machine was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.search(r"GET (/\S+\.csv\.gz)", record.getMessage()):
            self.paths.append(found[1])


@pytest.fixture
def gets() -> Iterator[Gets]:
    log, handler = logging.getLogger("werkzeug"), Gets()
    level, log.propagate = log.level, False
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)
    log.propagate = True


def test_a_bucket_gives_each_file_once_and_only_what_was_written_anew_again(
    program: Program, tmp_path: Path, endpoint: str, gets: Gets
) -> None:
    bucket, rows = Bucket(endpoint, "once"), some_rows(START, 30)
    files = write_archive(tmp_path / "copy", rows)
    bucket.upload(tmp_path / "copy")
    program.configure("http://127.0.0.1:9/v3", [PLACE])
    configure(program, {"archive": {"location": "s3://once", "endpoint": endpoint}})
    fetch = ["--date-from", "2025-06-01", "--date-to", "2025-06-30", "--source", "archive"]
    done = program.load(*fetch, OPENAQ_API_KEY="")
    assert done.code == 0, done.err
    assert values(program) == wanted(rows)
    assert len(gets.paths) == len(set(gets.paths)) == len(files)
    gets.paths.clear()
    assert program.load(*fetch, OPENAQ_API_KEY="").code == 0
    assert gets.paths == []
    bucket.put(files[7].relative_to(tmp_path / "copy").as_posix(), files[7].read_bytes() + gzip.compress(b""))
    assert program.load(*fetch, OPENAQ_API_KEY="").code == 0
    assert [path.rpartition("/")[2] for path in gets.paths] == [files[7].name]
    bucket.close()


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        ({"location": "s3://nobody-has-this"}, "There is no bucket s3://nobody-has-this"),
        ({"location": "s3://any", "endpoint": "http://127.0.0.1:9"}, "No connection to s3://any"),
    ],
    ids=["no such bucket", "no connection"],
)
def test_an_archive_that_is_not_there_fails_alone_and_the_api_goes_on(
    program: Program, bench: Running, endpoint: str, archive: dict[str, str], said: str
) -> None:
    program.configure(bench.base_url, ids(bench), initial_days=3)
    configure(program, {"archive": {"endpoint": endpoint, **archive}, "api": {"max_workers": 1}})
    span = ["--date-from", f"{datetime.now(UTC) - timedelta(days=10):%Y-%m-%d}"]
    alone = program.load("--source", "archive", *span)
    assert alone.code in {1, 2}
    assert f"Error: {said}" in alone.err
    assert "Traceback" not in alone.err
    both = program.load("--source", "auto", "--json", *span)
    assert both.code == 1
    assert [place["outcome"] for place in both.json["locations"]] == ["partial", "partial"]
    assert all(said in place["error"] for place in both.json["locations"])
    newest = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    stamps = {stamp for _, stamp in values(program)}
    assert newest - timedelta(hours=1) in stamps
    reach = newest - min(stamps) + timedelta(hours=1)  # the row of the midnight four days ago is the archive's
    assert timedelta(days=4) <= reach < timedelta(days=5), "the archive's share is missing, and told"


def test_auto_asks_the_archive_for_what_is_old_and_the_api_for_the_rest(
    program: Program, bench: Running, tmp_path: Path
) -> None:
    place, now = ids(bench)[0], datetime.now(UTC)
    begin = (now - timedelta(days=9)).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = some_rows(begin, 9)
    write_archive(tmp_path / "copy", [row for row in rows if row.datetime <= now - timedelta(days=3)])
    program.configure(bench.base_url, [place])
    configure(program, {"archive": {"location": str(tmp_path / "copy")}})
    done = program.load("--json", "--source", "auto", "--date-from", f"{begin:%Y-%m-%d}")
    assert done.code == 0, done.err
    found = {
        (row["sensors_id"], row["datetime"]): (row["source"], row["parameters_id"])
        for row in load(data_dir=program.data).to_pylist()
    }
    cut = (now - timedelta(days=4)).replace(hour=0, minute=0, second=0, microsecond=0)
    for (sensor, stamp), (source, parameters_id) in found.items():
        assert source == ("api" if stamp > cut else "archive"), (sensor, stamp)
        assert parameters_id is not None, "the API has told which it is"
    assert {stamp for sensor, stamp in found if sensor == SENSORS[0]} == {
        begin + timedelta(hours=hour) for hour in range(1, int((now - begin) / timedelta(hours=1)) + 1)
    }
    assert bench.requests.total == 1 + 4


def test_an_archive_backfill_that_is_killed_goes_on_and_ends_in_the_same_rows(
    programs: Callable[[str], Program], tmp_path: Path, bench: Running
) -> None:
    del bench
    rows = some_rows(datetime(2022, 1, 1, tzinfo=UTC), 1200)
    write_archive(tmp_path / "copy", rows)
    program = Copy(programs("killed"), tmp_path / "copy").program
    fetch = ["--date-from", "2022-01-01", "--date-to", "2025-06-01", "--source", "archive"]
    progress = program.data / f".backfill/location_{PLACE}.json"
    draw = random.Random(1)
    for _ in range(3):
        known = progress.read_bytes() if progress.exists() else b""
        with program.start("incremental_loader.py", *fetch) as process:
            while process.poll() is None and (not progress.exists() or progress.read_bytes() == known):
                time.sleep(0.002)
            time.sleep(draw.random() / 5)
            process.send_signal(signal.SIGKILL)
            process.communicate()
    done = program.load("--json", *fetch)
    assert done.code == 0, done.err
    assert values(program) == wanted(rows)
    assert done.json["total_records_fetched"] < len(rows) / 2, "most of it was noted as stored before"
    assert not list(program.data.rglob("*.tmp"))


# --- beside polls ---


def test_a_poll_never_waits_for_a_backfill(programs: Callable[[str], Program], simulate: Simulate) -> None:
    simulator = simulate(named.bench(locations=2, sensors=4, days=400), Options(requests_per_minute=0))
    program = programs("shared").configure(simulator.base_url, ids(simulator), initial_days=1)
    assert program.load().code == 0
    shutil.rmtree(program.folder / "state")  # a new minute for everybody
    configure(program, {"api": {"requests_per_minute": 30, "requests_per_hour": 60}})
    simulator.requests.clear()
    with program.start("incremental_loader.py", "--date-from", LONG[1]) as backfill:
        try:
            deadline = time.monotonic() + 20
            while simulator.requests.total < 20 and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.5)
            assert simulator.requests.total == 20, "it leaves ten of thirty to the polls: eight sensors, two locations"
            (program.data / "locations.json").unlink()  # so this poll looks at the locations, as every day's first one
            began = time.monotonic()
            poll = program.load("--json")
            assert poll.code == 0, poll.err
            assert time.monotonic() - began < 30, "a minute would have had to pass"
            assert backfill.poll() is None
            assert (poll.json["requests"], simulator.requests.total) == (10, 30)
        finally:
            backfill.send_signal(signal.SIGTERM)


def state_of(program: Program) -> dict[str, str]:
    known = json.loads((program.data / ".state.json").read_text())["locations"].values()
    return {key: sensor["watermark"] for place in known for key, sensor in place["sensors"].items()}


def test_polls_and_backfills_of_one_location_side_by_side_keep_every_row_once_and_the_watermarks(
    program: Program, bench: Running
) -> None:
    place = ids(bench)[0]
    program.configure(bench.base_url, [place], initial_days=5)
    assert program.load().code == 0
    before = state_of(program)
    bench.faults.inject("delay", "/measurements", seconds=0.02)
    past = f"{datetime.now(UTC) - timedelta(days=80):%Y-%m-%d}"
    backfills = [program.start("incremental_loader.py", "--date-from", past) for _ in range(2)]
    polls = []
    while any(process.poll() is None for process in backfills):
        polls.append(program.load("--json"))
    for process in backfills:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert {poll.code for poll in polls} == {0}, [poll.err for poll in polls]
    hours = int((datetime.now(UTC) - datetime.fromisoformat(f"{past}T00:00Z")) / timedelta(hours=1))
    assert len(values(program)) == 4 * hours
    after = program.load("--json")
    assert after.json["total_records_fetched"] <= 4 * 26, "the poll goes on where it was"
    assert all(state_of(program)[key] >= stamp for key, stamp in before.items())
    assert not list(program.data.glob("*.damaged-*"))
    again = program.load("--json")
    assert again.json["total_records_deduplicated"] == again.json["total_records_fetched"]


def test_the_first_poll_behind_a_backfill_reads_its_first_span(program: Program, bench: Running) -> None:
    place = ids(bench)[0]
    program.configure(bench.base_url, [place], initial_days=50)
    assert program.load("--date-from", LONG[1], "--date-to", LONG[3]).code == 0
    assert program.rows(place) == []
    first = program.load("--json").json
    assert first["total_records_fetched"] == first["locations"][0]["new"] == 4 * 24 * 50
    assert program.load("--json").json["total_records_fetched"] <= 4 * 26
    assert not list(program.data.glob(".location_*.loss"))


def test_the_command_backfill_fills_a_range_of_any_location(program: Program, bench: Running) -> None:
    one, other = ids(bench)
    program.configure(bench.base_url, [one])
    span = ["--locations", str(other), "--date-from", "2025-12-01", "--date-to", "2025-12-03"]
    for arguments, code in ((span, 0), ([], 2)):
        done = program.run("backfill", *arguments)
        assert done.code == code, done.err
    assert "--date-from" in done.err
    assert len(values(program)) == 4 * 24 * 3
    assert {row["location_id"] for row in load(data_dir=program.data).to_pylist()} == {other}
