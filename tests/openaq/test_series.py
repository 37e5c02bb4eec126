"""Reading a series: everything that can be read is read, once and in order, and what can't is never passed over."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openaq_pipeline.errors import (
    FatalError,
    ItemMissing,
    PipelineError,
    RetriableError,
    SensorBroken,
    ServerFault,
    Unreachable,
    WindowTooLarge,
)
from openaq_pipeline.model import Location, Measurement, Page, Reject, Window
from openaq_pipeline.openaq.api import PAGE_LIMIT
from openaq_pipeline.openaq.series import MAX_SPLITS, SMALLEST_WINDOW, Step, walk
from tests.measurements import measurement
from tests.often import examples

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MONTH = Window(START, START + 30 * 24 * HOUR)


class Source:
    """A sensor's rows as OpenAQ shows them: from exclusive, to inclusive, oldest first, stamps without fraction."""

    def __init__(self, stamps: Iterable[datetime], poison: Iterable[datetime] = ()) -> None:
        self.stamps = sorted(stamps)
        self.poison = set(poison)
        self.too_large = timedelta.max
        self.rejected: set[datetime] = set()
        self.asked: list[Window] = []
        self.attempts: list[int | None] = []
        self.before: Callable[[int], None] = lambda _number: None

    def location(self, location_id: int) -> Location:
        raise NotImplementedError

    def measurements(self, location_id: int, sensors_id: int, window: Window, *, attempts: int | None = None) -> Page:
        start, end = (bound.replace(microsecond=0) for bound in (window.start, window.end))
        if start >= end:
            raise ItemMissing("422: from must be older than to")
        self.before(len(self.asked))
        self.asked.append(window)
        self.attempts.append(attempts)
        if end - start > self.too_large:
            raise WindowTooLarge("408")
        first, last = bisect_right(self.stamps, start), bisect_right(self.stamps, end)
        found = self.stamps[first : min(last, first + PAGE_LIMIT)]
        if self.poison.intersection(found):
            raise ServerFault("500")
        rejects = [Reject(location_id, sensors_id, "broken", "{}", START) for stamp in found if stamp in self.rejected]
        return Page([shown(stamp) for stamp in found if stamp not in self.rejected], rejects)


def shown(stamp: datetime) -> Measurement:
    return measurement(1.0, stamp.replace(microsecond=0), first_seen=START)


def collected(source: Source, window: Window = MONTH) -> tuple[list[Step], PipelineError | None]:
    """Return the steps of a walk and the error it ended with, None if it ended well."""
    steps: list[Step] = []
    try:
        for step in walk(source, 7, 71, window):
            steps.append(step)  # noqa: PERF402 - what came before an error counts
    except PipelineError as error:
        return steps, error
    return steps, None


def stamps_of(steps: Iterable[Step]) -> list[datetime]:
    return [row.datetime for step in steps for row in step.page.rows]


def hourly(count: int, start: datetime = START) -> list[datetime]:
    return [start + hour * HOUR for hour in range(1, count + 1)]


def every(count: int, seconds: float) -> list[datetime]:
    return [START + timedelta(seconds=seconds * number) for number in range(1, count + 1)]


# Runs of rows, so that a series has thousands of them without Hypothesis drawing each.
runs = st.lists(
    st.tuples(
        st.integers(0, 10_000),  # seconds of silence before the run
        st.one_of(st.integers(0, 40), st.sampled_from([999, 1000, 1001])),  # rows
        st.sampled_from([1_000_000, 60_000_000, 900_000_000, 250_000, 1, 999_999]),  # microseconds between them
    ),
    max_size=5,
)


def laid_out(drawn: list[tuple[int, int, int]]) -> list[datetime]:
    stamps, moment = [], START
    for silence, count, step in drawn:
        moment += timedelta(seconds=silence)
        for _ in range(count):
            moment += timedelta(microseconds=step)
            stamps.append(moment)
    return stamps


