from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.web.drawing import bars, curve, spark


def test_a_gap_in_a_sparkline_is_a_gap() -> None:
    drawn = spark([1.0, 2.0, None, 3.0, 2.0])
    assert drawn is not None
    assert drawn.line.count("M") == 2
    assert (drawn.lowest, drawn.highest) == (1.0, 3.0)


def test_a_lone_value_between_gaps_is_seen() -> None:
    drawn = spark([None, 5.0, None])
    assert drawn is not None
    assert drawn.line == "M48 12h.01"


def test_nothing_is_drawn_of_nothing() -> None:
    assert spark([None, None]) is None
    assert spark([]) is None


@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=48))
def test_a_sparkline_stays_in_its_box(values: list[float | None]) -> None:
    drawn = spark(values)
    if drawn is not None:
        numbers = drawn.line.replace("h.01", "").replace("M", " ").replace("L", " ").split()
        assert all(0 <= float(x) <= 96 for x in numbers[::2])
        assert all(0 <= float(y) <= 24 for y in numbers[1::2])


def test_bars_are_as_high_as_their_values_and_the_smallest_is_seen() -> None:
    drawn = bars([0, 1, 1000], 300, 80)
    assert [bar.height for bar in drawn] == ["0", "1", "80"]
    assert [float(bar.y) + float(bar.height) for bar in drawn] == [80, 80, 80]


def test_no_bars_are_drawn_of_no_run() -> None:
    assert bars([], 300, 80) == []
    assert [bar.height for bar in bars([0, 0], 300, 80)] == ["0", "0"]


def test_a_curve_fills_its_frame_and_breaks_at_gaps() -> None:
    assert curve([0, 50, 100], [1.0, None, 3.0], (0, 100, 1.0, 3.0), (200, 100)) == "M0 100h.01M200 0h.01"
