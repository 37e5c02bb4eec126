"""The request budget: no more than both limits in any span, whoever asks and whatever happens in between."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openaq_pipeline.errors import Stopped, StorageError
from openaq_pipeline.openaq.budget import HOUR_SECONDS, MINUTE_SECONDS, Budget, ledger_path
from tests.often import examples

TOLERANCE_SECONDS = 1e-6
DATASET = Path(__file__).parents[2] / "dataset"

CHILD = """
import sys, time
from pathlib import Path
from openaq_pipeline.openaq.budget import Budget

class Full(Exception): pass

def full(seconds): raise Full

while time.time() < float(sys.argv[2]): pass
budget, count = Budget(Path(sys.argv[1]), per_minute=40, per_hour=100, sleep=full), 0
try:
    while True:
        budget.acquire()
        count += 1
except Full:
    print(count)
budget.close()
"""


class Clock:
    """Sleeping moves it, and so does work."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def refuse(_seconds: float) -> None:
    raise Stopped("asked to wait")


@contextmanager
def opened(
    path: Path,
    clock: Callable[[], float],
    *,
    per_minute: int = 1000,
    per_hour: int = 1000,
    sleep: Callable[[float], None] = refuse,
) -> Iterator[Budget]:
    with closing(Budget(path, per_minute=per_minute, per_hour=per_hour, sleep=sleep, clock=clock)) as budget:
        yield budget


