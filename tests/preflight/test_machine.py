"""What preflight says of packages, clocks and disks, without a process around it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from openaq_pipeline.preflight.checks import run_check
from openaq_pipeline.preflight.machine import dependencies, fulfils, needed_bytes, requirement_problem, time_zones
from openaq_pipeline.preflight.upstream import clock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

releases = st.lists(st.integers(0, 12), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))


@given(releases, st.sampled_from([">=", "<=", "==", ">", "<"]), releases)
def test_versions_are_compared_as_pip_does(version: str, operator: str, wanted: str) -> None:
    clause = f"{operator}{wanted}"
    assert fulfils(version, clause) == (Version(version) in SpecifierSet(clause))


def test_what_is_installed_here_is_what_is_asked_for() -> None:
    assert [finding.status for finding in dependencies()] == ["ok"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("requests>=2.0,<3", None),
        ("requests[socks]>=2.0  # why", None),
        ("requests", None),
        ("requests>=99", "is installed, >=99 is asked for"),
        ("no-such-package-anywhere>=1", "no-such-package-anywhere is not installed"),
    ],
)
def test_a_requirement_that_is_not_fulfilled_is_named(line: str, problem: str | None) -> None:
    found = requirement_problem(line)
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")


def test_the_time_zones_of_stations_are_there() -> None:
    assert [finding.status for finding in time_zones()] == ["ok"]


@pytest.mark.parametrize(
    ("off", "status"),
    [
        (timedelta(0), "ok"),
        (timedelta(seconds=60), "ok"),
        (timedelta(seconds=61), "warning"),
        (timedelta(hours=1), "warning"),
        (timedelta(hours=1, seconds=1), "failed"),
        (timedelta(days=3650), "failed"),
    ],
)
def test_a_clock_that_is_off_is_a_warning_and_by_more_than_an_hour_a_failure(off: timedelta, status: str) -> None:
    told = format_datetime(NOW, usegmt=True)
    assert [clock(told, NOW + off).status, clock(told, NOW - off).status] == [status, status]


def test_it_is_said_on_which_side_the_clock_is_and_why_it_matters() -> None:
    told = format_datetime(NOW, usegmt=True)
    assert "0:02:00 (hours, minutes, seconds) ahead of" in clock(told, NOW + timedelta(minutes=2)).message
    behind = clock(told, NOW - timedelta(hours=2))
    assert "behind" in behind.message
    assert "misses the newest rows" in behind.hint


@pytest.mark.parametrize("header", [None, "", "yesterday", "Mon, 99 Nov 2026 12:00:00 GMT", "Mon, 23 Nov 2026"])
def test_a_server_without_a_clock_is_a_warning(header: str | None) -> None:
    assert clock(header, NOW).status == "warning"


def test_more_sensors_need_more_disk() -> None:
    assert 0 == needed_bytes(0) < needed_bytes(1) < needed_bytes(100)
    assert 10e6 < needed_bytes(10) < 30e6


def test_a_check_that_breaks_is_a_failed_line_and_no_traceback() -> None:
    (found,) = run_check("odd", "no_such_module", "nothing")
    assert found.status == "failed"
    assert found.message.startswith("the check itself failed: ModuleNotFoundError")
    (found,) = run_check("odd", "machine", "needed_bytes", "no number")  # type: ignore[arg-type]
    assert found.status == "failed"
    assert found.message.startswith("the check itself failed: ")