@given(drawn=runs, start=st.integers(-5, 2000), length=st.integers(1, 2_000_000))
@settings(deadline=None, max_examples=examples(60))
def test_a_walk_shows_all_rows_of_its_window_and_no_others(
    drawn: list[tuple[int, int, int]], start: int, length: int
) -> None:
    window = Window(START + timedelta(seconds=start), START + timedelta(seconds=start + length))
    source = Source(laid_out(drawn))
    inside = [stamp for stamp in source.stamps if window.start < stamp <= window.end]
    steps, error = collected(source, window)
    crowded = any(
        later.replace(microsecond=0) == earlier.replace(microsecond=0)
        for earlier, later in zip(inside, inside[PAGE_LIMIT - 1 :], strict=False)
    )
    if crowded:  # more rows in one second than a page holds: no bound can get between them
        assert error is None or isinstance(error, SensorBroken)
    else:
        assert error is None
        assert set(stamps_of(steps)) == {stamp.replace(microsecond=0) for stamp in inside}
        assert steps[-1].complete_to == window.end
    assert len(source.asked) <= 2 + 2 * len(inside) / (PAGE_LIMIT / 2)
    reached = [step.complete_to for step in steps]
    assert reached == sorted(reached)
    assert all(window.start <= moment <= window.end for moment in reached)


@pytest.mark.parametrize("pages", [1, 2, 3])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_page_that_is_not_full_is_the_last(pages: int, more: int) -> None:
    count = pages * PAGE_LIMIT + more
    source = Source(every(count, 60))
    steps, error = collected(source)
    assert error is None
    assert stamps_of(steps) == source.stamps
    assert len(source.asked) == count // PAGE_LIMIT + 1


@pytest.mark.parametrize("pages", [1, 2])
def test_a_full_page_that_ends_with_the_window_needs_no_further_question(pages: int) -> None:
    source = Source(every(pages * PAGE_LIMIT, 60))
    steps, error = collected(source, Window(START, source.stamps[-1]))
    assert error is None
    assert stamps_of(steps) == source.stamps
    assert steps[-1].complete_to == source.stamps[-1]
    assert len(source.asked) == pages


def test_an_end_within_a_second_is_reached() -> None:
    source = Source(every(PAGE_LIMIT, 60))
    end = source.stamps[-1] + timedelta(microseconds=500_000)
    steps, error = collected(source, Window(START, end))
    assert error is None
    assert stamps_of(steps) == source.stamps


def test_a_repeated_row_without_its_fraction_does_not_go_round_for_ever() -> None:
    source = Source(START + timedelta(seconds=number, microseconds=916_000) for number in range(2500))
    steps, error = collected(source)
    assert error is None
    assert set(stamps_of(steps)) == {stamp.replace(microsecond=0) for stamp in source.stamps}
    assert len(source.asked) == 3


def test_a_page_that_makes_no_progress_ends_with_an_error() -> None:
    crowd = [START + timedelta(seconds=5, microseconds=number) for number in range(PAGE_LIMIT + 1)]
    source = Source([*crowd, START + HOUR])
    steps, error = collected(source)
    assert isinstance(error, SensorBroken)
    assert "goes no further" in str(error)
    assert len(source.asked) == 2
    assert {step.complete_to for step in steps} == {START + timedelta(seconds=5)}


def test_a_page_of_nothing_but_broken_rows_ends_with_an_error() -> None:
    source = Source(every(PAGE_LIMIT, 60))
    source.rejected = set(source.stamps)
    steps, error = collected(source)
    assert isinstance(error, SensorBroken)
    assert [len(step.page.rejects) for step in steps] == [PAGE_LIMIT]
    assert steps[0].complete_to == START


def test_broken_rows_count_towards_a_full_page() -> None:
    source = Source(every(PAGE_LIMIT + 5, 60))
    source.rejected = set(source.stamps[:10])
    steps, error = collected(source)
    assert error is None
    assert stamps_of(steps) == source.stamps[10:]


@given(late=st.lists(st.integers(1, 2600), max_size=20), at=st.integers(1, 2))
@settings(deadline=None, max_examples=examples(30))
def test_late_rows_between_two_pages_shift_nothing_and_those_ahead_are_read(late: list[int], at: int) -> None:
    source = Source(every(2500, 60))
    before = set(source.stamps)
    added = {START + timedelta(seconds=60 * number + 30) for number in late}

    def arrive(number: int) -> None:
        if number == at:
            for stamp in added:
                insort(source.stamps, stamp)

    source.before = arrive
    steps, error = collected(source)
    assert error is None
    told = stamps_of(steps)
    turned = steps[at - 1].complete_to
    ahead = {stamp for stamp in added if stamp > turned}
    assert len(told) == len(set(told))
    assert set(told) == before | ahead


