"""Which file holds which day: names, and the days of a window."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.model import Window
from openaq_pipeline.openaq.archive_files import MOST_FOLDERS, day_of, days_of, folders_of
from tests.archive_files import archive_path, local_day
from tests.measurements import measurement

DAYS = st.dates(date(1900, 1, 1))
IDS = st.integers(1, 2**31 - 1)
START, END = "1900-01-01", "2999-01-01"
STAMPS = st.datetimes(datetime.fromisoformat(START), datetime.fromisoformat(END), timezones=st.just(UTC))
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(IDS, DAYS)
def test_a_name_says_its_day(location_id: int, day: date) -> None:
    assert day_of(archive_path(location_id, day), location_id) == day


@given(IDS, IDS, DAYS)
def test_a_file_of_another_location_is_none_of_this(mine: int, other: int, day: date) -> None:
    assert (day_of(archive_path(other, day), mine) is not None) == (mine == other)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "records/csv.gz/locationid=7/year=2024/month=01",
        "records/csv.gz/locationid=7/year=2024/month=01/location-7-20240101.csv",
        "records/csv.gz/locationid=7/year=2024/month=01/location-7-20240101.csv.gz.tmp",
        "records/csv.gz/locationid=7/year=2024/month=01/location-70-20240101.csv.gz",
        "records/csv.gz/locationid=7/year=2024/month=02/location-7-20240101.csv.gz",
        "records/csv.gz/locationid=7/year=2023/month=01/location-7-20240101.csv.gz",
        "records/csv.gz/locationid=7/year=2023/month=02/location-7-20230229.csv.gz",
        "records/csv.gz/locationid=7/year=0000/month=01/location-7-00000101.csv.gz",
        "records/csv.gz/locationid=07/year=2024/month=01/location-07-20240101.csv.gz",
        "other/records/csv.gz/locationid=7/year=2024/month=01/location-7-20240101.csv.gz",
        "records/csv.gz/locationid=7/year=2024/month=01/location-7-2024010\u0661.csv.gz",
    ],
)
def test_what_only_looks_like_a_file_of_the_archive_is_passed_over(path: str) -> None:
    assert day_of(path, 7) is None


@given(STAMPS, ZONES, st.timedeltas(timedelta(microseconds=1), timedelta(days=400)), st.floats(0, 1))
def test_the_file_of_every_stamp_in_a_window_is_among_its_days_whatever_the_zone(
    start: datetime, zone: timezone, length: timedelta, part: float
) -> None:
    stamp = max(start + timedelta(microseconds=1), start + length * part)
    row = measurement(1.0, stamp, first_seen=start, datetime_local=stamp.astimezone(zone).isoformat())
    days = days_of(Window(start, start + length))
    assert days is not None
    assert days[0] <= local_day(row) <= days[1]


@given(STAMPS, st.timedeltas(timedelta(microseconds=1), timedelta(days=4000)))
def test_no_more_than_two_days_are_read_for_the_zones_sake(start: datetime, length: timedelta) -> None:
    first, last = days_of(Window(start, start + length)) or (date.max, date.min)
    assert (last - first).days <= length.days + 3


@pytest.mark.parametrize("hours", [0, -1])
def test_a_window_without_length_has_no_days(hours: int) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    assert days_of(Window(start, start + timedelta(hours=hours))) is None


def test_windows_at_the_ends_of_the_calendar_have_days() -> None:
    ends = Window(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC))
    assert days_of(ends) == (date.min, date.max)


@given(IDS, DAYS, DAYS)
def test_every_day_is_in_a_folder_that_is_listed(location_id: int, one: date, other: date) -> None:
    first, last = sorted((one, other))
    folders = folders_of(location_id, first, last)
    assert len(folders) <= MOST_FOLDERS
    for day in (first, last):
        assert sum(archive_path(location_id, day).startswith(f"{folder}/") for folder in folders) == 1
