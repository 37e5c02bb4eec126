"""What the watchdog makes of its clocks and of what it hears; and how the last run is found."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.daemon.last_run import last_start
from openaq_pipeline.daemon.watchdog import Reading, Silence, appointment, usual_limits

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SEEN = Reading(NOW, 1000.0)


@given(st.floats(0, 1e6), st.floats(-4.9, 4.9))
def test_time_that_passes_and_the_daily_work_of_ntp_are_no_setting_of_the_clock(passed: float, off: float) -> None:
    wall = NOW + timedelta(seconds=passed) + timedelta(seconds=off)
    assert SEEN.clock_set_by(Reading(wall, 1000.0 + passed)) == timedelta(0)


@pytest.mark.parametrize("moved", [-HOUR, HOUR, timedelta(days=3650), timedelta(seconds=-6)])
def test_a_clock_that_was_set_is_noticed_with_its_direction(moved: timedelta) -> None:
    assert SEEN.clock_set_by(Reading(NOW + timedelta(seconds=7) + moved, 1007.0)) == moved


def test_an_alarm_is_missed_a_margin_after_its_time_on_the_steady_clock() -> None:
    made = appointment(NOW + HOUR, SEEN)
    assert not made.is_missed(Reading(NOW, 1000.0 + 3600 + 59), 60)
    assert made.is_missed(Reading(NOW, 1000.0 + 3600 + 61), 60)


def test_silence_adds_up_until_a_sign_of_life_comes() -> None:
    quiet = Silence(0.0, 100.0).after(105.0, heard=False, most=20.0).after(111.0, heard=False, most=20.0)
    assert quiet == Silence(11.0, 111.0)
    assert quiet.after(112.0, heard=True, most=20.0) == Silence(0.0, 112.0)


def test_who_was_stopped_himself_calls_nobody_hung_for_that() -> None:
    assert Silence(5.0, 100.0).after(100.0 + 8 * 3600, heard=False, most=20.0).seconds == 25.0


@given(st.floats(240, 1e8), st.floats(0.1, 60))
def test_a_run_that_hangs_is_noticed_within_one_interval(gap_seconds: float, answer_seconds: float) -> None:
    usual = usual_limits(timedelta(seconds=gap_seconds), answer_seconds)
    assert usual.hung + usual.tick <= 0.875 * gap_seconds + 1e-3, "with some time to spare for a slow machine"
    assert usual.hung >= 120 + answer_seconds


def test_the_usual_limits_are_a_minute_for_hours_and_shorter_for_short_gaps() -> None:
    usual = usual_limits(timedelta(hours=2), 60.0)
    assert (usual.tick, usual.margin, usual.hung) == (60, 60, 900)
    assert usual.grace < 10, "Docker kills after ten seconds"
    assert usual_limits(timedelta(seconds=2), 60.0).margin == 1
    assert usual_limits(timedelta(seconds=2), 60.0).hung == 180, "an answer may take a minute, whatever the interval"
    assert usual_limits(timedelta(0), 60.0).hung == 900, "one run"


def test_the_last_start_is_that_of_the_last_run_that_was_not_stopped(tmp_path: Path) -> None:
    runs = [
        {"started": "2026-11-01T08:00:00Z", "error": None},
        {"started": "2026-11-01T10:00:00Z", "error": "the key was refused"},
        {"started": "2026-11-01T12:00:00Z", "error": "the run was stopped"},
    ]
    (tmp_path / "metrics.json").write_text(json.dumps({"runs": runs}))
    assert last_start(tmp_path) == datetime(2026, 11, 1, 10, tzinfo=UTC)


def test_a_first_run_that_was_killed_does_not_count(tmp_path: Path) -> None:
    assert last_start(tmp_path) is None
    (tmp_path / ".state.json").write_text('{"locations": {"1": {"last_fetch_time": "2026-11-01T09:00:00Z"}}}')
    assert last_start(tmp_path) is None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"runs": 5}', b"\xff\xfe", b'{"runs": [{}]}', b"[" * 100_000])
def test_where_metrics_cannot_be_read_the_last_start_is_the_newest_of_the_state(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "metrics.json").write_bytes(body)
    locations = {
        "1": {"last_fetch_time": "2026-11-01T08:00:00Z", "sensors": {}},
        "2": {"last_fetch_time": "2026-11-01T09:00:00Z"},
        "3": {"last_fetch_time": None},
    }
    (tmp_path / ".state.json").write_text(json.dumps({"version": 1, "locations": locations}))
    assert last_start(tmp_path) == datetime(2026, 11, 1, 9, tzinfo=UTC)
