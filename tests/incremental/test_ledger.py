"""What a sensor-day is: each kind by its definition, and a model of who has which rows, of which nothing is missed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.incremental import ledger
from openaq_pipeline.incremental.ledger import (
    ASKED_WITHIN,
    NONE,
    Compared,
    Facts,
    Kind,
    SensorDays,
    Stamps,
    Standing,
    day_of,
    kind_of,
    midnights,
    moment_of,
    number_of,
    sensor_days,
    uncompared,
)
from openaq_pipeline.incremental.plan import ARCHIVE_AFTER

KATHMANDU = ZoneInfo("Asia/Kathmandu")
ZONES: list[tzinfo] = [
    UTC,
    KATHMANDU,
    *map(ZoneInfo, ("America/Sao_Paulo", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe")),
]
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OLD, YOUNG = NOW - ARCHIVE_AFTER, NOW - ARCHIVE_AFTER + timedelta(seconds=1)
POLLED = Standing(asked=NOW - HOUR, watermark=NOW - HOUR)
PARKED = Standing(asked=OLD - 9 * DAY, watermark=OLD - 9 * DAY, is_parked=True)
Given = dict[str, Any]
FULL: Given = {"held": 24, "due": 24, "absent": 0}
SHORT: Given = {"held": 20, "due": 24, "absent": 4}
IRREGULAR: Given = {"held": 20, "due": None}
EMPTY: Given = {"held": 0, "due": 24, "absent": 24}


def kind(end: datetime, sensor: Standing = POLLED, **facts: Any) -> Kind:
    return kind_of(Facts(end, **facts), sensor, NOW)


# --- each kind ---


@pytest.mark.parametrize("end", [NOW + HOUR, YOUNG, OLD])
@pytest.mark.parametrize("sensor", [POLLED, PARKED, Standing()])
@pytest.mark.parametrize("facts", [FULL, SHORT, IRREGULAR, EMPTY])
def test_a_row_that_the_archive_has_and_we_lack_is_our_gap_whatever_else_is_so(
    end: datetime, sensor: Standing, facts: Given
) -> None:
    assert kind(end, sensor, **facts, upstream=30, lacked=1) == "our_gap"


@pytest.mark.parametrize("facts", [FULL, SHORT, IRREGULAR, EMPTY])
@pytest.mark.parametrize("sensor", [POLLED, PARKED, Standing()])
def test_a_day_old_enough_that_was_not_compared_is_unknown_however_full_it_looks(
    facts: Given, sensor: Standing
) -> None:
    assert kind(OLD, sensor, **facts) == "unknown"


def test_an_old_day_is_complete_if_it_is_full_and_else_an_upstream_gap() -> None:
    assert kind(OLD, **FULL, upstream=24) == "complete"
    assert kind(OLD, **FULL, upstream=20) == "complete", "we may have more"
    assert kind(OLD, **SHORT, upstream=20) == "upstream_gap"
    assert kind(OLD, **EMPTY, upstream=0) == "upstream_gap"


def test_an_irregular_sensor_is_complete_if_the_archive_has_no_more_than_we_do() -> None:
    assert kind(OLD, **IRREGULAR, upstream=20) == "complete"
    assert kind(OLD, held=0, upstream=0) == "upstream_gap"
    assert kind(OLD, held=0, due=0, upstream=0) == "complete", "a weekly sensor on a day between"


def test_nothing_follows_from_a_file_that_was_not_exported_unless_all_is_here_anyway() -> None:
    assert kind(OLD, **SHORT, upstream=0, exported=False) == "unknown"
    assert kind(OLD, **FULL, upstream=0, exported=False) == "complete"


def test_a_day_that_is_not_over_is_not_due() -> None:
    for facts in (FULL, SHORT, EMPTY, IRREGULAR):
        assert kind(NOW + timedelta(seconds=1), **facts) == "not_due"
        assert kind(NOW + timedelta(seconds=1), PARKED, **facts) == "not_due"
    assert kind(NOW, Standing(asked=NOW), **SHORT) == "late"


def test_a_young_day_is_complete_if_it_is_full_and_late_if_openaq_was_asked_and_had_no_more() -> None:
    assert kind(YOUNG, **FULL) == "complete"
    assert kind(YOUNG, Standing(), **FULL) == "complete"
    assert kind(YOUNG, **SHORT) == "late"
    assert kind(YOUNG, **EMPTY) == "late"
    assert kind(YOUNG, **IRREGULAR) == "not_due", "the archive will tell"


def test_a_young_day_that_was_not_asked_for_is_unknown_once_a_poll_should_have_been_here() -> None:
    end = NOW - ASKED_WITHIN
    for sensor in (Standing(), Standing(asked=end - HOUR)):
        assert kind(end, sensor, **SHORT) == "unknown"
        assert kind(end, sensor, **IRREGULAR) == "unknown"
        assert kind(end + timedelta(seconds=1), sensor, **SHORT) == "not_due"


def test_what_lies_behind_the_watermark_of_a_parked_sensor_is_broken_unless_it_is_full() -> None:
    for facts in ({**SHORT, "upstream": 20}, {**EMPTY, "upstream": 0}):
        assert kind(OLD, PARKED, **facts) == "broken_sensor"
        assert kind(OLD - 20 * DAY, PARKED, **facts) == "upstream_gap", "it was well then"
    assert kind(YOUNG, PARKED, **EMPTY) == "broken_sensor"
    assert kind(OLD, PARKED, **FULL, upstream=24) == "complete"
    assert kind(YOUNG, PARKED._replace(watermark=None), **EMPTY) == "broken_sensor"


# --- days ---


@given(st.sampled_from(ZONES), st.dates(date(2010, 12, 20), date(2026, 12, 1)), st.integers(0, 9), st.data())
def test_a_stamp_belongs_to_the_day_whose_midnights_it_lies_between(
    zone: tzinfo, first: date, more: int, data: st.DataObject
) -> None:
    bounds = midnights(zone, first, first + more * DAY)
    assert len(bounds) == more + 2
    assert np.all(np.diff(bounds) >= 0)
    stamp = data.draw(st.one_of(st.integers(bounds[0] + 1, bounds[-1]), st.sampled_from(bounds[1:].tolist())))
    (place,) = np.flatnonzero(ledger.count(np.array([stamp]), bounds))
    assert day_of(moment_of(stamp), zone) == first + int(place) * DAY


def test_a_day_may_have_23_or_25_hours() -> None:
    oslo = ZoneInfo("Europe/Oslo")
    assert np.diff(midnights(oslo, date(2026, 3, 28), date(2026, 3, 30))).tolist() == [
        hours * 3_600_000_000 for hours in (24, 23, 24)
    ]


# --- grids ---


def stamps(moments: Iterable[datetime]) -> Stamps:
    return np.unique(np.array([number_of(moment) for moment in moments], dtype=np.int64))


def hourly(first: date, days: int, *, minute: int = 0, step: timedelta = HOUR) -> list[datetime]:
    """The stamps of so many days in UTC, midnight being the last of each."""
    start = datetime.combine(first, datetime.min.time(), UTC) + timedelta(minutes=minute)
    count = int(days * DAY / step)
    return [start + number * step for number in range(1, count + 1)]


FIRST = date(2026, 3, 2)


def test_a_grid_says_how_many_rows_a_day_should_have_and_how_many_are_missing() -> None:
    rows = hourly(FIRST, 40)
    held = [row for row in rows if row.hour not in {3, 4}]
    found = ledger.grid(stamps(rows), stamps(held), midnights(UTC, FIRST, FIRST + 39 * DAY), None)
    assert found.due.tolist() == [24] * 40
    assert found.absent.tolist() == [2] * 40
    assert found.step_seconds == 3600


@pytest.mark.parametrize("minutes", [(0, 30), (30, 0), (55, 5)])
def test_a_change_of_the_minute_is_no_hole(minutes: tuple[int, int]) -> None:
    rows = stamps([*hourly(FIRST, 10, minute=minutes[0]), *hourly(FIRST + 10 * DAY, 40, minute=minutes[1])])
    found = ledger.grid(rows, rows, midnights(UTC, FIRST + DAY, FIRST + 48 * DAY), None)
    assert found.absent.sum() <= (minutes[0] > minutes[1]), "where it steps back an hour may be one"


def test_a_change_of_the_step_is_seen_from_the_next_weeks_on() -> None:
    rows = stamps([*hourly(FIRST, 56), *hourly(FIRST + 56 * DAY, 56, step=HOUR / 4)])
    found = ledger.grid(rows, rows, midnights(UTC, FIRST, FIRST + 111 * DAY), None)
    assert found.due.tolist() == [24] * 56 + [96] * 56
    assert not found.absent.any()


def test_a_silent_sensor_is_expected_as_before_and_one_that_becomes_irregular_is_not() -> None:
    rows = stamps(hourly(FIRST, 28))
    bounds = midnights(UTC, FIRST, FIRST + 83 * DAY)
    found = ledger.grid(rows, rows, bounds, None)
    assert found.due.tolist() == [24] * 84
    assert found.absent.tolist() == [0] * 28 + [24] * 56
    odd = stamps(
        [datetime(2026, 3, 30, tzinfo=UTC) + number * HOUR * 0.91 * (1 + number % 7 / 9) for number in range(800)]
    )
    both = np.union1d(rows, odd)
    assert ledger.grid(both, both, bounds, None).due[28:56].tolist() == [NONE] * 28


def test_without_a_row_the_step_known_from_elsewhere_holds() -> None:
    nothing = stamps([])
    bounds = midnights(UTC, FIRST, FIRST)
    assert ledger.grid(nothing, nothing, bounds, 3600).due.tolist() == [24]
    assert ledger.grid(nothing, nothing, bounds, None).due.tolist() == [NONE]


# --- a model: rows that OpenAQ has, that the archive has, that we have and that we rejected ---


class World(NamedTuple):
    """A sensor's rows by who has them, over some days of a zone; `compared`: the archive was asked."""

    zone: tzinfo
    first: date
    days: int
    upstream: frozenset[int]
    held: frozenset[int]
    rejected: frozenset[int]
    compared: bool
    sensor: Standing
    now: datetime

    @property
    def bounds(self) -> Stamps:
        return midnights(self.zone, self.first, self.first + (self.days - 1) * DAY)

    def found(self) -> SensorDays:
        bounds, held = self.bounds, np.array(sorted(self.held), dtype=np.int64)
        exported = np.ones(self.days, dtype=bool)
        return sensor_days(held, self._compared(), exported, bounds, sensor=self.sensor, now=self.now)

    def _compared(self) -> Compared:
        if not self.compared:
            return uncompared(self.days)
        there = np.array(sorted(self.upstream), dtype=np.int64)
        missing = np.array(sorted(self.upstream - self.held - self.rejected), dtype=np.int64)
        return Compared(ledger.count(there, self.bounds), ledger.count(missing, self.bounds), missing)

    def day(self, stamp: int) -> int:
        return (day_of(moment_of(stamp), self.zone) - self.first).days