@contextmanager
def scratch() -> Iterator[Path]:
    """A ledger's path for one example of Hypothesis, which shares a test's fixtures between examples."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "budget.sqlite"


def passed(budget: Budget) -> int:
    """Return how many requests get through before the budget asks to wait."""
    count = 0
    try:
        while True:
            budget.acquire()
            count += 1
    except Stopped:
        return count


def most_in(times: list[float], span_seconds: float) -> int:
    """Return the greatest number of times in any span, its end excluded."""
    return max(
        (sum(start <= other < start + span_seconds - TOLERANCE_SECONDS for other in times) for start in times),
        default=0,
    )


pauses = st.one_of(st.just(0.0), st.floats(0, 90), st.sampled_from([59.9, 60, 61, 3599, 3601, 10_000]))


@given(
    per_minute=st.integers(1, 6),
    per_hour=st.integers(1, 12),
    before=st.lists(pauses, min_size=1, max_size=30),
    boot=st.floats(0, 1e7),
)
@settings(deadline=None, max_examples=examples(60))
def test_each_request_leaves_as_soon_as_both_limits_allow_it_and_never_sooner(
    per_minute: int, per_hour: int, before: list[float], boot: float
) -> None:
    clock = Clock(boot)
    left: list[float] = []
    with scratch() as path, opened(path, clock, per_minute=per_minute, per_hour=per_hour, sleep=clock.sleep) as budget:
        for pause in before:
            clock.now += pause
            asked = clock.now
            waited = budget.acquire()
            # The model: a list of times, and the limit-th last of them must have left its span.
            free = [left[-per_minute] + MINUTE_SECONDS] if len(left) >= per_minute else []
            free += [left[-per_hour] + HOUR_SECONDS] if len(left) >= per_hour else []
            assert clock.now == pytest.approx(max([asked, *free]), abs=TOLERANCE_SECONDS)
            assert waited == pytest.approx(clock.now - asked, abs=TOLERANCE_SECONDS)
            left.append(clock.now)
    assert most_in(left, 60) <= per_minute
    assert most_in(left, 3600) <= per_hour


@given(
    boots=st.lists(
        st.tuples(
            st.floats(0, 200),  # seconds on the clock of the new boot when the program starts
            st.floats(0, 5000),  # seconds the machine was off
            st.lists(pauses, min_size=1, max_size=8),
        ),
        min_size=2,
        max_size=4,
    ),
    per_minute=st.integers(1, 4),
)
@settings(deadline=None, max_examples=examples(60))
def test_reboots_never_let_too_many_through_and_never_cost_more_than_an_hour(
    boots: list[tuple[float, float, list[float]]], per_minute: int
) -> None:
    per_hour = per_minute + 2
    true_now, left = 0.0, []
    with scratch() as path:
        for uptime, off, before in boots:
            true_now += off + uptime
            clock = Clock(uptime)
            with opened(path, clock, per_minute=per_minute, per_hour=per_hour, sleep=clock.sleep) as budget:
                for pause in before:
                    clock.now += pause
                    assert budget.acquire() <= HOUR_SECONDS + TOLERANCE_SECONDS
                    left.append(true_now - uptime + clock.now)
            true_now += clock.now - uptime
    assert most_in(left, 60) <= per_minute
    assert most_in(left, 3600) <= per_hour


def test_a_full_hour_before_a_reboot_is_waited_out_once_and_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    with opened(path, lambda: 1e6, per_hour=3) as budget:
        assert passed(budget) == 3
    clock = Clock(10.0)
    with opened(path, clock, per_hour=3, sleep=clock.sleep) as budget:
        assert budget.acquire() == pytest.approx(HOUR_SECONDS)
        assert budget.acquire() == 0


def test_a_limit_that_the_server_named_outlives_a_reboot(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    with opened(path, lambda: 1e6, per_minute=10) as budget:
        budget.observe({"x-ratelimit-limit": "2"})
    clock = Clock(20.0)
    with opened(path, clock, per_minute=10) as budget:
        assert passed(budget) == 2
        clock.now += HOUR_SECONDS
        assert passed(budget) == 10


def test_a_wall_clock_that_jumps_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def jumped() -> float:
        raise AssertionError("the wall clock was read")

    with closing(Budget(tmp_path / "b.sqlite", per_minute=2, per_hour=9, sleep=refuse)) as budget:
        monkeypatch.setattr(time, "time", jumped)
        monkeypatch.setattr(time, "time_ns", jumped)
        assert passed(budget) == 2
        budget.observe({"x-ratelimit-limit": "1"}, refused=True)
        assert budget.use().minute == 2


def test_a_stop_during_the_wait_counts_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "b.sqlite", lambda: 5.0, per_minute=2) as budget:
        assert passed(budget) == 2
        with pytest.raises(Stopped):
            budget.acquire()
        assert budget.use().minute == 2


def test_the_use_is_told_for_minute_and_hour(tmp_path: Path) -> None:
    clock = Clock(100.0)
    with opened(tmp_path / "b.sqlite", clock, per_minute=5, per_hour=50) as budget:
        budget.acquire()
        clock.now += 600
        budget.acquire()
        use = budget.use()
        assert (use.minute, use.hour, use.per_minute, use.per_hour) == (1, 2, 5, 50)


# What the server says ------------------------------------------------------------------------------------------


def test_a_lower_limit_of_the_server_holds_at_once_and_expires_after_an_hour(tmp_path: Path) -> None:
    clock = Clock(100.0)
    with opened(tmp_path / "b.sqlite", clock, per_minute=5) as budget:
        budget.observe({"x-ratelimit-limit": "2"})
        assert budget.use().per_minute == 2
        assert passed(budget) == 2
        clock.now += HOUR_SECONDS
        assert budget.use().per_minute == 5
        assert passed(budget) == 5


def test_a_higher_limit_named_later_does_not_lift_the_lower_one(tmp_path: Path) -> None:
    with opened(tmp_path / "b.sqlite", lambda: 100.0, per_minute=5) as budget:
        for limit in ("2", "60", "4", "2"):
            budget.observe({"x-ratelimit-limit": limit})
        assert passed(budget) == 2


@pytest.mark.parametrize("said", ["6", "60", "1e9", "0", "-5", "0.5", "nan", "inf", "sixty", "", "0x2"])
def test_a_higher_or_senseless_limit_of_the_server_changes_nothing(tmp_path: Path, said: str) -> None:
    with opened(tmp_path / "b.sqlite", lambda: 100.0, per_minute=5) as budget:
        assert budget.observe({"x-ratelimit-limit": said}) == 0
        assert passed(budget) == 5


RESETS = [
    ({"x-ratelimit-reset": "17"}, 17.0),
    ({"x-ratelimit-reset": "0"}, 1.0),
    ({"x-ratelimit-reset": "-2"}, 1.0),
    ({"x-ratelimit-reset": "99999999"}, 3600.0),
    ({"x-ratelimit-reset": "soon"}, 60.0),
    ({"x-ratelimit-reset": "nan"}, 60.0),
    ({"x-ratelimit-reset": "inf"}, 60.0),
    ({"x-ratelimit-reset": ""}, 60.0),
    ({}, 60.0),
]


@pytest.mark.parametrize(("headers", "seconds"), RESETS)
def test_after_a_429_no_request_leaves_before_the_reset(
    tmp_path: Path, headers: Mapping[str, str], seconds: float
) -> None:
    clock = Clock(100.0)
    with opened(tmp_path / "b.sqlite", clock, sleep=clock.sleep) as budget:
        assert budget.observe(headers, refused=True) == seconds
        assert budget.acquire() == pytest.approx(seconds)


@pytest.mark.parametrize(("headers", "seconds"), RESETS)
@pytest.mark.parametrize("remaining", ["0", "-1"])
def test_when_nothing_remains_no_request_leaves_before_the_reset(
    tmp_path: Path, headers: Mapping[str, str], seconds: float, remaining: str
) -> None:
    clock = Clock(100.0)
    with opened(tmp_path / "b.sqlite", clock, sleep=clock.sleep) as budget:
        budget.observe({**headers, "x-ratelimit-remaining": remaining})
        assert budget.acquire() == pytest.approx(seconds)


@pytest.mark.parametrize("remaining", ["1", "59", "nan", "none", ""])
def test_while_something_remains_nobody_waits(tmp_path: Path, remaining: str) -> None:
    with opened(tmp_path / "b.sqlite", lambda: 100.0) as budget:
        assert budget.observe({"x-ratelimit-remaining": remaining, "x-ratelimit-reset": "30"}) == 0
        assert budget.acquire() == 0


def test_a_shorter_reset_does_not_cut_a_longer_one(tmp_path: Path) -> None:
    clock = Clock(100.0)
    with opened(tmp_path / "b.sqlite", clock, sleep=clock.sleep) as budget:
        budget.observe({"x-ratelimit-reset": "50"}, refused=True)
        budget.observe({"x-ratelimit-reset": "1"}, refused=True)
        assert budget.acquire() == pytest.approx(50)


def test_a_429_to_one_process_holds_back_the_others(tmp_path: Path) -> None:
    path, clock = tmp_path / "b.sqlite", Clock(100.0)
    with opened(path, clock) as one, opened(path, clock, sleep=clock.sleep) as other:
        one.observe({"x-ratelimit-reset": "30"}, refused=True)
        assert other.acquire() == pytest.approx(30)


def test_a_reboot_keeps_what_is_left_of_a_reset_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    with opened(path, lambda: 1e6) as budget:
        budget.observe({"x-ratelimit-reset": "40"}, refused=True)
    clock = Clock(3.0)
    with opened(path, clock, sleep=clock.sleep) as budget:
        assert budget.acquire() == pytest.approx(40)


# Many at once --------------------------------------------------------------------------------------------------


def test_many_threads_together_keep_the_limit(tmp_path: Path) -> None:
    with opened(tmp_path / "b.sqlite", time.monotonic, per_minute=50) as budget:
        counts: list[int] = []
        threads = [threading.Thread(target=lambda: counts.append(passed(budget))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(counts) == 8
        assert sum(counts) == 50


def start_together(path: Path, processes: int) -> list[str]:
    """Let processes empty one ledger from the same moment on; return what each printed."""
    at = str(time.time() + 1.5)
    command = [sys.executable, "-c", CHILD, str(path), at]
    env = {"PYTHONPATH": str(DATASET), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}
    children = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(processes)
    ]
    return [child.communicate(timeout=60)[0].strip() for child in children]


def test_processes_that_start_at_once_on_a_new_ledger_keep_the_limit_together(tmp_path: Path) -> None:
    said = start_together(tmp_path / "b.sqlite", processes=6)
    assert all(line.isdigit() for line in said), said
    assert sum(map(int, said)) == 40


def test_processes_that_meet_a_damaged_ledger_at_once_agree_on_one_new_one(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    path.write_bytes(b"not a database, and longer than a header of one hundred bytes" * 10)
    said = start_together(path, processes=4)
    assert said == ["0"] * 4, "nobody knows what was sent in the last minute"
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


# The file ------------------------------------------------------------------------------------------------------


def overwritten(path: Path) -> None:
    path.write_bytes(b"\x00" * 3000)


def replaced_by_text(path: Path) -> None:
    path.write_text("hello " * 100)


def with_a_page_of_noise(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xa5" * 4096
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6000])


@pytest.mark.parametrize("damage", [overwritten, replaced_by_text, with_a_page_of_noise, cut_short])
def test_a_damaged_ledger_is_set_aside_and_a_new_one_keeps_the_limit_by_waiting_a_minute(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "b.sqlite"
    with opened(path, lambda: 5.0, per_minute=3) as budget:
        assert passed(budget) == 3
    damage(path)
    damaged = path.read_bytes()
    with opened(path, lambda: 6.0, per_minute=3) as budget:
        assert passed(budget) == 0
    with opened(path, lambda: 6.0 + MINUTE_SECONDS, per_minute=3) as budget:
        assert passed(budget) == 3
    assert [aside.read_bytes() for aside in tmp_path.glob("*.damaged-*")] == [damaged]


def test_the_ledger_survives_the_end_of_a_program(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    with opened(path, lambda: 5.0, per_minute=3) as budget:
        assert passed(budget) == 3
    with opened(path, lambda: 6.0, per_minute=3) as budget:
        assert passed(budget) == 0


def test_old_requests_do_not_pile_up(tmp_path: Path) -> None:
    path, clock = tmp_path / "b.sqlite", Clock(0.0)
    with opened(path, clock) as budget:
        for _ in range(50):
            clock.now += 1000
            budget.acquire()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM requests").fetchone()[0] <= 5


def test_a_ledger_that_cannot_be_opened_is_a_storage_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("a file")
    path = tmp_path / "in the way" / "b.sqlite"
    with pytest.raises(StorageError, match=r"b\.sqlite can't be used") as caught:
        Budget(path, per_minute=1, per_hour=1)
    assert caught.value.hint


def test_a_folder_in_the_place_of_the_ledger_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "b.sqlite").mkdir()
    with pytest.raises(StorageError, match="can't be used"):
        Budget(tmp_path / "b.sqlite", per_minute=1, per_hour=1)


def test_no_request_leaves_uncounted_when_the_disk_is_full(tmp_path: Path) -> None:
    with opened(tmp_path / "b.sqlite", lambda: 5.0, per_minute=100_000, per_hour=100_000) as budget:
        budget._database.execute("PRAGMA max_page_count=1")  # SQLite's own way to be out of space
        with pytest.raises(StorageError, match="full") as caught:
            passed(budget)
        assert "space" in caught.value.hint


def test_a_damage_that_appears_while_it_is_open_is_a_storage_error_and_no_bug(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    with opened(path, lambda: 5.0) as budget:
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE requests")
        for use in (budget.acquire, budget.use):
            with pytest.raises(StorageError, match="can't be used"):
                use()


# Where it lies -------------------------------------------------------------------------------------------------

URL = "https://api.openaq.org/v3"


def test_the_ledger_lies_in_the_users_state_folder(tmp_path: Path) -> None:
    path = ledger_path("key", URL, tmp_path / "data", {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": "/nowhere"})
    assert path.parent == tmp_path / "state" / "openaq-pipeline"
    assert path.parent.is_dir()


@pytest.mark.parametrize("given_state", [{}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative/state"}])
def test_without_an_absolute_state_folder_it_lies_below_home(tmp_path: Path, given_state: dict[str, str]) -> None:
    path = ledger_path("key", URL, tmp_path / "data", {"HOME": str(tmp_path), **given_state})
    assert path.parent == tmp_path / ".local" / "state" / "openaq-pipeline"


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "relative"}])
def test_without_a_home_it_lies_in_the_data_folder(tmp_path: Path, environ: dict[str, str]) -> None:
    assert ledger_path("key", URL, tmp_path, environ).parent == tmp_path


def test_a_state_folder_that_cannot_be_made_sends_it_to_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    path = ledger_path("key", URL, tmp_path / "data", {"XDG_STATE_HOME": str(tmp_path / "state")})
    assert path.parent == tmp_path / "data"


def test_different_keys_and_hosts_have_different_ledgers(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    asked = [("a", URL), ("b", URL), ("a", "https://other.example/v3"), ("a", "http://127.0.0.1:8001/v3")]
    asked.append(("a", "http://127.0.0.1:8002/v3"))
    assert len({ledger_path(key, url, tmp_path, environ) for key, url in asked}) == len(asked)


@pytest.mark.parametrize(
    "url", ["https://API.OpenAQ.org/v3", "https://api.openaq.org:443/v3", "http://api.openaq.org/v3", URL + "/"]
)
def test_one_host_in_different_spellings_has_one_ledger(tmp_path: Path, url: str) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    assert ledger_path("a", url, tmp_path, environ) == ledger_path("a", URL, tmp_path, environ)


def test_the_key_is_not_in_the_name(tmp_path: Path) -> None:
    name = ledger_path("secret", URL, tmp_path, {}).name
    assert "secret" not in name
    assert name.startswith("budget-")
    assert name.endswith(".sqlite")
