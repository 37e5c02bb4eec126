"""When the next run is due: never later than one gap from now, never twice, a missed one once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.incremental.cron import Cron
from openaq_pipeline.incremental.due import due_by_cron, due_by_interval, gap_of, next_due
from openaq_pipeline.settings import ScheduleSettings

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
TWO_HOURS = timedelta(hours=2)

times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
intervals = st.timedeltas(timedelta(microseconds=1), timedelta(days=36_525))
zones = st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu"])
lines = st.sampled_from(
    ["* * * * *", "0 */2 * * *", "30 2 * * *", "15 3 * * 0", "0 0 1 * 1", "*/7 1-3 * mar,oct sun", "0 0 29 2 *"]
)


@given(times, times, intervals)
def test_by_interval_it_is_never_past_and_never_later_than_one_interval(
    last: datetime, now: datetime, interval: timedelta
) -> None:
    assert now <= due_by_interval(last, now, interval) <= now + interval


@given(times, intervals, st.floats(0, 1))
def test_by_interval_a_restart_before_the_time_changes_nothing(last: datetime, gap: timedelta, share: float) -> None:
    assert due_by_interval(last, last + gap * share, gap) == last + gap


@given(times, intervals, intervals)
def test_by_interval_an_overdue_run_is_due_now_and_then_not_again(
    last: datetime, gap: timedelta, late: timedelta
) -> None:
    now = last + gap + late
    assert due_by_interval(last, now, gap) == now
    assert due_by_interval(now, now, gap) == now + gap


def test_without_a_last_run_it_is_due_at_once_in_every_mode() -> None:
    for mode in ("interval", "cron", "once"):
        assert next_due(ScheduleSettings(mode=mode), None, NOW) == NOW


def test_a_start_far_ahead_tells_nothing_and_one_a_little_ahead_counts_as_now() -> None:
    assert due_by_interval(NOW + timedelta(days=365), NOW, TWO_HOURS) == NOW
    assert due_by_interval(NOW + timedelta(seconds=2), NOW, TWO_HOURS) == NOW + TWO_HOURS


def test_once_is_not_due_again() -> None:
    assert next_due(ScheduleSettings(mode="once"), NOW - TWO_HOURS, NOW) is None
    assert gap_of(ScheduleSettings(mode="once"), NOW) == timedelta(0)


@given(times, times, lines, zones)
def test_by_cron_it_is_now_or_the_first_time_ahead(last: datetime, now: datetime, line: str, zone: str) -> None:
    after = Cron(line, zone).after
    due = due_by_cron(last, now, after)
    assert now <= due <= after(now)
    assert due_by_cron(due, due, after) > due, "what has run is not due again"


@given(times, lines, zones)
def test_a_cron_line_always_moves_on(moment: datetime, line: str, zone: str) -> None:
    cron = Cron(line, zone)
    first = cron.after(moment)
    assert moment < first < cron.after(first)
    assert first.astimezone(ZoneInfo(zone)).second == 0
    assert cron.after(first - timedelta(seconds=1)) == first


def test_a_time_that_the_clocks_skip_fires_after_the_gap_from_wherever_it_is_asked() -> None:
    cron, fires = Cron("30 2 * * *", "America/St_Johns"), datetime(2028, 3, 12, 6, tzinfo=UTC)
    for seconds in (86_000, 3_600, 1):
        assert cron.after(fires - timedelta(seconds=seconds)) == fires
    assert cron.after(fires) == datetime(2028, 3, 13, 5, tzinfo=UTC)


def test_a_missed_cron_time_is_made_up_once() -> None:
    schedule = ScheduleSettings(mode="cron", cron="0 3 * * *")
    assert next_due(schedule, NOW - timedelta(days=4), NOW) == NOW
    assert next_due(schedule, NOW, NOW) == datetime(2026, 11, 2, 3, tzinfo=UTC)
    assert gap_of(schedule, NOW) == timedelta(days=1)


def test_cron_times_are_in_the_schedules_time_zone() -> None:
    schedule = ScheduleSettings(mode="cron", cron="0 3 * * *", timezone="Asia/Kathmandu")
    assert next_due(schedule, NOW, NOW) == datetime(2026, 11, 1, 21, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("0", {"Sun"}),
        ("7", {"Sun"}),
        ("1-5", {"Mon", "Tue", "Wed", "Thu", "Fri"}),
        ("5-7", {"Fri", "Sat", "Sun"}),
        ("fri-sun", {"Fri", "Sat", "Sun"}),
        ("MON,3", {"Mon", "Wed"}),
        ("*/2", {"Sun", "Tue", "Thu", "Sat"}),
        ("1-5/2", {"Mon", "Wed", "Fri"}),
    ],
)
def test_weekdays_count_from_sunday_as_in_cron_and_not_from_monday_as_in_apscheduler(
    field: str, days: set[str]
) -> None:
    cron, moment, found = Cron(f"0 0 * * {field}", "UTC"), NOW, set()
    for _ in range(14):
        moment = cron.after(moment)
        found.add(f"{moment:%a}")
    assert found == days


def test_a_day_of_the_month_and_a_weekday_mean_either_as_in_cron() -> None:
    cron = Cron("0 0 13 * 5", "UTC")
    assert [f"{cron.after(datetime(2026, 11, day, tzinfo=UTC)):%d}" for day in (1, 6, 14)] == ["06", "13", "20"]


@pytest.mark.parametrize(
    "line",
    ["61 * * * *", "* * 31 2 *", "* 24 * * *", "5-1 * * * *", "*/0 * * * *", "a b c d e", "* * * * 8", "* * * * 5-2"],
)
def test_an_impossible_cron_line_is_refused_in_a_sentence(line: str) -> None:
    with pytest.raises(ConfigError, match=r"can't be used: .+") as caught:
        gap_of(ScheduleSettings(mode="cron", cron=line), NOW)
    assert "five fields" in caught.value.hint
