"""What `monitor.py` looks like: on a terminal with colours and bars, in a pipe plain, and fresh with --watch."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from openaq_pipeline.cli.show_values import bars, number
from openaq_pipeline.quality.aqi import level_of
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Program

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WAIT_SECONDS = 30.0


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The demo's ten stations after one run."""
    made = Program(tmp_path_factory.mktemp("monitor"))
    with running(named.demo(), options=Options(requests_per_minute=0)) as world:
        made.configure(world.base_url, [station.id for station in world.world.stations], initial_days=2)
        done = made.load()
        assert done.code == 0, done.err
    return made


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process, self._screen, self.shown = process, screen, ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a piece may end in the midst of a letter

    def read(self) -> bool:
        """Take in what it has written; False once it has ended."""
        with suppress(OSError):  # Linux says so when the other side has closed
            if piece := os.read(self._screen, 65_536):
                self.shown += self._decoder.decode(piece)
                return True
        return False

    def until(self, pattern: str) -> str:
        """Read on until something was shown."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not re.search(pattern, self.shown):
            assert time.monotonic() < deadline, f"{pattern!r} is not in {self.shown!r}"
            assert self.read(), f"{pattern!r} is not in {self.shown!r}"
        return self.shown

    def all(self) -> str:
        while self.read():
            pass
        assert self.process.wait(WAIT_SECONDS) == 0
        return self.shown


@contextmanager
def terminal(of: Program, *flags: str, columns: int = 80, rows: int = 100) -> Iterator[Terminal]:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    command = [sys.executable, str(ROOT / "dataset/monitor.py"), "--config", str(of.config), *flags]
    env = of.env | {"TERM": "xterm-256color"}
    process = subprocess.Popen(command, env=env, stdin=its, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def lines_of(shown: str) -> list[str]:
    return [line.rstrip() for line in ESCAPE.sub("", shown).replace("\r", "").split("\n")]


def test_a_pipe_gets_plain_lines_that_fit_80_columns(filled: Program) -> None:
    done = filled.run("monitor.py", FORCE_COLOR="1", COLUMNS="30")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    lines = done.out.splitlines()
    assert not [line for line in lines if len(line) > 80 and not line.startswith(("! ", "Data: ", "Budget: "))]
    assert all(character.isprintable() or character == "\n" for character in done.out)
    assert not set(done.out) & set("│┃─━┌└▁█"), "nothing to look at in a file"
    assert [line for line in lines if re.match(r"    3459  US Diplomatic Post: K.*…  current  \d{4}-", line)]


def test_the_latest_values_are_shown_with_unit_age_and_index(filled: Program) -> None:
    shown = filled.run("monitor.py").out
    newest = [row for row in filled.rows(5506835) if row["parameter"] == "pm25" and row["value"] is not None][-1]
    (line,) = re.findall(r"^Ratna Park.*(?:\n  .*)*?\n +pm25 +(\S+)  µg/m³ +\S.*? +(\d+)$", shown, re.MULTILINE)
    assert float(line[0]) == pytest.approx(newest["value"], rel=1e-3)
    assert 0 < int(line[1]) <= 500


def test_a_terminal_gets_the_same_with_colours_and_no_line_beyond_its_edge(filled: Program) -> None:
    with terminal(filled) as screen:
        shown = screen.all()
    assert "\x1b[32mcurrent" in shown
    assert "\x1b[33msilent" in shown
    lines = lines_of(shown)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("DEGRADED: 1 of 10 locations silent")
    assert not set(shown) & set("▁█"), "80 columns are full without"


def test_an_index_has_the_colour_of_its_category(filled: Program) -> None:
    with terminal(filled) as screen:
        shown = screen.all()
    coloured = {(level_of(int(value)), style) for style, value in re.findall(r"\x1b\[30;([0-9;]+)m *(\d+)\x1b", shown)}
    assert coloured
    assert coloured <= {(0, "42"), (1, "43"), (2, "48;5;214")}


def test_a_wide_terminal_has_room_for_the_last_24_hours(filled: Program) -> None:
    with terminal(filled, columns=140) as screen:
        lines = lines_of(screen.all())
    assert [line for line in lines if re.search(r"pm25 .*[▁▂▃▄▅▆▇█]{3}", line)]
    assert max(map(len, lines)) <= 140
    assert [line for line in lines if "US Diplomatic Post: Kathmandu (Maharajgunj)" in line]


def test_watch_keeps_one_screen_fresh_until_ctrl_c_and_leaves_the_terminal_as_it_was(filled: Program) -> None:
    with terminal(filled, "--watch", "0.2") as screen:
        screen.until(r"(?s)DEGRADED.*DEGRADED")
        assert "\x1b[?1049h" in screen.shown, "a screen of its own"
        (filled.data / "metrics.json").rename(filled.data / "away.json")
        try:
            screen.until("No run is on file")
        finally:
            (filled.data / "away.json").rename(filled.data / "metrics.json")
        screen.process.send_signal(signal.SIGINT)
        shown = screen.all()
    assert shown.index("\x1b[?1049h") < shown.rindex("\x1b[?1049l")
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is back"


def test_watch_in_a_pipe_is_one_text_after_the_other(filled: Program) -> None:
    with filled.start("monitor.py", "--watch", "0.1") as process:
        assert process.stdout is not None
        seen = 0
        while seen < 2:
            seen += process.stdout.readline().startswith("DEGRADED: ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0


def test_what_makes_no_sense_with_watch_is_bad_usage(filled: Program) -> None:
    for flags in (["0"], ["soon"], ["--json"], ["--check"]):
        assert filled.run("monitor.py", "--watch", *flags).code == 2, flags


def test_names_from_outside_move_no_cursor_and_mean_nothing_to_the_table(filled: Program) -> None:
    path = filled.data / "locations.json"
    before = path.read_text()
    path.write_text(before.replace("Ratna Park", "[red]R\\u001b[2J[/] :smile: \\u202eX\\n"))
    try:
        shown = filled.run("monitor.py").out
        with terminal(filled) as screen:
            seen = screen.all()
    finally:
        path.write_text(before)
    assert re.search(r"5506835  \[red\]R \[2J\[/\] :smi", shown)
    assert "\x1b[2J" not in seen
    assert "\u202e" not in seen + shown


def test_a_value_is_short_and_never_cut() -> None:
    shown = [number(value) for value in (0.014812, 11.0, 1013.25, 525_123.4, -9_999_999.0, 1e300, None)]
    assert shown == ["0.01481", "11", "1013", "525,123", "-9,999,999", "1e+300", "-"]


def test_bars_go_from_the_lowest_to_the_highest_and_a_gap_is_a_blank() -> None:
    assert bars([1, 2, None, 8]) == "▁▂ █"
    assert bars([5.0, 5.0]) == "▁▁"
    assert bars([None]) == ""