@st.composite
def worlds(draw: st.DrawFn) -> World:
    zone = draw(st.sampled_from(ZONES))
    days = draw(st.integers(1, 40))
    first = draw(st.dates(date(2025, 1, 1), date(2026, 11, 1)))
    bounds = midnights(zone, first, first + (days - 1) * DAY)
    step = draw(st.sampled_from([900, 3600, 7200, 86400])) * 1_000_000
    rows = range(int(bounds[0]) + draw(st.integers(1, step)), int(bounds[-1]) + 1, step)
    chosen = st.sets(st.sampled_from(rows), max_size=30) if rows else st.just(set[int]())
    upstream = set(rows) - draw(chosen)
    held = upstream - draw(chosen) | draw(chosen)
    asked = draw(st.none() | st.integers(0, days).map(lambda day: moment_of(int(bounds[day]))))
    sensor = Standing(asked, None, draw(st.booleans()))
    now = moment_of(int(bounds[-1])) + draw(st.integers(-days * 24, 200)) * HOUR
    rejected = frozenset(draw(chosen))
    return World(zone, first, days, frozenset(upstream), frozenset(held), rejected, draw(st.booleans()), sensor, now)


@given(worlds())
def test_every_row_that_the_archive_has_and_we_neither_have_nor_rejected_makes_its_day_our_gap_and_nothing_else_does(
    world: World,
) -> None:
    missing = world.upstream - world.held - world.rejected if world.compared else frozenset()
    gaps = {place for place, kind in enumerate(world.found().kinds) if kind == "our_gap"}
    assert gaps == {world.day(stamp) for stamp in missing}
    assert world.found().lacked.sum() == len(missing)