def test_a_window_that_is_too_large_is_halved_until_it_fits() -> None:
    source = Source(hourly(720))
    source.too_large = timedelta(days=4)
    steps, error = collected(source)
    assert error is None
    assert stamps_of(steps) == source.stamps
    assert steps[-1].complete_to == MONTH.end
    assert len(source.asked) == 15  # 8 parts of 3 3/4 days, and the 7 windows above them
    assert source.attempts[0] is None
    assert set(source.attempts[1:]) == {1}


def within_a_part(lost: set[datetime], poison: set[datetime]) -> bool:
    return all(any(abs(stamp - bad) <= SMALLEST_WINDOW for bad in poison) for stamp in lost)


@given(poison=st.sets(st.integers(1, 720), min_size=1, max_size=3), seconds=st.sampled_from([3600, 900]))
@settings(deadline=None, max_examples=examples(60))
def test_around_poison_rows_everything_else_is_read_and_nothing_claimed(poison: set[int], seconds: int) -> None:
    bad = {START + hour * HOUR for hour in poison}
    source = Source(every(720 * 3600 // seconds, seconds), bad)
    steps, error = collected(source)
    assert isinstance(error, SensorBroken)
    told = stamps_of(steps)
    assert len(told) == len(set(told))
    lost = set(source.stamps) - set(told)
    assert lost >= bad
    assert within_a_part(lost, bad)
    if seconds == 3600:
        assert lost == bad
    reached = [step.complete_to for step in steps]
    assert reached == sorted(reached)
    assert max(reached, default=START) < min(bad)
    assert {stamp for stamp in source.stamps if stamp <= max(reached, default=START)} <= set(told)
    assert len(source.asked) <= 70


def test_the_error_names_the_first_hole_and_why() -> None:
    source = Source(hourly(720), {START + 100 * HOUR, START + 400 * HOUR})
    _, error = collected(source)
    assert isinstance(error, SensorBroken)
    assert isinstance(error.__cause__, ServerFault)
    begin, end = str(error).split(" and ")[0][-17:], str(error).split(" and ")[1][:17]
    hole = [datetime.fromisoformat(text) for text in (begin, end)]
    assert hole[0] < START + 100 * HOUR <= hole[1] + timedelta(minutes=1)  # printed to the minute
    assert hole[1] - hole[0] <= SMALLEST_WINDOW


@pytest.mark.parametrize("days", [1, 30, 365, 3650])
def test_a_sensor_that_always_fails_costs_a_bounded_number_of_questions(days: int) -> None:
    source = Source([])
    questions = 0

    def fail(_number: int) -> None:
        nonlocal questions
        questions += 1
        raise ServerFault("500")

    source.before = fail
    steps, error = collected(source, Window(START, START + timedelta(days=days)))
    assert isinstance(error, SensorBroken)
    assert steps == []
    assert questions <= 1 + MAX_SPLITS
    assert f"between {START:%Y-%m-%dT%H:%MZ}" in str(error)


def test_a_sensor_that_always_times_out_costs_no_more() -> None:
    source = Source([])
    source.too_large = timedelta(0)
    _, error = collected(source)
    assert isinstance(error, SensorBroken)
    assert len(source.asked) <= 1 + MAX_SPLITS


def test_faults_behind_good_pages_keep_what_was_read() -> None:
    bad = START + timedelta(seconds=60 * 1500)
    source = Source(every(2500, 60), {bad})
    steps, error = collected(source)
    assert isinstance(error, SensorBroken)
    assert stamps_of(steps)[:PAGE_LIMIT] == source.stamps[:PAGE_LIMIT]
    assert steps[0].complete_to == source.stamps[PAGE_LIMIT - 1]
    assert max(step.complete_to for step in steps) < bad
    assert source.asked[2].start == source.stamps[PAGE_LIMIT - 1]  # what was read is not asked for again


@pytest.mark.parametrize("kind", [FatalError, ItemMissing, RetriableError, Unreachable])
@pytest.mark.parametrize("at", [0, 1])
def test_every_other_error_comes_at_once_behind_what_was_read(kind: type[PipelineError], at: int) -> None:
    source = Source(every(2500, 60))

    def fail(number: int) -> None:
        if number == at:
            raise kind("no")

    source.before = fail
    steps, error = collected(source)
    assert type(error) is kind
    assert stamps_of(steps) == source.stamps[: at * PAGE_LIMIT]


def test_an_empty_window_is_read_with_one_question() -> None:
    source = Source([])
    steps, error = collected(source)
    assert error is None
    assert [(step.page.count, step.complete_to) for step in steps] == [(0, MONTH.end)]
