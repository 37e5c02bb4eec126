"""What people see while a backfill goes on: a bar on a real terminal, plain lines elsewhere, the report in both."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openaq_pipeline.cli import show
from openaq_pipeline.reports import Gauge
from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.archive_files import write_archive
from tests.conftest import ROOT, Finished, Program, Simulate
from tests.measurements import measurement

START = datetime(2025, 6, 1, tzinfo=UTC)
LONG = ["--date-from", f"{datetime.now(UTC) - timedelta(days=260):%Y-%m-%d}"]
ROWS, COLUMNS = 30, 140


@pytest.fixture
def bench(simulate: Simulate) -> Running:
    return simulate(named.bench(locations=3, sensors=2, days=300))


def ids(simulator: Running) -> list[int]:
    return [station.id for station in simulator.world.stations]


def on_a_terminal(program: Program, *arguments: str) -> Finished:
    """Run the main job with its stderr on a terminal; the answer's `err` is what was written to it."""
    screen, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command = [sys.executable, str(ROOT / "dataset/incremental_loader.py"), "--config", str(program.config), *arguments]
    env = program.env | {"TERM": "xterm-256color"}
    with subprocess.Popen(command, env=env, stdin=end, stdout=subprocess.PIPE, stderr=end, text=True) as process:
        os.close(end)
        written = b""
        while True:
            try:
                piece = os.read(screen, 1 << 16)
            except OSError:  # Linux says so when nobody has the other end any more
                break
            if not piece:
                break
            written += piece
        os.close(screen)
        assert process.stdout is not None
        out = process.stdout.read()
    return Finished(process.returncode, out, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode()))


def test_a_terminal_shows_a_bar_with_rows_what_is_left_and_how_long_and_ends_with_the_report(
    program: Program, bench: Running
) -> None:
    bench.faults.inject("delay", "/measurements", seconds=0.15)
    program.configure(bench.base_url, ids(bench))
    settings = json.loads(program.config.read_text())
    settings["api"]["max_workers"] = 1
    program.config.write_text(json.dumps(settings))
    done = on_a_terminal(program, *LONG)
    assert done.code == 0, done.err
    assert "Error" not in done.err
    assert "Traceback" not in done.err
    left = [int(number) for number in re.findall(r"(\d+) requests? left, a few seconds or more", done.err)]
    assert left
    assert 30 <= left[0] <= 42
    assert left == sorted(left, reverse=True)
    assert left[-1] < 15
    assert re.search(r"[1-9][\d,]* new rows", done.err)
    assert "1/3" in done.err
    assert "3 locations: 3 ok, 0 partial, 0 failed." in done.out


def test_elsewhere_each_location_is_a_line_and_no_line_moves_a_cursor(program: Program, bench: Running) -> None:
    program.configure(bench.base_url, ids(bench))
    settings = json.loads(program.config.read_text())
    settings["api"]["max_workers"] = 1
    program.config.write_text(json.dumps(settings))
    done = program.load(*LONG)
    assert done.code == 0, done.err
    assert "\x1b" not in done.err
    assert "\r" not in done.err
    assert "3 locations, 6 sensors to read" in done.err
    assert "About 42 requests, a few seconds or more within the limits of the key." in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("[")]
    total = 2 * int((datetime.now(UTC) - datetime.fromisoformat(f"{LONG[1]}T00:00Z")) / timedelta(hours=1))
    for number, (line, place) in enumerate(zip(lines, ids(bench), strict=True), start=1):
        told = re.fullmatch(
            rf"\[{number}/3\] location {place}: ok, {total:,} new, 0 revised, 0 identical "
            r"\(([\d,]+) new rows(?:, (\d+) requests left, a few seconds or more)?\)",
            line,
        )
        assert told, line
        # The next location may have come on by the time that this one is told of.
        assert total * number <= int(told[1].replace(",", "")) <= total * 3
        assert int(told[2] or 0) <= 42 - 14 * number
    assert lines[-1].endswith(f"({total * 3:,} new rows)")


def test_a_backfill_from_the_archive_speaks_of_files_and_of_no_requests(program: Program, tmp_path: Path) -> None:
    rows = [
        measurement(float(hour), START + timedelta(hours=hour), first_seen=START, location_id=place, sensors_id=place)
        for place in (7, 8)
        for hour in range(1, 480)
    ]
    write_archive(tmp_path / "copy", rows)
    program.configure("http://127.0.0.1:9/v3", [7, 8])
    settings = json.loads(program.config.read_text()) | {"archive": {"location": str(tmp_path / "copy")}}
    program.config.write_text(json.dumps(settings))
    span = ["--date-from", "2025-06-01", "--date-to", "2025-06-30", "--source", "archive"]
    plain = program.load(*span)
    assert plain.code == 0, plain.err
    assert "Nothing to ask the API." in plain.err
    assert re.search(r"^\[2/2\] location [78]: ok, 479 new, .* \(958 new rows\)$", plain.err, re.MULTILINE)
    shown = on_a_terminal(program, *span, "--data-dir", str(tmp_path / "other"))
    assert shown.code == 0, shown.err
    assert "request" not in shown.err.replace("0 requests in", "")


def test_with_json_nothing_but_the_log_is_told_on_the_way(program: Program, bench: Running) -> None:
    program.configure(bench.base_url, ids(bench)[:1])
    done = on_a_terminal(program, *LONG, "--json")
    assert done.code == 0
    assert json.loads(done.out)["total_locations_processed"] == 1
    assert "requests left" not in done.err
    assert "━" not in done.err


@pytest.mark.parametrize(
    ("gauge", "said"),
    [
        (Gauge(0, 0, 0, 0.0), "0 new rows"),
        (Gauge(1, 1, 0, 0.0), "1 new row, 1 request left, a few seconds or more"),
        (Gauge(1234, 2300, 0, 65.2), "1,234 new rows, 2,300 requests left, 1 h 5 min or more"),
        (Gauge(5, 0, 1, 0.0), "5 new rows, 1 file left"),
        (Gauge(5, 40, 3650, 8.0), "5 new rows, 40 requests left, 8 min or more, 3,650 files left"),
    ],
)
def test_how_far_a_backfill_is_is_said_in_a_line(gauge: Gauge, said: str) -> None:
    assert show.gauge(gauge) == said