@given(worlds())
def test_complete_is_only_what_was_compared_or_is_too_young_for_it_and_has_a_row_at_every_step(world: World) -> None:
    found = world.found()
    for place, kind in enumerate(found.kinds):
        end = moment_of(int(world.bounds[place + 1]))
        if kind in {"complete", "upstream_gap"}:
            assert world.compared or (kind == "complete" and world.now - end < ARCHIVE_AFTER)
            assert end <= world.now
        if kind == "complete":
            assert found.absent[place] in {0, NONE}
            assert found.held[place] >= found.due[place]
            assert found.held[place] or found.due[place] == 0
        if kind in {"late", "upstream_gap"}:
            assert found.absent[place] > 0 or not found.held[place]


@given(worlds())
def test_a_sensor_has_days_from_its_first_row_on_and_each_has_one_kind(world: World) -> None:
    kinds = world.found().kinds
    known = world.held | world.upstream if world.compared else world.held
    begins = min((world.day(stamp) for stamp in known), default=world.days)
    assert len(kinds) == world.days
    assert all((kind is not None) == (place >= begins) for place, kind in enumerate(kinds))


@given(worlds(), st.integers(1, 39))
def test_days_in_two_portions_are_days_in_one_where_rows_tell_the_grid_of_both(world: World, cut: int) -> None:
    """The portions of an audit meet at new year, whatever chunks of days they then have."""
    if cut >= world.days:
        return
    whole = world.found()
    early = world._replace(days=cut).found()
    for place in range(cut):
        if (whole.due[place], whole.absent[place]) == (early.due[place], early.absent[place]):
            assert whole.kinds[place] == early.kinds[place]
    assert whole.held[:cut].tolist() == early.held.tolist()
    assert whole.lacked[:cut].tolist() == early.lacked.tolist()


def test_rows_that_the_state_knows_of_and_that_are_gone_are_our_gap_on_their_days() -> None:
    bounds = midnights(UTC, FIRST, FIRST + 9 * DAY)
    held = stamps(hourly(FIRST, 6))
    watermark = datetime(2026, 3, 10, 5, tzinfo=UTC)
    now = datetime(2026, 3, 11, 6, tzinfo=UTC)
    for reached, gaps in ((watermark, {6: 24, 7: 24, 8: 5}), (moment_of(int(held[-1])), {}), (None, {})):
        sensor = Standing(now, reached)
        found = sensor_days(held, uncompared(10), np.ones(10, dtype=bool), bounds, sensor=sensor, now=now)
        assert {place for place, kind in enumerate(found.kinds) if kind == "our_gap"} == set(gaps)
        assert {place: rows for place, rows in enumerate(found.lacked.tolist()) if rows} == gaps


def test_of_an_irregular_sensor_only_the_row_at_the_watermark_is_known_to_be_gone() -> None:
    bounds = midnights(UTC, FIRST, FIRST + 9 * DAY)
    assert ledger.lost(stamps([]), moment_of(int(bounds[5])), bounds, None).tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
